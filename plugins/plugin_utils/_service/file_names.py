# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which options and variables of a service name files: vars/named_files.yml, and `written` of vars/hardening.yml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from .._base.data import vars_file

FILE, DIRECTORY, MODEL = "file", "directory", "model"
# A directory that the service writes below.
WRITTEN = "written"
# An absolute path in a variable of which it is not known what it means.
UNKNOWN = "unknown"
# What is before a path in NAME=PATH.
_NAME = re.compile(r"[^={/]+=")
_TEMPLATE = re.compile(r"[{}\n]")
# vLLM, CANN and the hubs expand none of these in what they only read.
_RELATIVE = ("./", "../", "~")
_ENDINGS = (".json", ".yaml", ".yml", ".pem", ".crt")


@dataclass(frozen=True)
class Entry:
    """An option or a variable.

    kind: of what it names; None where its value is a mapping. keys: of such a mapping, with the kind of
    each. many: several paths. optional: the engine starts without it.
    """

    kind: str | None
    keys: Mapping[str, str]
    many: bool
    optional: bool


@lru_cache(maxsize=None)
def _part(part: str) -> Mapping[str, Entry]:
    return {
        name: Entry(
            entry.get("kind"),
            entry.get("keys", {}),
            bool(entry.get("list")),
            entry.get("missing") == "warning",
        )
        for name, entry in vars_file("named_files.yml")[part].items()
    }


def option_entry(name: str) -> Entry | None:
    return _part("options").get(name)


def variable_entry(name: str) -> Entry | None:
    return _part("env").get(name)


@lru_cache(maxsize=1)
def written() -> tuple[frozenset[str], frozenset[str]]:
    """Variables and options that name directories which are written."""
    data = vars_file("hardening.yml")["written"]
    return frozenset(name for group in data["env"].values() for name in group), frozenset(
        data["options"]
    )


def relative_option(name: str, value: str) -> bool:
    """Whether an option that names a file has a path that depends on where its process runs.

    What is no path, as the text of a template or a name on a hub, does not.
    """
    entry = option_entry(name)
    if entry is None or entry.kind is None or _TEMPLATE.search(value):
        return False
    named = _NAME.match(value)
    path = value[named.end() :] if named else value
    return path.startswith(_RELATIVE) or (entry.kind == FILE and path[:1] not in ("", "/", "-"))


def relative_variable(name: str, value: str) -> bool:
    """The same of a variable. A library without a directory is found by the loader."""
    entry = variable_entry(name)
    if entry is None or entry.kind != FILE or entry.many or value.startswith("/"):
        return False
    return "/" in value or value.startswith("~") or value.endswith(_ENDINGS)
