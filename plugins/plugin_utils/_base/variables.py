# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Variables of a host, read as the type that is needed; defaults are those of the roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    OutOfBounds,
    check_depth,
)

from .data import role_defaults
from .errors import AscendError
from .values import kind_of, shown, whole_number

# A variable's value, rendered and in plain types; None where it is not set. Raises AscendError.
Reader = Callable[[str], Any]

_ROLES = ("ascend_host", "vllm_service", "vllm_runtime", "vllm_gateway", "vllm_monitoring")
_TRUE = ("true", "yes", "on", "1", "y", "t")
_FALSE = ("false", "no", "off", "0", "n", "f", "")


def role_default(name: str) -> Any:
    """The default of a role's variable; None where it has none."""
    for role in _ROLES:
        if name.startswith(f"{role}_"):
            return role_defaults(role).get(name)
    return None


def seconds(value: Any, name: str) -> float:
    """A variable's number of seconds, from 0 on. Raises AscendError."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1
    if isinstance(value, bool) or not 0 <= found < float("inf"):
        raise AscendError(f"{name} is {shown(value)}; a number of seconds is needed.")
    return found


class Variables:
    """Reads variables by name. Each method raises AscendError for a value of another type."""

    def __init__(self, read: Reader) -> None:
        self._read = read

    def value(self, name: str) -> Any:
        value = self._read(name)
        try:
            check_depth(value)
        except OutOfBounds as error:
            raise AscendError(f"{name} cannot be read: {error}.") from error
        return role_default(name) if value is None else value

    def text(self, *names: str) -> str:
        """The first of these variables that is set; an empty text where none is."""
        for name in names:
            value = self.value(name)
            if value is None or (value == "" and name != names[-1]):
                continue
            if not isinstance(value, (str, int, float)) or isinstance(value, bool):
                raise AscendError(f"{name} is {kind_of(value)}; a text is needed.")
            return str(value)
        return ""

    def texts(self, *names: str) -> tuple[str, ...]:
        for name in names:
            value = self.value(name)
            if value is None:
                continue
            items = [value] if isinstance(value, str) and value else value or []
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                raise AscendError(f"{name} is {shown(value)}; a list of texts is needed.")
            return tuple(items)
        return ()

    def flag(self, name: str) -> bool:
        value = self.value(name)
        text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
        if value is not None and text not in _TRUE + _FALSE:
            raise AscendError(f"{name} is {shown(value)}; write true or false.")
        return text in _TRUE

    def number(self, name: str) -> int | None:
        value = self.value(name)
        number = whole_number(value)
        if value is not None and number is None:
            raise AscendError(f"{name} is {shown(value)}; an integer is needed.")
        return number

    def seconds(self, name: str) -> float:
        return seconds(self.value(name), name)

    def choice(self, options: Sequence[str], *names: str) -> str:
        """The first of these variables that is set, which has to be one of the options."""
        text = self.text(*names)
        if text not in options:
            words = f"{', '.join(options[:-1])} or {options[-1]}"
            raise AscendError(f"{names[0]} is {shown(text)}; write {words}.")
        return text

    def mapping(self, name: str) -> dict[str, Any] | None:
        value = self.value(name)
        if value is not None and not isinstance(value, Mapping):
            raise AscendError(f"{name} is {kind_of(value)}; a mapping is needed.")
        return None if value is None else dict(value)
