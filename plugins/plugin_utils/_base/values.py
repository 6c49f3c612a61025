# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values as Ansible passes them, read as plain Python ones and shown in messages."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    DEEPEST,
    parse_json,
)

from .errors import AscendError

# Of a variable or of what a module returns; those of a large fleet have some ten thousand.
_MOST_VALUES = 1_000_000


def plain(value: object, where: str) -> Any:
    """`value` made of exact dict, list, str, int, float, bool and None.

    ansible-core 2.19+ passes tagged subclasses of str and lazily templated containers, which
    neither a YAML dumper nor `json` treats as what they are.

    `where` names the value in errors. Raises AscendError for any other type (a YAML date, bytes),
    for a number that is not finite, for a mapping key that is not text or an integer, and for mappings
    and lists that are too deep in each other or have too many values.
    """
    return _Plain().of(value, where, 0)


class _Plain:
    """Makes one value plain; counts the values in it, of which aliases may make very many."""

    def __init__(self) -> None:
        self.values = 0

    def of(self, value: object, where: str, depth: int) -> Any:
        self.values += 1
        if self.values > _MOST_VALUES:
            raise AscendError(f"{where} is one of more than {_MOST_VALUES} values.")
        if isinstance(value, Mapping):
            self._check(where, depth)
            result: dict[str, Any] = {}
            for key, item in value.items():  # not dict(value): that would go past lazy templating
                if isinstance(key, bool) or not isinstance(key, (str, int)):
                    raise AscendError(f"{where} has the key {key!r}, which is not text: quote it.")
                name = "".join([key]) if isinstance(key, str) else str(int(key))
                if name in result:
                    raise AscendError(
                        f"{where} has the key {name!r} twice, as a text and as a number."
                    )
                result[name] = self.of(item, f"{where}, {name}", depth + 1)
            return result
        if isinstance(value, (list, tuple)):
            self._check(where, depth)
            return [
                self.of(item, f"{where}, item {n}", depth + 1) for n, item in enumerate(value, 1)
            ]
        return _plain_scalar(value, where)

    @staticmethod
    def _check(where: str, depth: int) -> None:
        if depth >= DEEPEST:
            raise AscendError(
                f"{where[:80]}... has mappings and lists in each other deeper than {DEEPEST} levels."
            )


def _plain_scalar(value: object, where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if getattr(value, "__ENCRYPTED__", False):  # `!vault` before ansible-core 2.19, no str
        return str(value)
    if isinstance(value, str):
        return "".join([value])  # an exact str also of a subclass
    if isinstance(value, int):
        if abs(value) >= 10**40:
            raise AscendError(
                f"{where} is a number of more than 40 digits: write it between quotes."
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise AscendError(f"{where} is {value}, which is not a number to work with.")
        return float(value)
    raise AscendError(
        f"{where} is a {type(value).__name__}, not text or a number: write it between quotes."
    )


def kind_of(value: object) -> str:
    """The type of a value in YAML's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a {type(value).__name__}"


def whole_number(value: object) -> int | None:
    """The int that `value` is or writes in digits (`4`, `"4"`); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    # Python does not read a number of some thousands of digits; no card or port has that many.
    if isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value) < 20:
        return int(value)
    return None


def shown(value: object, limit: int = 80) -> str:
    """`value` as a message shows it: at most `limit` characters long, for any value."""
    try:
        text = repr(str(value) if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # an int of too many digits, a list that contains itself
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def parse_names(value: object, name: str, way: str = "") -> list[Any]:
    """The entries of a variable that an operator types with `-e`.

    value: a list, a text of JSON (also of one mapping, which is one entry), or texts with commas between
    them. name: of the variable. way: what to write instead, in a sentence.

    Raises AscendError: it is something else, or empty.
    """
    way = way or f"Write names with commas between them, or a list in JSON (-e {name}=a,b)."
    given = plain(value, name)
    if isinstance(given, str) and given.lstrip().startswith(("[", "{")):
        try:
            given = parse_json(given)
        except ValueError as error:
            raise AscendError(
                f"{name} is {shown(value)}, which is not JSON: {error}. {way}"
            ) from None
    if isinstance(given, str):
        given = [text.strip() for text in given.split(",") if text.strip()]
    elif isinstance(given, dict):
        given = [given]
    if not isinstance(given, list) or not given:
        what = "not set" if given is None else "empty" if given == [] else kind_of(given)
        raise AscendError(f"{name} is {what}. {way}")
    return given


def bad_character(text: str) -> str | None:
    """The first character that no file of ours may contain, as `U+0007`, or None.

    These are control characters other than newline and tab, lone surrogates, noncharacters and
    the byte order mark: YAML, systemd (systemd.exec(5), EnvironmentFile=) or both reject them.
    """
    for char in text:
        point = ord(char)
        if (
            (unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t")
            or 0xFDD0 <= point <= 0xFDEF
            or point & 0xFFFE == 0xFFFE
            or point == 0xFEFF
        ):
            return f"U+{point:04X}"
    return None


def flat(requests: list[Any]) -> list[Any]:
    """A list in a list of requests is the same as its entries."""
    found: list[Any] = []
    for request in requests:
        found += request if isinstance(request, list) else [request]
    return found
