# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The result of a calibration as a row of the user's own table; the rest of that file stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from .._base.errors import AscendError
from .._base.yaml_text import parse_yaml

_NEW = """\
# Written by the playbook calibrate of inferops.ascend; rows of your own may be added.
table: {name}
rows:
"""


def with_row(text: str | None, row: Mapping[str, Any], name: str, path: str) -> str:
    """The text of a table with this row in place of the one of its model and card memory, or added.

    text: what the file has, None where there is none. name: of a new table. Raises AscendError for a
    file in which no row can be written.
    """
    if text is None or not text.strip():
        return _NEW.format(name=name) + _written(row, 2)
    text = text if text.endswith("\n") else text + "\n"
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
        data = parse_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise AscendError(
            f"The model table {path} is not YAML. Fix it, or name another file."
        ) from error
    rows = _rows(document)
    if rows is None or not isinstance(data.get("rows"), list):
        raise AscendError(
            f"The model table {path} has no list `rows` with a line for each row, so nothing can be added"
            " to it. Write it so, or name another file."
        )
    usual = (data.get("conditions") or {}).get("card_memory_gb")
    for entry, node in zip(data["rows"], rows.value, strict=True):
        memory = entry.get("card_memory_gb", usual) if isinstance(entry, Mapping) else None
        if memory == row["card_memory_gb"] and _same(entry.get("model"), row["model"]):
            start = text.rindex("-", 0, node.start_mark.index)
            indent = start - (text.rfind("\n", 0, start) + 1)
            return text[: start - indent] + _written(row, indent) + text[_end(text, node) :]
    last = rows.value[-1]
    start = text.rindex("-", 0, last.start_mark.index)
    indent = start - (text.rfind("\n", 0, start) + 1)
    end = _end(text, last)
    return text[:end] + _written(row, indent) + text[end:]


def _same(one: object, other: object) -> bool:
    return str(one).strip().lower() == str(other).strip().lower()


def _rows(document: Any) -> Any:
    """The node of `rows` where it is a sequence in block style with entries."""
    if not isinstance(document, yaml.MappingNode):
        return None
    for key, value in document.value:
        if key.value == "rows" and isinstance(value, yaml.SequenceNode):
            return value if value.value and not value.flow_style else None
    return None


def _end(text: str, node: Any) -> int:
    """Where the line after a row begins; comments and empty lines after it belong to what follows."""
    end = node.end_mark.index
    row = text[node.start_mark.index : end]
    while row.rstrip(" ").endswith("\n") or _is_comment(row):
        row = row.rstrip(" ")
        row = row[: row.rfind("\n", 0, len(row) - 1) + 1] if _is_comment(row) else row[:-1]
    end = node.start_mark.index + len(row)
    following = text.find("\n", end)
    return len(text) if following < 0 else following + 1


def _is_comment(row: str) -> bool:
    """Whether the last line is a comment."""
    last = row.rstrip("\n").rpartition("\n")[2]
    return last.lstrip().startswith("#")


def _written(row: Mapping[str, Any], indent: int) -> str:
    lines = yaml.safe_dump([dict(row)], sort_keys=False, allow_unicode=True, width=100).splitlines()
    return "".join(f"{' ' * indent}{line}\n" for line in lines)
