# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Directories of variables: where the files of hosts go, and what is there already."""

from __future__ import annotations

import contextlib
import os
import shlex
import unicodedata
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    OutOfBounds,
    read_bytes,
)

from .._base.errors import AscendError
from .._base.origin import EXTENSIONS, variable_files
from .entries import INSTANCES, printable
from .plan_file import PlanFile, marked_source, read_plan_file

HOST_VARS = "host_vars"
# Of a host's file; that of 64 services has some 30,000 bytes.
_MOST_BYTES = 8_000_000
FILE = f"{INSTANCES}.yml"
_COMMAND_LINE = "of the command line"
# Beside host_vars, where a directory of inventories may be, of which Ansible passes over hidden files.
LOCK = ".inferops-plan.lock"
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
        inside = Path(os.path.realpath(str(inventory_dir))) if inventory_dir else None
        above = [str(path) for path in (inside, *inside.parents)] if inside else []
        found = next((path for path in above if path in self.directories), None)
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


def defined_where(
    host: str, groups: Iterable[str], directories: Iterable[Path], ours: Collection[Path]
) -> Path | None:
    """The file that defines a host's vllm_service_instances, if one of Ansible's directories has it."""
    places = [(HOST_VARS, host), *(("group_vars", group) for group in sorted(groups))]
    for base in directories:
        for kind, name in places:
            for path in variable_files(base, kind, name):
                if path in ours:
                    continue
                with contextlib.suppress(OSError, OutOfBounds):
                    if INSTANCES.encode() in read_bytes(path):
                        return path
    return None


@dataclass
class Directory:
    """What is in one host_vars.

    plans: files of the plan by host. by_hand: hosts that have a file of that name without the
    marker. beside: files and directories in it. stale: what an interrupted run left.
    """

    base: Path
    plans: dict[str, PlanFile] = field(default_factory=dict)
    by_hand: dict[str, Path] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    stale: list[Path] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.base / HOST_VARS

    def target(self, host: str) -> Path:
        return self.path / host / FILE


def read_directory(base: Path) -> Directory:
    """What is in the host_vars of a directory. Raises AscendError where it cannot be read."""
    directory = Directory(base)
    try:
        with os.scandir(directory.path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return directory
    except OSError as error:
        raise AscendError(f"{directory.path} cannot be read: {error.strerror}.") from error
    for entry in entries:
        kind = "directory" if entry.is_dir() else "file"
        kind = "link" if entry.is_symlink() else kind
        if kind == "directory" and entry.name.startswith(STAGE_PREFIX):
            directory.stale.append(Path(entry.path))
            continue
        directory.beside[entry.name] = kind
        if kind == "file":
            continue
        path = os.path.join(entry.path, FILE)
        try:
            data = read_bytes(path, _MOST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OutOfBounds as error:
            raise AscendError(f"{path} cannot be read: {error}. Move it away.") from error
        except OSError as error:
            raise AscendError(f"{path} cannot be read: {error.strerror}.") from error
        source = marked_source(data)
        if source is None:
            directory.by_hand[entry.name] = Path(path)
        else:
            directory.plans[entry.name] = read_plan_file(Path(path), entry.name, data, source)
    return directory


def place_fault(directory: Directory, host: str) -> str | None:
    """Why nothing may be written for a host, or None: a link that may lead anywhere."""
    if os.path.islink(directory.path):
        return (
            f"{directory.path} is a symbolic link to {os.path.realpath(directory.path)}. Set"
            " vllm_plan_output to the directory that really has host_vars."
        )
    if directory.beside.get(host) == "link":
        return (
            f"{directory.path / host} is a symbolic link, and the plan writes into real directories alone."
            " Create a directory there."
        )
    if os.path.islink(directory.target(host)):
        return f"{directory.target(host)} is a symbolic link. Remove it."
    return None


def beside(directory: Directory, host: str, extensions: Sequence[str] = EXTENSIONS) -> list[Path]:
    """Files of a host's variables beside its directory, in the order in which Ansible looks for one.

    Where the directory is, Ansible reads none of them, without a warning.
    """
    names = [host, *(host + extension for extension in extensions)]
    there = [name for name in names if directory.beside.get(name, "directory") != "directory"]
    # A directory HOST.yml is that of a host of this name.
    return [directory.path / name for name in there if not os.path.isdir(directory.path / name)]


def adopted_path(directory: Directory, host: str, file: Path) -> Path:
    """Where a file beside the host's directory goes in it."""
    return directory.path / host / f"vars{file.name[len(host) :]}"


def hidden_file_message(directory: Directory, host: str, file: Path) -> str:
    """What to report about a file beside the host's directory, with the command that fixes it."""
    target = adopted_path(directory, host, file)
    inside = directory.beside.get(host) == "directory"
    problem = (
        f"{file} is not read by Ansible, because there is the directory {target.parent}."
        if inside
        else f"{file} would no longer be read by Ansible once there is the directory {target.parent}."
    )
    if file == target.parent:
        aside = file.with_name(f"{file.name}.moving")
        command = (
            f"mv {shlex.quote(str(file))} {shlex.quote(str(aside))} && mkdir"
            f" {shlex.quote(str(file))} && mv {shlex.quote(str(aside))} {shlex.quote(str(target))}"
        )
    else:
        command = (
            f"mkdir -p {shlex.quote(str(target.parent))} && mv {shlex.quote(str(file))}"
            f" {shlex.quote(str(target))}"
        )
    return (
        f"{problem} Move it into the directory: {command} ; or set vllm_plan_adopt_host_vars to true, and"
        " the plan does it."
    )


def write_problems(
    directory: Directory,
    host: str,
    known: Container[str],
    extensions: Sequence[str],
    *,
    adopt: bool,
) -> Iterator[tuple[str, str]]:
    """(what prevents that the host's file is written and read again, the host if not in the text).

    known: names of all hosts of the inventory. extensions: of files of variables.
    """
    fault = name_fault(host)
    for ending in extensions:
        if host.endswith(ending) and host[: -len(ending)] in known:
            fault = f"Ansible would read its directory for {host[: -len(ending)]} too"
    if fault:
        yield (
            f"the name {host!r} cannot be planned for: {fault}. Give the host another name"
            " in the inventory, with ansible_host for its address.",
            "",
        )
        return
    fault = place_fault(directory, host)
    existing_fault = directory.plans[host].fault if host in directory.plans else None
    if fault or existing_fault:
        yield str(fault or existing_fault), host
    files = beside(directory, host, extensions)
    if not files or fault:
        return
    target = adopted_path(directory, host, files[0])
    if len(files) > 1:
        yield (
            f"{' and '.join(map(str, files))} both exist, and Ansible reads one of them. Make them"
            " one.",
            host,
        )
    elif os.path.lexists(target) and directory.beside.get(host) == "directory":
        yield (
            f"{files[0]} is not read by Ansible, because there is the directory {target.parent},"
            f" and {target.name} is in there already. Move what is needed into it.",
            host,
        )
    elif not adopt:
        yield hidden_file_message(directory, host, files[0]), host
