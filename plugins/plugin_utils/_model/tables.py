# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One model table: its rows as typed values, read from a file and checked.

The shipped files are checked against their schema by the tests, not at run time; a user's table is
checked whenever it is read.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import OutOfBounds

from .._base.data import read_yaml, vars_file
from .._base.errors import AscendError
from .._base.values import kind_of, shown
from .._base.words import counted

DEFAULT_K = 1024

_FORMAT = (
    "The format is that of the collection's own tables in vars/model_tables; its schema is"
    " vars/schemas/model_table.schema.json."
)


@dataclass(frozen=True)
class Row:
    """One row of a table: ``min_cards`` devices carry ``max_model_len`` tokens.

    Both are ``None`` in a row for "not supported". ``own`` has what the row itself gives of
    its model, under the names of the fields of `Facts`.
    """

    table: str
    file: str
    updated: str | None
    basis: str
    number: int
    model: str
    card_memory_gb: float
    gpu_memory_utilization: float
    min_cards: int | None
    max_model_len: int | None
    warning: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def supported(self) -> bool:
        return self.min_cards is not None

    @property
    def longest(self) -> str:
        """What its length is, for messages."""
        if self.basis == "documented":
            return "the longest that the engine's documentation gives"
        if self.basis == "calibrated":
            return "the longest that a calibration of this kind of host found"
        return "the longest that was tested"

    @property
    def source(self) -> str:
        """Where the figures come from, for messages."""
        source = f"table {self.table}, row {self.number}"
        if self.min_cards is None:
            return source
        return (
            f"{source}: {self.max_model_len} tokens on {counted(self.min_cards, 'card')} at"
            f" utilization {self.gpu_memory_utilization:g}"
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """The same as a spec states it."""
        return {
            "table": self.table,
            "row": self.number,
            "updated": self.updated,
            "basis": self.basis,
        }


@dataclass(frozen=True)
class Table:
    """A table as read from ``file``; ``superseded_by`` names the table that came after it."""

    name: str
    file: str
    rows: tuple[Row, ...]
    superseded_by: str | None = None
    basis: str = "measured"


@lru_cache(maxsize=8)
def shipped_table(file: Path) -> Table:
    return _build(vars_file(f"model_tables/{file.name}"), str(file))


def user_table(file: Path) -> Table:
    try:
        data = read_yaml(file)
    except OSError as error:
        raise AscendError(
            f"The model table {file} cannot be read: {error.strerror or error}."
            " Make it readable for the user who runs Ansible."
        ) from error
    except OutOfBounds as error:
        raise AscendError(f"The model table {file} cannot be read: {error}. {_FORMAT}") from error
    except (yaml.YAMLError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise AscendError(
            f"The model table {file}{line} is not YAML: {problem}. {_FORMAT}"
        ) from error
    if data is None:
        raise AscendError(f"The model table {file} is empty. {_FORMAT}")
    if not isinstance(data, dict):
        raise AscendError(
            f"The model table {file} is {kind_of(data)}; a mapping with the fields `table`"
            f" and `rows` is needed. {_FORMAT}"
        )
    if isinstance(data.get("updated"), datetime.date):
        data["updated"] = data["updated"].isoformat()
    _check(data, file)
    return _build(data, str(file))


def _check(data: Mapping[str, Any], file: Path) -> None:
    try:
        import jsonschema
    except ImportError as error:
        raise AscendError(
            f"The model table {file} cannot be checked: the Python library jsonschema is missing on"
            " the controller. Install it where ansible-core is installed (pip install jsonschema)."
        ) from error
    validator = jsonschema.Draft202012Validator(vars_file("schemas/model_table.schema.json"))
    errors = sorted(validator.iter_errors(data), key=lambda e: [str(p) for p in e.absolute_path])
    if errors:
        raise AscendError(_complaint(data, file, errors[0]))


def _complaint(data: Mapping[str, Any], file: Path, error: Any) -> str:
    path = list(error.absolute_path)
    where = ""
    if len(path) >= 2 and path[0] == "rows":
        where = f", {_row_title(data['rows'][path[1]], path[1] + 1)}"
        path = path[2:]
    name = ".".join(str(part) for part in path)
    if error.validator == "required":
        missing = next(f for f in error.validator_value if f not in error.instance)
        name = f"{name}.{missing}" if name else missing
        problem = f"the field `{name}` is missing"
    elif error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        extra = next(str(f) for f in error.instance if f not in known)
        problem = f"there is no field `{extra}`; the fields are {', '.join(sorted(known))}"
    elif error.validator == "oneOf":
        problem = "one of the fields `max_model_len_k` and `max_model_len` is needed, and not both"
    elif error.validator == "not":  # the instance is the name of a field
        problem = f"the field `{error.instance}` is not valid in a row with `supported: false`"
    else:
        what = f"the field `{name}`" if name else "it"
        problem = f"{what} is {shown(error.instance)}, {_fault(error)}"
    return f"The model table {file}{where}: {problem}. {_FORMAT}"


def _fault(error: Any) -> str:
    """What is wrong with one value by the schema, in words."""
    wanted = error.validator_value
    if error.validator == "type":
        names = {
            "integer": "an integer",
            "number": "a number",
            "string": "a text",
            "boolean": "true or false",
            "array": "a list",
            "object": "a mapping",
        }
        return f"which is not {names[wanted]}"
    faults = {
        "enum": f"which is none of {', '.join(wanted) if isinstance(wanted, list) else wanted}",
        "minimum": f"which is less than {wanted}",
        "exclusiveMinimum": f"which is not more than {wanted}",
        "maximum": f"which is more than {wanted}",
        "minLength": "which is empty",
        "minItems": "which is empty",
        "pattern": "which may have letters, digits, dots, dashes and underscores only",
    }
    return faults.get(error.validator, "which is of a wrong type")


def _row_title(row: Any, position: int) -> str:
    model = row.get("model") if isinstance(row, dict) else None
    number = row.get("row", position) if isinstance(row, dict) else position
    return f"row {shown(number)}" + (f" ({model})" if isinstance(model, str) else "")


def _build(data: Mapping[str, Any], file: str) -> Table:
    conditions = data.get("conditions") or {}
    k = conditions.get("k", DEFAULT_K)
    basis = data.get("basis", "measured")
    rows: list[Row] = []
    seen: dict[tuple[str, float], int] = {}
    for position, entry in enumerate(data["rows"], start=1):

        def fault(problem: str, entry: Any = entry, position: int = position) -> AscendError:
            title = _row_title(entry, position)
            return AscendError(f"The model table {file}, {title}: {problem}. {_FORMAT}")

        values = {}
        for name in ("card_memory_gb", "gpu_memory_utilization"):
            values[name] = entry.get(name, conditions.get(name))
            if values[name] is None:
                raise fault(f"the field `{name}` is missing, in the row and in `conditions`")
            if not math.isfinite(values[name]):
                raise fault(f"the field `{name}` is {values[name]}, which is not a number")
        max_model_len: float | None = entry.get("max_model_len")
        if "max_model_len_k" in entry:
            max_model_len = entry["max_model_len_k"] * k
            if max_model_len is None or not math.isfinite(max_model_len) or max_model_len % 1:
                raise fault(
                    f"the field `max_model_len_k` is {entry['max_model_len_k']}, which times {k}"
                    " is not an integer number of tokens"
                )
        model = entry["model"].strip()
        if not model or model == "*":
            raise fault(
                f"the field `model` is {shown(entry['model'])}, which is not a valid name of a model"
            )
        key = (model.lower(), float(values["card_memory_gb"]))
        number = entry.get("row", position)
        if key in seen:
            raise fault(
                f"row {seen[key]} has the same model and card_memory_gb"
                f" ({key[1]:g}); keep one of them"
            )
        seen[key] = number
        own: dict[str, Any] = {
            name: int(entry[name])
            for name in ("num_attention_heads", "num_key_value_heads", "native_context")
            if name in entry
        }
        own.update({name: entry[name] for name in ("kind",) if name in entry})
        for hub in ("huggingface", "modelscope"):
            ids = entry.get(hub)
            if ids:
                own[hub] = (ids,) if isinstance(ids, str) else tuple(ids)
        rows.append(
            Row(
                table=data["table"],
                file=file,
                updated=data.get("updated"),
                basis=entry.get("basis", basis),
                number=int(number),
                model=model,
                card_memory_gb=key[1],
                gpu_memory_utilization=float(values["gpu_memory_utilization"]),
                min_cards=None if "min_cards" not in entry else int(entry["min_cards"]),
                max_model_len=None if max_model_len is None else int(max_model_len),
                warning=entry.get("warning"),
                args=entry.get("args", {}),
                own=own,
            )
        )
    return Table(data["table"], file, tuple(rows), data.get("superseded_by"), basis)
