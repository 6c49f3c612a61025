# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The directives that confine services which run without a container: vars/hardening.yml."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from .._base import data
from .._base.errors import AscendError
from .._base.systemd import escaped
from .._base.values import kind_of, shown

_VARIABLE = "vllm_service_hardening"
_DOCS = "docs/unit.md of the collection tells what each one needs"


def hardening_lines(changes: Mapping[str, Any]) -> tuple[str, ...]:
    """The lines of the unit: the defaults, with what `vllm_service_hardening` changes.

    Of a directive a text (or true and false) takes the place of the default, a list adds lines to it,
    and null leaves it out. Raises AscendError for a directive that the variable does not set and for a
    value that systemd would ignore or read in another way.
    """
    known: Mapping[str, Any] = data.vars_file("hardening.yml")["directives"]
    for name in changes:
        if name not in known:
            raise AscendError(_unknown(name, list(known)))
    found: list[str] = []
    for name, directive in known.items():
        lines = _lines(directive.get("default"))
        if name in changes:
            lines = _changed(name, directive, lines, changes[name])
        found += [f"{name}={line}" for line in lines]
    return tuple(found)


def _unknown(name: str, known: list[str]) -> str:
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), lower, n=2, cutoff=0.6)
    hint = f" The closest are {', '.join(lower[key] for key in close)}." if close else ""
    return (
        f"{_VARIABLE} has {name}, which is no directive that it sets.{hint} For any other setting of"
        f" systemd write a drop-in; {_DOCS}."
    )


def _lines(default: object) -> list[str]:
    if default is None:
        return []
    return [str(each) for each in default] if isinstance(default, list) else [str(default)]


def _changed(name: str, directive: Mapping[str, Any], lines: list[str], value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        if not directive.get("adds"):
            raise AscendError(
                f"{_VARIABLE}, {name} is a list, and this directive has one value. Write it as a text."
            )
        return [*lines, *(_text(name, directive, each) for each in value)]
    return [_text(name, directive, value)]


def _text(name: str, directive: Mapping[str, Any], value: object) -> str:
    what = f"{_VARIABLE}, {name}"
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if not isinstance(value, str):
        raise AscendError(f"{what} is {kind_of(value)}; a text is needed: write it between quotes.")
    values = directive.get("values")
    if values and value not in values:
        raise AscendError(f"{what} is {shown(value)}; it can be {', '.join(values)}.")
    if not value.isprintable() or value != value.strip() or value.endswith("\\"):
        raise AscendError(
            f"{what} is {shown(value)}; systemd would read it in another way. Write one line without"
            " blanks around it and without a backslash at its end."
        )
    return value


def writable_lines(env: Mapping[str, object], config: Mapping[str, object]) -> list[str]:
    """Lines that keep the directories writable which a service's environment and options name.

    env: all variables of its process that the role was given. config: its options of vLLM.
    """
    written = data.vars_file("hardening.yml")["written"]
    names = [name for group in written["env"].values() for name in group]
    values = [
        *(env.get(name) for name in names),
        *(config.get(name) for name in written["options"]),
    ]
    return [f'ReadWritePaths="-{escaped(path)}"' for path in dict.fromkeys(_directories(values))]


def _directories(values: list[object]) -> Iterator[str]:
    for value in values:
        # What is relative is below the working directory.
        if isinstance(value, str) and value.startswith("/") and value.strip("/"):
            yield value
