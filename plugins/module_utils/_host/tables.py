# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tables as npu-smi prints them: lines, cells, columns and values.

Tables are read by their headers, cell by cell, never by fixed widths or by counting rows: widths,
columns and their order differ between drivers.
"""

from __future__ import annotations

import re
from typing import Sequence, Union

from .._base.text import one_line, printable

Number = Union[int, float]
_LINE_END = re.compile(r"\r\n|\r|\n")
_INTEGER = re.compile(r"-?[0-9]{1,15}\Z")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?\Z")
_ABSENT = frozenset(("NA", "N/A", "-", "--", "NAN", "NONE", "NULL"))
_RATIO_COLUMNS = frozenset(("hugepages", "memory", "hbm", "?ratio"))
_RULE = frozenset("-=+| ")
_ELLIPSIS = frozenset(".\u2026| \t")
# Characters of a line that are read; npu-smi prints some 120.
_LINE_LIMIT = 4096
# Header words of more than one word; every other word is a column of its own.
_HEADER_WORD = re.compile(
    r"NPU\s?ID|NPU[ -]?Util\S*|Chip[ -]Phy(?:sical)?[ -]?ID|Chip[ -]Logic[ -]?ID|Chip\s?ID|"
    r"Chip\s?Name|Slot\s?ID|(?:HBM|Memory|DDR|Hugepages?)[ -]Usage\s?\S*|AI\s?Core\s?\S*|"
    r"Power\s?\S*|Temp(?:erature)?\s?\(\S*|Process\s(?:id\sin\scontainer|id|name|memory\S*)|\S+",
    re.IGNORECASE,
)
_COLUMNS = (
    ("chip_name", re.compile(r"chip\s?name")),
    ("npu", re.compile(r"npu(?:\s?id)?\Z")),
    ("aicore", re.compile(r"ai\s?core|npu[ -]?util")),
    ("logic", re.compile(r"chip[ -]logic|logic[ -]?id")),
    ("phy", re.compile(r"(?:chip[ -])?phy(?:sical)?[ -]?id")),
    ("slot", re.compile(r"slot")),
    ("chip", re.compile(r"chip(?:\s?id)?\Z")),
    ("device", re.compile(r"device")),
    ("name", re.compile(r"name\Z")),
    ("health", re.compile(r"health")),
    ("bus", re.compile(r"bus[ -]?id")),
    ("power", re.compile(r"power")),
    ("temp", re.compile(r"temp")),
    ("hugepages", re.compile(r"hugepages?[ -]usage")),
    ("hbm", re.compile(r"hbm[ -]usage")),
    ("memory", re.compile(r"(?:memory|ddr)[ -]usage")),
    ("container_pid", re.compile(r"process\sid\sin\scontainer")),
    ("pid", re.compile(r"process\sid")),
    ("process_name", re.compile(r"process\sname")),
    ("process_memory", re.compile(r"process\smemory")),
)


def lines_of(text: str) -> list[str]:
    """The lines of an output, without what a terminal acts on and outer blanks, cut to 4096 characters.

    Only CR and LF end a line: str.splitlines() would also break at characters that a process
    name may contain. A leading `>` (a quoted recording) is dropped.
    """
    lines = (printable(line[:_LINE_LIMIT]) for line in _LINE_END.split(text))
    return [line.strip().lstrip(">").strip() for line in lines]


def is_rule(line: str) -> bool:
    """Whether a line is a ruler, such as `+====+====+`."""
    return line[:1] in ("+", "|") and _RULE.issuperset(line) and ("-" in line or "=" in line)


def is_elided(line: str) -> bool:
    """Whether a line says that others are left out, such as `| ... |`."""
    return _ELLIPSIS.issuperset(line) and ("..." in line or "\u2026" in line)


def read_integer(token: str | None) -> int | None:
    # int() alone would take digits of other scripts, underscores and very long numbers.
    return int(token) if token is not None and _INTEGER.match(token) else None


def read_id(token: str | None) -> int | None:
    value = read_integer(token)
    return value if value is not None and value >= 0 else None


def read_number(token: str | None) -> Number | None:
    if token is None or not _DECIMAL.match(token):
        return None
    value = float(token)
    return int(value) if value.is_integer() and "." not in token else value


def is_absent(token: str) -> bool:
    return token.upper() in _ABSENT


def is_ratio(token: str) -> bool:
    return "/" in token and not is_absent(token)


def read_ratio(token: str | None) -> tuple[int | None, int | None]:
    if token is None or not is_ratio(token):
        return None, None
    used, total = token.split("/", 1)
    return read_id(used), read_id(total)


def read_version(token: str | None) -> str | None:
    # Vendor documents print x.x.x; that is not a version.
    return token if token and any(character in "0123456789" for character in token) else None


def column_of(word: str) -> str:
    low = " ".join(word.lower().split())
    for key, pattern in _COLUMNS:
        if pattern.match(low):
            return key
    return "?ratio" if "usage(" in low and "%" not in low else "?" + low


def header_columns(text: str) -> list[str]:
    return [column_of(word) for word in _HEADER_WORD.findall(text)]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line[1:-1].split("|")]


def _fits(token: str, column: str) -> bool:
    return is_absent(token) or is_ratio(token) == (column in _RATIO_COLUMNS)


def _assign(text: str, columns: Sequence[str]) -> dict[str, str] | None:
    """The values of one cell by column, or None if they cannot be told apart.

    `60156/ 65536` and `0    / 0` are one value each. A column without a value is left out.
    """
    if columns in (["health"], ["bus"], ["name"], ["process_name"]):
        return {columns[0]: " ".join(text.split())} if text else {}
    text = re.sub(r"\bN/A\b", "NA", text)
    tokens = "/".join(part.strip() for part in text.split("/")).split()
    if "name" in columns and len(tokens) > len(columns):
        # A chip's name may have blanks in it ("Ascend 910B3").
        at = list(columns).index("name")
        end = at + 1 + len(tokens) - len(columns)
        tokens[at:end] = [" ".join(tokens[at:end])]
    if "name" in columns:
        return dict(zip(columns, tokens)) if len(tokens) == len(columns) else None
    if len(tokens) == len(columns) and all(map(_fits, tokens, columns)):
        return dict(zip(columns, tokens))
    found: dict[str, str] = {}
    rest = list(tokens)
    for column in columns:
        if rest and _fits(rest[0], column) and len(tokens) < len(columns):
            found[column] = rest.pop(0)
    return None if rest else found


class Layout:
    """The columns of one header line, cell by cell."""

    def __init__(self, line: str) -> None:
        self.cells = [header_columns(cell) for cell in cells_of(line)]
        self.columns = {column for cell in self.cells for column in cell}

    def read(self, line: str) -> tuple[dict[str, str], bool] | None:
        """The values of a row by column and whether all of them fit; None for another layout."""
        cells = cells_of(line)
        if len(cells) != len(self.cells):
            return None
        values: dict[str, str] = {}
        complete = True
        for text, columns in zip(cells, self.cells):
            if not columns:
                if text:
                    return None
                continue
            found = _assign(text, columns)
            if found is None:
                if not {"npu", "chip"}.isdisjoint(columns):
                    return None
                complete = False
            else:
                values.update(found)
        return values, complete


def is_complete(line: str) -> bool:
    return len(line) > 1 and line[-1] in "|+" and line[0] in "|+"


def shorten(text: str, limit: int = 160) -> str:
    return one_line(text, limit) or "nothing"
