# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a service will find and may read its weights and the files that its `args` and `env` name."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._model.spec import Spec
from .._service import file_names, named_files
from .._service.container import writable_at
from .._service.hidden import hidden_directories, hiding
from .._service.named_files import NamedFile, below
from .._service.unit import FILES
from ..settings import Settings
from .access import ENTER, READ, WRITE, Reader, change
from .checks import HostChecks, name_of

_CODE = "files"
_ALWAYS_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm")
Step = Mapping[str, Any]


def path_options(specs: Iterable[Spec], settings: Settings) -> dict[str, list[str]]:
    """Options of the module host_info: the paths that services read, and the users that read them.

    Raises AscendError for `args` or settings that cannot be used.
    """
    paths: dict[str, None] = {}
    users: dict[str, None] = {}
    for spec in specs:
        if spec.state == "started":
            paths.update((path, None) for path, _file in _files(spec, settings))
            users[settings.user_of(name_of(spec))] = None
    users.pop("", None)
    found = {"paths": list(paths), "users": list(users)}
    return {option: value for option, value in found.items() if value}


def _files(spec: Spec, settings: Settings) -> list[tuple[str, NamedFile]]:
    """Each file of a service with its path on the host; none that is in the image of its container."""
    service, unit = {**spec.as_dict(), "name": name_of(spec)}, settings.unit
    files = named_files.files_of(service, unit)
    if not settings.in_containers:
        state = str(FILES["state_directory"]).replace("%i", service["name"])
        always = (*_ALWAYS_WRITABLE, state)
        return [
            (each.path, each)
            for each in files
            if each.kind != file_names.UNKNOWN
            if each.kind != file_names.WRITTEN or not any(below(each.path, it) for it in always)
        ]
    mounted = named_files.mounts(service, unit)
    places = [
        (
            writable_at(each.path, service, unit)
            if each.kind == file_names.WRITTEN
            else named_files.on_host(each.path, mounted, unit),
            each,
        )
        for each in files
    ]
    return [(path, each) for path, each in places if path]


def check_paths(checks: HostChecks) -> None:
    """What services read, along the complete path. It is an error, because they would not start."""
    facts = checks.facts.get("paths") or {}
    for spec in checks.started:
        if checks.settings.in_containers:
            _check_read_only(checks, spec)
        for path, file in _files(spec, checks.settings) if facts else ():
            if path in facts:
                _Check(checks, spec, path, file, facts[path]).run()


def _check_read_only(checks: HostChecks, spec: Spec) -> None:
    """What a service writes below where its container lets it write nothing."""
    service, unit = {**spec.as_dict(), "name": name_of(spec)}, checks.settings.unit
    for each in named_files.files_of(service, unit):
        if each.kind == file_names.WRITTEN and writable_at(each.path, service, unit) is None:
            checks.error(
                _CODE,
                f"service {service['name']}",
                f"{each.path} ({each.origin}) is where it writes, and is read-only in its container.",
                f"Leave {each.origin.split()[-1]} out, so that it is in the service's home, or add"
                f" {each.path}:{each.path}:rw to vllm_service_container_mounts.",
            )


