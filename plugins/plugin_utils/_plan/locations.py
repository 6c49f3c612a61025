# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the plan's file of a host goes, and what prevents that."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

from .._base.errors import AscendError
from .entries import INSTANCES

HOST_VARS = "host_vars"


FILE = f"{INSTANCES}.yml"


EXTENSIONS = (".yml", ".yaml", ".json")


_COMMAND_LINE = "of the command line"


STAGE_PREFIX = ".inferops-plan-"  # a name that Ansible passes over in host_vars


def name_fault(host: str) -> str | None:
    """Why a host's name cannot name a directory that Ansible reads as its own, or None."""
    if not host or host in (".", ".."):
        return "it names no directory"
    if "/" in host or "\0" in host:
        return "it has a character that no file's name can have"
    if "$" in host:
        return "Ansible would expand the $ in it when it looks for the host's variables"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in host):
        return "it has a control character"
    if host.startswith(STAGE_PREFIX):
        return "the plan uses such names itself"
    if len(os.fsencode(host)) > 255:
        return "it is longer than a file's name can be"
    return None


class Places:
    """Where the files of hosts go.

    sources: of the inventory, as Ansible has them. output: what the user set instead, or "".
    """

    def __init__(self, sources: Iterable[str], output: str) -> None:
        self.directories: dict[str, list[str]] = {}
        for source in sources:
            if source and os.path.exists(source):
                inside = source if os.path.isdir(source) else os.path.dirname(source)
                self.directories.setdefault(os.path.realpath(inside), []).append(source)
        self._output = output
        self._known: dict[object, tuple[Path, str]] = {}

    @property
    def output(self) -> Path:
        return Path(os.path.realpath(os.path.expanduser(self._output)))

    def of(self, inventory_dir: object, inventory_file: object) -> tuple[Path, str]:
        """(the directory that has or gets host_vars, the inventory's name for the marker) of a host.

        inventory_dir, inventory_file: Ansible's variables.

        Raises AscendError where Ansible would not read what is written there.
        """
        key = (inventory_dir, inventory_file)
        if key not in self._known:
            self._known[key] = self._of(inventory_dir, inventory_file)
        return self._known[key]

    def _of(self, inventory_dir: object, inventory_file: object) -> tuple[Path, str]:
        # Ansible says None in letters for hosts of the command line.
        inventory_dir = None if inventory_dir == "None" else inventory_dir
        inside = os.path.realpath(str(inventory_dir)) if inventory_dir else None
        found = None
        while inside is not None and found is None:
            found = inside if inside in self.directories else None
            parent = os.path.dirname(inside)
            inside = parent if parent != inside else None
        if found is None and not self._output:
            raise AscendError(
                "its variables have no place: it comes from no inventory file"
                + (f" whose directory Ansible reads ({inventory_dir})" if inventory_dir else "")
                + ". Set vllm_plan_output to the directory that is to get host_vars."
            )
        name = _COMMAND_LINE
        if found is not None:
            # By its file and not by what -i named, so that its directory and the file are the same.
            file = os.path.realpath(str(inventory_file)) if inventory_file else found
            below = file.startswith(found.rstrip("/") + "/")
            name = printable(os.path.relpath(file, found) if below else os.path.basename(file))
        return (self.output if self._output else Path(str(found))), name

    def speaks_for(self, base: Path, source: str) -> bool:
        """Whether this run speaks for the hosts of an inventory, by its name in a marker."""
        if source == _COMMAND_LINE:
            return bool(self._output)
        if self._output:
            found = [source for sources in self.directories.values() for source in sources]
        else:
            found = self.directories.get(str(base), [])
        return any(
            os.path.isdir(each) or printable(os.path.basename(each)) == source for each in found
        )


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def defined_where(
    host: str, groups: Iterable[str], directories: Iterable[Path], ours: Collection[Path]
) -> Path | None:
    """The file that defines a host's vllm_service_instances, if one of Ansible's directories has it."""
    places = [(HOST_VARS, host), *(("group_vars", group) for group in sorted(groups))]
    for base in directories:
        for kind, name in places:
            start = base / kind / name
            found = [start.with_name(start.name + ending) for ending in ("", *EXTENSIONS)]
            if start.is_dir():
                found = sorted(path for path in start.rglob("*") if path.is_file())
            for path in found:
                if path in ours or not path.is_file():
                    continue
                with contextlib.suppress(OSError):
                    if INSTANCES.encode() in path.read_bytes():
                        return path
    return None
