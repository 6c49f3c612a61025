# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the variables of many hosts are what the roles take, by what the inventory alone shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from ._base.errors import AscendError
from ._base.origin import COMMAND_LINE
from ._base.specs import fault, meant, options
from ._model.request import REQUEST_KEYS
from ._plan.inventory import Problem, holds_template, is_template
from .settings import Settings

# Requests differ from host to host. Of them the settings check the type alone; the rest is checked for each host.
REQUESTS = ("vllm_service_instances", "ascend_host_services")
# Ansible reads the hosts of a play before the variables of groups and hosts.
_CHOICE = "ascend_hosts"
_TOO_LATE = f"{_CHOICE} has no effect in an inventory; give it with -e {_CHOICE}=PATTERN."
_OURS = re.compile(r"\b(?:ascend|vllm)_\w+")


class Inventory(Protocol):
    """What this module wants of Ansible."""

    def variables(self, host: str) -> Mapping[str, Any]:
        """The variables of a host as they were written."""

    def read(self, host: str, name: str) -> Any:
        """A variable, rendered; None where it is not set or cannot be rendered yet. Raises AscendError."""

    def origin(self, host: str, name: str, value: object) -> str | None:
        """Where a variable is set; None where nothing shows it."""


@dataclass(frozen=True)
class Outcome:
    """What is wrong, and what is probably a mistake."""

    problems: list[Problem]
    warnings: list[Problem]

    @property
    def message(self) -> str:
        """All problems in one text."""
        lines = [each.line for each in self.problems]
        if len(lines) == 1:
            return f"{lines[0]} No host was contacted."
        return "\n  ".join([f"{len(lines)} problems. No host was contacted.", *lines])


def check(
    inventory: Inventory,
    hosts: Sequence[str],
    services: Callable[[str], str | None] = lambda _host: None,
) -> Outcome:
    """Check every variable of ours that hosts have. What is equal for several hosts is one line.

    services: what is wrong with the services that a host lists, if its other variables are right.
    """
    run = _Run(inventory)
    problems: dict[tuple[str, str], list[str]] = {}
    warnings: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        variables = inventory.variables(host)
        faults = list(run.faults(host, variables))
        text = None if faults else services(host)
        if text:
            faults = [(_variable(text, variables), text)]
        for name, text in faults:
            where = inventory.origin(host, name, variables.get(name)) or "set by a play"
            problems.setdefault((text, where if name else ""), []).append(host)
        for name, text in filter(None, map(_unknown, variables)):
            place = inventory.origin(host, name, variables[name])
            if place:  # others are no variables of the inventory
                warnings.setdefault((text, place), []).append(host)
        if _CHOICE in variables:
            place = inventory.origin(host, _CHOICE, variables[_CHOICE])
            if place and place != COMMAND_LINE:
                warnings.setdefault((_TOO_LATE, place), []).append(host)
    return Outcome(_found(problems), _found(warnings))


def _unknown(name: str) -> tuple[str, str] | None:
    """An unknown name that is probably meant to be something of ours, and what to say of it."""
    key = name.removeprefix("vllm_service_")
    if (near := meant(name)) is not None:
        return name, f"{name} is not a variable of this collection; is {near} meant?"
    if key != name and key in REQUEST_KEYS and name not in options():
        return name, (
            f"{name} is not a variable of this collection; {key} is a key of each entry of"
            " vllm_service_instances."
        )
    return None


def _found(found: Mapping[tuple[str, str], Sequence[str]]) -> list[Problem]:
    return [
        Problem(f"{text.rstrip('.')} ({where})." if where else text, tuple(hosts))
        for (text, where), hosts in found.items()
    ]


class _Run:
    """One check; remembers what was found for values that hosts have in common."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._faults: dict[tuple[str, int], str | None] = {}
        self._bounds: dict[object, list[tuple[str, str]]] = {}
        self._kept: list[object] = []  # so that no other object gets the id of one

    def faults(self, host: str, variables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """(variable, what is wrong with it) of a host."""
        ours = {name: value for name, value in variables.items() if name in options()}
        self._kept.append(ours)
        wrong = set()
        for name, value in ours.items():
            text = self._fault(host, name, value)
            if text:
                wrong.add(name)
                yield name, text
        for name, text in self._out_of_bounds(host, ours):
            if name not in wrong and name in ours:
                wrong.add(name)
                yield name, text

    def _fault(self, host: str, name: str, value: object) -> str | None:
        if value is None or name in REQUESTS or hasattr(value, "_ciphertext"):
            return None  # not set; more than a list is taken; a secret
        if value == "" and options()[name].get("type") == "bool":
            return None  # no
        key = (name, id(value))
        if is_template(value):
            return self._rendered(host, name)
        if key not in self._faults:
            items = [value] if not isinstance(value, list) else value
            open_items = len(items) != sum(not is_template(item) for item in items)
            self._faults[key] = None if open_items else fault(name, value)
        return self._faults[key]

    def _rendered(self, host: str, name: str) -> str | None:
        try:
            value = self._inventory.read(host, name)
        except AscendError as error:
            return str(error)
        return None if value is None or value == "" else fault(name, value)

    def _out_of_bounds(self, host: str, ours: Mapping[str, Any]) -> list[tuple[str, str]]:
        key: object = frozenset(
            (name, type(value) if name in REQUESTS else id(value)) for name, value in ours.items()
        )
        if any(holds_template(value) for name, value in ours.items() if name not in REQUESTS):
            key = (key, host)
        if key not in self._bounds:
            errors = map(str, Settings(partial(self._inventory.read, host)).problems())
            self._bounds[key] = [(_subject(text), text) for text in errors]
        return self._bounds[key]


def _variable(text: str, variables: Mapping[str, Any]) -> str:
    """The variable of a host that a message about a service is about; empty where the host has none."""
    listed = [name for name in REQUESTS if variables.get(name) is not None]
    named = _subject(text)
    return named if named in variables and named not in REQUESTS else next(iter(listed), "")


def _subject(text: str) -> str:
    """The variable that a message is about: the first that it names."""
    return next((name for name in _OURS.findall(text) if name in options()), "")
