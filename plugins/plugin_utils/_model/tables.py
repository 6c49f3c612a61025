# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Model tables, model facts and hardware profiles: the data in ``vars/`` as typed values.

The shipped files are held to their schemas by the tests, not at run time; a user's table is held
to its schema whenever it is read.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import (
    VARS,
    read_yaml,
    vars_file,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import shown

SHIPPED_TABLES = ("ascend-64gb.yml", "ascend-vllm-0.7.2.yml")
DEFAULT_K = 1024

_FORMAT = (
    "The format is that of the collection's own tables in vars/model_tables; its schema is"
    " vars/schemas/model_table.schema.json."
)


@dataclass(frozen=True)
class Yarn:
    """YaRN as a model's documentation gives it; lengths in tokens."""

    original_max_position_embeddings: int
    max_factor: float
    rope_theta: float


@dataclass(frozen=True)
class Facts:
    """What is known of a model. ``None``: not known. Lengths in tokens, weights in bytes."""

    kind: str | None = None
    huggingface: tuple[str, ...] = ()
    modelscope: tuple[str, ...] = ()
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    native_context: int | None = None
    runtime_weight_bytes: int | None = None
    encoder_only: bool = False
    yarn: Yarn | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    warning: str | None = None
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of a table: ``min_cards`` devices carry ``max_model_len`` tokens.

    Both are ``None`` in a row that says "not supported". ``own`` holds what the row itself says of
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


@dataclass(frozen=True)
class Table:
    """A table as read from ``file``; ``superseded_by`` names the table that came after it."""

    name: str
    file: str
    rows: tuple[Row, ...]
    superseded_by: str | None = None


@dataclass(frozen=True)
class ChipArg:
    """An option of vLLM that a chip needs.

    Attributes:
        option: its name with dashes.
        value: what is set where the user says nothing.
        allowed: what a user may write instead.
        unless: (option, key, values): a mapping of the user's that takes its place.
        reason: why.
    """

    option: str
    value: str | bool | float
    allowed: tuple[str | bool | float, ...]
    unless: tuple[str, str, tuple[str, ...]] | None
    reason: str


@dataclass(frozen=True)
class Profile:
    """A kind of host. ``visible_memory_gib``: what the framework sees of a device, if published.

    ``chip_args``: options that its chip needs. ``quadratic_mask``: the engine allocates a mask of
    max_model_len squared times two bytes.
    """

    name: str
    cards: int | None
    cards_per_board: int
    card_memory_gb: float
    visible_memory_gib: tuple[float, ...]
    chips: tuple[str, ...]
    chip_args: tuple[ChipArg, ...] = ()
    quadratic_mask: bool = False


@dataclass(frozen=True)
class Match:
    """A model found by a name or a hub id; ``hub_id`` is the id that was asked for."""

    model: str
    hub_id: str | None = None


class Catalogue:
    """The tables in the order in which they are searched, and the facts of their models."""

    def __init__(self, tables: Sequence[Table], facts: Mapping[str, Facts]) -> None:
        self.tables = tuple(tables)
        self._spelling = {name.lower(): name for name in facts}
        self._rows: dict[str, list[Row]] = {}
        for table in self.tables:
            for row in table.rows:
                self._spelling.setdefault(row.model.lower(), row.model)
                self._rows.setdefault(row.model.lower(), []).append(row)
        self._shipped = facts
        self._hub_ids: dict[str, Match] = {}
        for model in self._spelling.values():
            known = self.facts(model)
            for hub_id in known.huggingface + known.modelscope:
                self._hub_ids.setdefault(hub_id.lower(), Match(model, hub_id))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `find` knows: models, then hub ids."""
        ids = (match.hub_id for match in self._hub_ids.values())
        return (*self._spelling.values(), *(hub_id for hub_id in ids if hub_id))

    def find(self, name: str) -> Match | None:
        """The model of a name or of a hub id, without regard to case."""
        key = name.strip().lower()
        if key in self._spelling:
            return Match(self._spelling[key])
        return self._hub_ids.get(key)

    def rows(self, model: str) -> tuple[Row, ...]:
        """The model's rows for any memory, in table order."""
        return tuple(self._rows.get(model.lower(), ()))

    def facts(self, model: str) -> Facts:
        """The shipped facts under what the rows say themselves; an earlier row wins."""
        known = self._shipped.get(self._spelling[model.lower()], Facts())
        own: dict[str, Any] = {}
        for row in self.rows(model):
            own = {**row.own, **own}
        if "native_context" in own:
            own["unverified"] = tuple(f for f in known.unverified if f != "native_context")
        return replace(known, **own) if own else known

    def memories(self) -> tuple[float, ...]:
        """Every card memory (GB) that a table speaks of."""
        return tuple(sorted({row.card_memory_gb for table in self.tables for row in table.rows}))

    def every_row(self, card_memory_gb: float) -> Iterator[Row]:
        """What `*` stands for: the supported rows for this memory, in table order, each model once.

        A table that says it is superseded by another loaded table is left out where that table has
        rows for this memory.
        """
        covering = {
            table.name
            for table in self.tables
            if any(row.card_memory_gb == card_memory_gb for row in table.rows)
        }
        given: set[str] = set()
        for table in self.tables:
            if table.superseded_by in covering:
                continue
            here = [row for row in table.rows if row.card_memory_gb == card_memory_gb]
            yield from (row for row in here if row.supported and row.model.lower() not in given)
            given.update(row.model.lower() for row in here)


# -- facts and profiles ----------------------------------------------------------------------------


@lru_cache(maxsize=1)
def load_facts() -> Mapping[str, Facts]:
    """The shipped model facts by the model's name."""
    facts = {}
    for entry in vars_file("model_facts.yml")["models"]:
        yarn = entry.get("yarn")
        facts[entry["model"]] = Facts(
            kind=entry["kind"],
            huggingface=tuple(entry["huggingface"]),
            modelscope=tuple(entry["modelscope"]),
            num_hidden_layers=entry["num_hidden_layers"],
            num_attention_heads=entry["num_attention_heads"],
            num_key_value_heads=entry["num_key_value_heads"],
            head_dim=entry["head_dim"],
            native_context=entry["native_context"],
            runtime_weight_bytes=entry["runtime_weight_bytes"],
            encoder_only=entry.get("encoder_only", False),
            yarn=yarn
            and Yarn(
                yarn["original_max_position_embeddings"], yarn["max_factor"], yarn["rope_theta"]
            ),
            args=entry.get("args", {}),
            warning=entry.get("warning"),
            unverified=tuple(entry.get("unverified", ())),
        )
    return facts


def _chip_arg(entry: Mapping[str, Any]) -> ChipArg:
    unless = None
    for option, keys in entry.get("unless", {}).items():
        for key, values in keys.items():
            unless = (option, key, tuple(values))
    return ChipArg(
        option=entry["option"],
        value=entry["value"],
        allowed=tuple(entry.get("allowed", [entry["value"]])),
        unless=unless,
        reason=entry["reason"],
    )


@lru_cache(maxsize=1)
def load_profiles() -> Mapping[str, Profile]:
    """The shipped hardware profiles by name."""
    return {
        entry["name"]: Profile(
            name=entry["name"],
            cards=entry["cards"],
            cards_per_board=entry["cards_per_board"],
            card_memory_gb=float(entry["card_memory_gb"]),
            visible_memory_gib=tuple(entry["visible_memory_gib"] or ()),
            chips=tuple(entry["chips"]),
            chip_args=tuple(_chip_arg(item) for item in entry.get("chip_args", ())),
            quadratic_mask=entry.get("quadratic_mask", False),
        )
        for entry in vars_file("hardware_profiles.yml")["profiles"]
    }


def profile(name: str) -> Profile:
    """The hardware profile of that name.

    Raises:
        AscendError: there is none.
    """
    profiles = load_profiles()
    if name not in profiles:
        raise AscendError(
            f"There is no hardware profile {shown(name)}. Set ascend_host_profile to one of"
            f" {', '.join(profiles)}."
        )
    return profiles[name]


# -- tables ----------------------------------------------------------------------------------------


def load_catalogue(
    user_tables: object = None, find_file: Callable[[str], str | None] | None = None
) -> Catalogue:
    """The user's tables in their order, then the shipped ones, with the shipped facts.

    Args:
        user_tables: a path, or a list of paths; ``None`` for none. The name of a shipped file
            (``ascend-vllm-0.7.2.yml``) moves that table to its place in the list.
        find_file: turns a path as the user wrote it into the path of a file, or ``None``.

    Raises:
        AscendError: a file is missing or malformed; the message names file, row and field.
    """
    if user_tables is None:
        user_tables = []
    if isinstance(user_tables, (str, Path)):
        user_tables = [user_tables]
    if not isinstance(user_tables, (list, tuple)):
        raise AscendError(
            f"The model tables (ascend_model_tables) are {shown(user_tables)}, which is not a list"
            " of paths. Write a list, as in ascend_model_tables: [files/my-models.yml]."
        )
    files: list[Path] = []
    for entry in user_tables:
        if not isinstance(entry, (str, Path)) or not str(entry).strip():
            raise AscendError(
                f"The model tables (ascend_model_tables) hold {shown(entry)}, which is not a path."
                " Write a list of paths, as in ascend_model_tables: [files/my-models.yml]."
            )
        files.append(_locate(str(entry), find_file))
    shipped = [VARS / "model_tables" / name for name in SHIPPED_TABLES]
    tables: dict[str, Table] = {}
    for file in dict.fromkeys([*files, *shipped]):
        table = _shipped_table(file) if file in shipped else _user_table(file)
        if table.name in tables:
            raise AscendError(
                f"The model tables {tables[table.name].file} and {file} are both named"
                f" {table.name!r}. Give one of them another name in its field `table`."
            )
        tables[table.name] = table
    return Catalogue(list(tables.values()), load_facts())


def _locate(entry: str, find_file: Callable[[str], str | None] | None) -> Path:
    path = Path(entry).expanduser()
    found = find_file(str(path)) if find_file else (str(path) if path.exists() else None)
    if found is None:
        if entry in SHIPPED_TABLES:
            return VARS / "model_tables" / entry
        raise AscendError(
            f"The model table {shown(entry, 200)} (ascend_model_tables) does not exist."
            " Give an absolute path, or one relative to the playbook or its files/ or vars/."
        )
    path = Path(found)
    if path.is_dir():
        raise AscendError(
            f"The model table {path} (ascend_model_tables) is a directory."
            " Name the files in it, one by one."
        )
    return path.resolve()


@lru_cache(maxsize=8)
def _shipped_table(file: Path) -> Table:
    return _build(read_yaml(file), str(file))


def _user_table(file: Path) -> Table:
    try:
        data = read_yaml(file)
    except OSError as error:
        raise AscendError(
            f"The model table {file} cannot be read: {error.strerror or error}."
            " Make it readable for the user who runs Ansible."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
            f"The model table {file} holds a {_kind(data)} where a mapping with the fields `table`"
            f" and `rows` is wanted. {_FORMAT}"
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
        problem = "one of the fields `max_model_len_k` and `max_model_len` is wanted, and not both"
    elif error.validator == "not":  # the instance is the name of a field
        problem = f"the field `{error.instance}` has no place in a row that says `supported: false`"
    else:
        what = f"the field `{name}`" if name else "it"
        problem = f"{what} is {shown(error.instance)}, {_fault(error)}"
    return f"The model table {file}{where}: {problem}. {_FORMAT}"


def _fault(error: Any) -> str:
    """What the schema says against one value, in words."""
    wanted = error.validator_value
    if error.validator == "type":
        names = {
            "integer": "a whole number",
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
        "pattern": "which may hold letters, digits, dots, dashes and underscores only",
    }
    return faults.get(error.validator, "which is of a wrong type")


def _row_title(row: Any, position: int) -> str:
    model = row.get("model") if isinstance(row, dict) else None
    number = row.get("row", position) if isinstance(row, dict) else position
    return f"row {shown(number)}" + (f" ({model})" if isinstance(model, str) else "")


def _kind(value: object) -> str:
    names = {"list": "list", "str": "text", "int": "number", "float": "number"}
    return names.get(type(value).__name__, type(value).__name__)


def _build(data: Mapping[str, Any], file: str) -> Table:
    conditions = data.get("conditions") or {}
    k = conditions.get("k", DEFAULT_K)
    rows: list[Row] = []
    seen: dict[tuple[str, float], int] = {}
    for position, entry in enumerate(data["rows"], start=1):

        def refuse(problem: str, entry: Any = entry, position: int = position) -> AscendError:
            title = _row_title(entry, position)
            return AscendError(f"The model table {file}, {title}: {problem}. {_FORMAT}")

        values = {}
        for name in ("card_memory_gb", "gpu_memory_utilization"):
            values[name] = entry.get(name, conditions.get(name))
            if values[name] is None:
                raise refuse(f"the field `{name}` is missing, in the row and in `conditions`")
            if not math.isfinite(values[name]):
                raise refuse(f"the field `{name}` is {values[name]}, which is not a number")
        max_model_len: float | None = entry.get("max_model_len")
        if "max_model_len_k" in entry:
            max_model_len = entry["max_model_len_k"] * k
            if max_model_len is None or not math.isfinite(max_model_len) or max_model_len % 1:
                raise refuse(
                    f"the field `max_model_len_k` is {entry['max_model_len_k']}, which times {k}"
                    " is no whole number of tokens"
                )
        model = entry["model"].strip()
        if not model or model == "*":
            raise refuse(f"the field `model` is {shown(entry['model'])}, which is no model's name")
        key = (model.lower(), float(values["card_memory_gb"]))
        number = entry.get("row", position)
        if key in seen:
            raise refuse(
                f"row {seen[key]} speaks of the same model and card_memory_gb"
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
                basis=data.get("basis", "measured"),
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
    return Table(data["table"], file, tuple(rows), data.get("superseded_by"))
