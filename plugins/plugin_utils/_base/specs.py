# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The argument specs of the roles and playbooks, and whether a value is what its spec asks for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .data import ROOT, VARS, read_yaml
from .values import kind_of, shown

_NEEDED = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "an integer",
    "list": "a list",
    "path": "a path",
    "str": "a text",
}
_ITEMS = {
    "dict": "mappings",
    "int": "integers",
    "path": "paths",
    "str": "texts",
}
# Of names whose values are not shown.
_SECRET = re.compile("key|token|secret|password")
# How similar two names are of which one is taken for the other with a mistake, where 1 is equal: with the prefix of a
# role what follows it, else all of them.
_SIMILAR_ENDS, _SIMILAR = 0.75, 0.93


@lru_cache(maxsize=None)
def options() -> Mapping[str, Mapping[str, Any]]:
    """The argument spec of each variable of the roles and playbooks, by its name."""
    found: dict[str, Mapping[str, Any]] = {}
    for entries in read_yaml(VARS / "playbook_variables.yml").values():
        found.update(entries)
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        # What an entry point `main` tells of a variable goes before the others.
        for spec in reversed(list(read_yaml(path)["argument_specs"].values())):
            found.update(spec.get("options", {}))
    return found


@lru_cache(maxsize=None)
def _prefixes() -> tuple[str, ...]:
    return tuple(f"{path.name}_" for path in (ROOT / "roles").iterdir())


@lru_cache(maxsize=None)
def meant(name: str) -> str | None:
    """The known name that an unknown one, of `vllm_` or `ascend_`, is probably meant to be."""
    if name in options() or not name.startswith(("vllm_", "ascend_")):
        return None
    prefix = next(filter(name.startswith, _prefixes()), "")
    known = [each[len(prefix) :] for each in options() if each.startswith(prefix)]
    least = _SIMILAR_ENDS if prefix else _SIMILAR
    near = difflib.get_close_matches(name[len(prefix) :], known, 1, least)
    # A variable of a user may be named after one of ours: vllm_service_instances_chat.
    return prefix + near[0] if near and not name.startswith(f"{prefix}{near[0]}_") else None


def fault(name: str, value: object) -> str | None:
    """What is wrong with a rendered value of a known variable, in a sentence; None: nothing.

    A value that Ansible converts to the type, such as "8000" to an integer, is right.
    """
    option = options()[name]
    kind = str(option.get("type", "str"))
    container = isinstance(value, (Mapping, list, tuple))
    hidden = container or _SECRET.search(name)
    seen = kind_of(value) if hidden else shown(value)
    if _errors({"type": kind}, value) or (kind in ("str", "path") and container):
        return f"{name} is {seen}; {_NEEDED[kind]} is needed."
    choices = option.get("choices")
    if choices and _errors({"type": kind, "choices": choices}, value):
        *first, last = map(str, choices)
        return f"{name} is {seen}; write {', '.join(first)} or {last}."
    element = str(option.get("elements", "raw"))
    if element in _ITEMS and _errors({"type": kind, "elements": element}, value):
        return f"{name} has items of another type; a list of {_ITEMS[element]} is needed."
    checked = {key: option[key] for key in ("elements", "options") if key in option}
    errors = _errors({"type": kind, **checked}, value)
    return f"{name} is not valid: {errors[0]}." if errors else None


def _errors(option: Mapping[str, Any], value: object) -> list[str]:
    validator = ArgumentSpecValidator({"value": option})
    messages: list[str] = validator.validate({"value": value}).error_messages
    return [message.replace(" found in value", "").rstrip(".") for message in messages]