@dataclass(frozen=True)
class _Check:
    """One file of one service."""

    checks: HostChecks
    spec: Spec
    path: str
    file: NamedFile
    facts: Mapping[str, Any]

    @property
    def steps(self) -> Sequence[Step]:
        found: Sequence[Step] = self.facts["steps"]
        return found

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def what(self) -> str:
        """The file, as the beginning of a sentence."""
        weights = self.file.kind == file_names.MODEL and self.file.origin == "its weights"
        return f"its weights {self.path}" if weights else f"{self.path} ({self.file.origin})"

    def add(self, message: str, advice: str) -> None:
        severity = "warning" if self.file.optional else "error"
        subject = f"service {name_of(self.spec)}"
        self.checks.add(severity, _CODE, subject, f"{self.what} {message}", advice)

    def run(self) -> None:
        contained = self.checks.settings.in_containers
        if self.file.kind == file_names.UNKNOWN:
            self._unmounted()
        elif self.file.kind == file_names.WRITTEN:
            self._unwritable()
        elif self.last["kind"] == "missing" and self.file.origin != "its weights":
            self._missing()
        elif not self._has_its_kind():
            return
        elif contained:
            self._beyond_mounts()
            self._unreadable()
        elif not self._hidden():
            self._unreadable()
        if self.facts["broken"]:
            self.add(
                f"cannot be read completely: {self.facts['broken']} is a link that leads nowhere.",
                "Download it again, or make the link lead to its file.",
            )

    def _missing(self) -> None:
        lost = self.last["path"]
        where = "" if lost == self.path else f": there is no {lost}"
        advice = "Put it there, or correct the path."
        if self.checks.settings.in_containers:
            advice += (
                " If it is in the image, name its directory in vllm_service_container_image_paths."
            )
        self.add(f"is not on this host{where}.", advice)

    def _has_its_kind(self) -> bool:
        wanted = {file_names.FILE: "file", file_names.DIRECTORY: "directory"}.get(self.file.kind)
        kind = self.last["kind"]
        if wanted is None or kind in (wanted, "unknown"):
            return True
        is_one = "a directory" if kind == "directory" else "no regular file"
        needed = "a file" if wanted == "file" else "a directory"
        self.add(f"is {is_one}; {needed} is needed.", "Correct the path.")
        return False

    # -- in a container ---------------------------------------------------------------------

    def _unmounted(self) -> None:
        """A variable of which it is not known what it means, with a path that is a file here."""
        mounted = named_files.mounts(self.spec.as_dict(), self.checks.settings.unit)
        if self.last["kind"] == "file" and not any(
            below(self.file.path, target) for _source, target, _mode in mounted
        ):
            self.checks.warning(
                _CODE,
                f"service {name_of(self.spec)}",
                f"{self.what} is on this host, and its container does not see it.",
                "If the service reads it, add it to vllm_service_container_mounts.",
            )

    def _beyond_mounts(self) -> None:
        """Links out of what is mounted, as in the cache of a hub, lead nowhere inside."""
        mounted = named_files.mounts(self.spec.as_dict(), self.checks.settings.unit)
        sources = [source for source, target, _mode in mounted if source == target]
        lost = [
            step["path"]
            for step in self.facts["behind"]
            if not any(below(source, step["path"]) for source in sources)
            if not any(below(step["path"], source) for source in sources)
        ]
        if lost:
            self.add(
                f"contains links to files below {lost[-1]}, which its container does not see.",
                f"Add {lost[-1]} to vllm_service_container_mounts.",
            )

    # -- what its user may do ----------------------------------------------------------------

    def _hidden(self) -> bool:
        hidden = hidden_directories(self.checks.settings.unit.hardening)
        for step in (*self.steps[1:], *self.facts["behind"]):
            found = hiding(step["path"], hidden)
            if found is not None:
                directory, setting = found
                self.add(
                    f"cannot be read: the unit hides {directory} of the host from its services"
                    f" ({setting}).",
                    f"Move it to {self._place(directory)}, or change the setting in"
                    " vllm_service_hardening.",
                )
                return True
        return False

    def _unreadable(self) -> None:
        user = self.checks.settings.user_of(name_of(self.spec))
        reader = Reader.of(user, self.checks.facts, self.checks.settings.groups)
        ways = [each for each in self._ways() if _is_known(each)]
        closed = [each for each in ways if not reader.may(each, ENTER)]
        if closed:
            self._report(reader, closed, "cannot be entered", ENTER)
            return
        if not _is_known(self.last):
            return
        ends = [self.last, *(self.facts["entries"] if self.file.kind == file_names.MODEL else ())]
        for each in ends:
            need = READ | ENTER if each["kind"] == "directory" else READ
            if not reader.may(each, need):
                self._report(reader, [each], "cannot be read", need)
                return

    def _ways(self) -> list[Mapping[str, Any]]:
        """The directories that lead to the file; those above a mount do not exist in a container."""
        ways = [*self.steps[:-1], *self.facts["behind"]]
        if not self.checks.settings.in_containers:
            return ways
        return [way for way in ways if self._is_mounted(way)]

    def _is_mounted(self, step: Step) -> bool:
        """Whether a container sees it."""
        if not self.checks.settings.in_containers:
            return False
        mounted = named_files.mounts(self.spec.as_dict(), self.checks.settings.unit)
        return any(below(step["path"], source) for source, _target, _mode in mounted)

    def _unwritable(self) -> None:
        """A directory that the service writes below, which a unit without a container lets it not make."""
        user = self.checks.settings.user_of(name_of(self.spec))
        reader = Reader.of(user, self.checks.facts, self.checks.settings.groups)
        make = f"`install -d -o {user} -m 0700 {shlex.quote(self.path)}`"
        last = self.last
        if last["kind"] == "missing" and self._is_mounted(self.steps[-2]):
            last = self.steps[-2]  # nothing keeps the engine in a container from making the rest
        if last["kind"] == "missing":
            self.add(
                "is not there, and its service writes there but cannot make it.",
                f"Deploy, then run {make}, and deploy again."
                if reader.uid is None
                else f"Run {make}.",
            )
        elif reader.uid is not None and _is_known(last):
            ways = [each for each in self._ways() if _is_known(each)]
            if not all(reader.may(each, ENTER) for each in ways) or not reader.may(
                last, WRITE | ENTER
            ):
                shown = f"{last['mode']}, {last['owner']}:{last['group']}"
                self.add(
                    f"({shown}) is where its service writes, and the user {user} may not.",
                    f"Give it to that user: `chown -R {user} {shlex.quote(last['path'])}`.",
                )

    def _report(self, reader: Reader, closed: Sequence[Step], cannot: str, need: int) -> None:
        first = closed[0]
        kind = "directory" if first["kind"] == "directory" else "file"
        others = first.get("count", len(closed)) - 1
        more = f" and {others} more" if others > 0 else ""
        message = (
            f"cannot be read by the user {reader.name}: the {kind} {first['path']}"
            f" ({first['mode']}, {first['owner']}:{first['group']}){more} {cannot}."
        )
        several = "count" in first
        targets = [self.last["path"]] if several else [str(each["path"]) for each in closed]
        command = change(reader, first, need, targets, several)
        self.add(message, f"Run `{command}`, or move it to {self._place(first['path'])}.")

    def _place(self, closed: str) -> str:
        """Where a file can be moved to that is not below the directory that is closed to its reader."""
        place = self.checks.settings.weights_dir
        if below(place, closed):
            return f"a directory that is not below {closed}"
        return f"a directory such as {place}"


def _is_known(step: Step) -> bool:
    return "mode" in step
