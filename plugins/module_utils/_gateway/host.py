# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files and the unit of the gateway of this host: compared, checked by HAProxy, written, loaded."""

from __future__ import annotations

import os
import shutil
import stat
import time
from typing import Any, Mapping, NamedTuple

from .._base import process
from .._base.errors import HostError
from .._base.files import (
    DesiredFile,
    FileChange,
    compare,
    mark,
    read_text,
    remove_leftovers,
    stage,
    switch,
)
from .._base.systemctl import DIGEST, UnitState, unit_variables
from .._service.units import Module, Units, systemctl
from . import certificate
from .master import Master, NotRunning

UNIT = "vllm-gateway.service"
CONFIGURATION = "haproxy.cfg"
# Where HAProxy reads the files before they count: a name that the next run knows, gone with a restart.
CHECKED = "/run/inferops-ascend/gateway"
# In the gateway's directory, whose other files may be somebody else's.
_GENERATED = ("errors", "models")
_RELOAD = 30.0  # seconds until a new worker has to be there
_CHECK = 60.0  # seconds that HAProxy may take to read a configuration


class Wanted(NamedTuple):
    """A gateway as it should be: text by path.

    files, secrets: below `directory`. system: units and programs. digest: of what is below `directory`.
    names: host names and addresses of a certificate that is made where there is none.
    """

    directory: str
    files: Mapping[str, str]
    secrets: Mapping[str, str]
    system: Mapping[str, str]
    digest: str
    names: list[str]


