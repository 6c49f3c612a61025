# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of an inventory as they were written, templates and tags included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .._base.errors import AscendError
from .._base.values import plain, shown
from .._model.catalogue import Catalogue

_MARKS = ("{{", "{%", "{#")


@dataclass(frozen=True)
class TaggedValue:
    """A value that is passed on under its YAML tag: ``!vault`` with its ciphertext, ``!unsafe``."""

    tag: str
    text: str


TagReader = Callable[[object], TaggedValue | None]


class Inventory(Protocol):
    """What this module wants of Ansible."""

    def variables(self, host: str) -> Mapping[str, Any]:
        """The variables of a host as they were written."""

    def render(self, host: str, text: str) -> object:
        """A template, rendered with a host's variables. Raises AscendError."""

    def tagged_value(self, value: object) -> TaggedValue | None:
        """A value that must stay encrypted, or must not be rendered; None for any other."""

    def matching(self, pattern: str) -> frozenset[str]:
        """Names of the hosts that a pattern of Ansible's matches."""

    def catalogue(self, tables: Sequence[str]) -> Catalogue:
        """The model tables. Raises AscendError."""


def written(value: object, where: str, tagged_value: TagReader) -> Any:
    """`value` in plain types, with `TaggedValue` for what carries a tag. Raises AscendError."""
    tagged = tagged_value(value)
    if tagged is not None:
        return tagged
    if isinstance(value, Mapping):
        result: dict[Any, Any] = {}
        for key, item in value.items():
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise AscendError(f"{where} has the key {shown(key)}, which is not text: quote it.")
            result[plain(key, where)] = written(item, f"{where}, {key}", tagged_value)
        return result
    if isinstance(value, (list, tuple)):
        return [
            written(item, f"{where}, item {n}", tagged_value) for n, item in enumerate(value, 1)
        ]
    return plain(value, where)


def is_template(value: object) -> bool:
    """Whether a plain text contains something to render."""
    return isinstance(value, str) and "{" in value and any(mark in value for mark in _MARKS)


def holds_template(value: object) -> bool:
    """Whether something in a value as `written` gives it is to be rendered."""
    if isinstance(value, dict):
        return any(holds_template(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_template(item) for item in value)
    return is_template(value)


@dataclass(frozen=True)
class Problem:
    """Something for which the plan is rejected.

    message: what is wrong and what to do. hosts, service: what it is about, if about such.
    """

    message: str
    hosts: tuple[str, ...] = ()
    service: str = ""

    @property
    def line(self) -> str:
        return f"{some(self.hosts)}: {self.message}" if self.hosts else self.message


class Problems:
    """All that is wrong, each once, in the order found."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def add(self, text: str, host: str = "", service: str = "") -> None:
        self._found.setdefault((text, service), []).append(host)

    def __bool__(self) -> bool:
        return bool(self._found)

    def found(self) -> list[Problem]:
        return [
            Problem(text, tuple(host for host in dict.fromkeys(hosts) if host), service)
            for (text, service), hosts in self._found.items()
        ]

    def lines(self) -> list[str]:
        """A sentence or more each, beginning with the hosts it is about, if it is about hosts."""
        return [each.line for each in self.found()]


def some(names: Sequence[str], limit: int = 3) -> str:
    """Names as a text, cut where they are many."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[: limit - 1])} and {len(names) - limit + 1} more hosts"


class Reader:
    """Reads what hosts have; collects all that is wrong."""

    def __init__(self, inventory: Inventory, problems: Problems) -> None:
        self.inventory = inventory
        self.problems = problems
        self._plain: dict[int, tuple[object, Any]] = {}

    def as_written(self, value: object, where: str) -> Any:
        """`written`, once for each object; a list in group_vars is the same for all its hosts."""
        found = self._plain.get(id(value))
        if found is None:
            # The object is kept, so that no other gets its id.
            found = self._plain[id(value)] = (
                value,
                written(value, where, self.inventory.tagged_value),
            )
        return found[1]

    def rendered(self, host: str, value: Any, where: str) -> Any:
        """A value as `written` gives it with its templates rendered. Raises AscendError."""
        if isinstance(value, dict):
            return {k: self.rendered(host, v, f"{where}, {k}") for k, v in value.items()}
        if isinstance(value, list):
            return [self.rendered(host, v, f"{where}, item {n}") for n, v in enumerate(value, 1)]
        if isinstance(value, TaggedValue):
            return value.text if value.tag == "!unsafe" else value
        if not is_template(value):
            return value
        try:
            return plain(self.inventory.render(host, value), where)
        except AscendError as error:
            raise AscendError(f"{where}: {error}") from error

    def readable(self, host: str, value: Any, where: str) -> Any:
        """`rendered`, of what the plan has to know. Raises AscendError."""
        value = self.rendered(host, value, where)
        if isinstance(value, TaggedValue):
            raise AscendError(f"{where} is encrypted, and the plan has to read it.")
        return value