class Host:
    """The gateway of this host. Methods raise HostError."""

    def __init__(self, module: Module, wanted: Wanted, master: Master) -> None:
        self._units = Units(module)
        self._module = module
        self._wanted = wanted
        self._master = master
        self._program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")

    def run(self, check: bool) -> dict[str, Any]:
        """Bring the gateway into the wanted state, or say what would change. Call it under the lock."""
        if not check:
            remove_leftovers(self._paths())
        system = [self._compare_system(*each) for each in self._wanted.system.items()]
        changes = [
            *(change for change in system if change),
            *self._changes_below(self._wanted.files, 0o644, False),
            *self._changes_below(self._wanted.secrets, 0o600, True),
            *self._leftovers(),
        ]
        made = certificate.missing(self._path(certificate.FILE), self._wanted.names)
        if not self._program and not check:
            raise HostError("there is no haproxy on this host. Install the package haproxy.")
        pem = certificate.make(self._wanted.names) if made and not check else None
        if changes or made:
            self._validate(pem)
        if not check:
            if pem is not None:
                secret = DesiredFile(UNIT, self._path(certificate.FILE), pem, 0o600, True)
                changes.append(FileChange(secret, None, None))
            self._write(changes)
        steps = self._steps(changes)
        if not check:
            self._act(steps)
        diffs = [change.diff() for change in changes]
        if made and check:
            diffs.append({"prepared": f"make {self._path(certificate.FILE)}, self-signed\n"})
        return {
            "changed": bool(changes or made or steps),
            "diff": diffs,
            "actions": steps,
            "certificate": certificate.public(read_text(self._path(certificate.FILE))),
        }

    # -- files --------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return os.path.join(self._wanted.directory, name)

    def _paths(self) -> list[str]:
        """All files that runs write here."""
        names = (*self._wanted.files, *self._wanted.secrets, certificate.FILE)
        return [*self._wanted.system, *map(self._path, names)]

    def _write(self, changes: list[FileChange]) -> None:
        """Make all changes once all are ready. Nothing stays beside the files where the disk takes one not."""
        try:
            for staged in [stage(change, self._units.label) for change in changes]:
                switch(staged)
        except HostError:
            remove_leftovers(self._paths())
            raise

    def _compare_system(self, path: str, text: str) -> FileChange | None:
        return compare(DesiredFile(UNIT, path, mark(UNIT) + text), False)

    def _changes_below(self, texts: Mapping[str, str], mode: int, secret: bool) -> list[FileChange]:
        found = []
        for name, text in texts.items():
            desired = DesiredFile(UNIT, self._path(name), text, mode, secret)
            before = read_text(desired.path)
            before_mode = None if before is None else stat.S_IMODE(os.stat(desired.path).st_mode)
            if (before, before_mode) != (text, mode):
                found.append(FileChange(desired, before, before_mode))
        return found

    def _leftovers(self) -> list[FileChange]:
        """Answers that no key has any more."""
        found = []
        for part in _GENERATED:
            directory = self._path(part)
            for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
                if f"{part}/{name}" not in self._wanted.files:
                    path = os.path.join(directory, name)
                    found.append(FileChange(DesiredFile(UNIT, path, None), read_text(path), 0o644))
        return found

    def _validate(self, pem: str | None) -> None:
        """Have HAProxy read all files before any of them is written where it counts."""
        if not self._program:
            self._module.warn("There is no haproxy here yet that could check the configuration.")
            return
        shutil.rmtree(CHECKED, ignore_errors=True)
        os.makedirs(CHECKED, mode=0o700)
        try:
            texts = {**self._wanted.files, **self._wanted.secrets}
            if self._wanted.names:
                # In check mode none is made; any other does for reading the configuration.
                kept = read_text(self._path(certificate.FILE))
                texts[certificate.FILE] = pem or kept or certificate.make(self._wanted.names)
            for name, text in texts.items():
                path = os.path.join(CHECKED, name)
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                with open(path, "w", encoding="utf-8") as handle:
                    handle.write(text)
            command = [self._program, "-c", "-q", "-C", CHECKED, "-f", CONFIGURATION]
            done = process.run(command, _CHECK)
            if done.status:
                text = (done.errors + done.text).strip()
                raise HostError(
                    f"HAProxy rejects the configuration, and nothing was changed:\n{text}"
                )
        finally:
            shutil.rmtree(CHECKED, ignore_errors=True)

    # -- the unit -----------------------------------------------------------------------------

    def _steps(self, changes: list[FileChange]) -> list[str]:
        """What systemctl has to do, in order."""
        state = self._units.states([UNIT]).get(UNIT)
        units = any(change.desired.path.endswith(".service") for change in changes)
        steps = []
        if units or (state is not None and state.needs_reload):
            steps.append("daemon-reload")
        if state is None or not state.enabled:
            steps.append("enable")
        if state is None or not state.running:
            steps.append("start")
        elif self._unit_digest() != state.digest:
            steps.append("restart")
        elif self._loaded(state) != self._wanted.digest:
            steps.append("reload")
        return steps

    def _unit_digest(self) -> str | None:
        text = next(t for p, t in self._wanted.system.items() if p.endswith(".service"))
        return unit_variables(text, [DIGEST]).get(DIGEST)

    def _loaded(self, state: UnitState) -> str | None:
        """The digest of the files that the current worker read; None where it does not tell."""
        if not state.running:
            return None
        try:
            workers = self._master.workers()
            if not workers or not workers[0].current:
                return None
            lines = self._master.ask("show info", workers[0]).splitlines()
        except NotRunning:
            return None
        found = [
            line.partition(":")[2].strip() for line in lines if line.startswith("description:")
        ]
        return found[0] if found else None

    def _act(self, steps: list[str]) -> None:
        for step in steps:
            if step == "daemon-reload":
                self._units.systemctl(step)
                continue
            done = systemctl(step, UNIT)
            if done.status:
                raise HostError(self._failure(step, done.errors.strip()))
            if step != "enable":
                self._await(step)

    def _await(self, step: str) -> None:
        """Until a worker runs that has read the files: a reload goes on after systemctl ended."""
        deadline = time.monotonic() + _RELOAD
        while True:
            state = self._units.states([UNIT])[UNIT]
            if self._loaded(state) == self._wanted.digest:
                return
            if time.monotonic() >= deadline:
                raise HostError(self._failure(step, "no worker with the new files came up."))
            time.sleep(0.1)

    def _failure(self, step: str, text: str) -> str:
        journal = "\n".join(self._units.journal(UNIT)[-15:])
        return f"systemctl {step} {UNIT}: {text} Its journal:\n{journal}"
