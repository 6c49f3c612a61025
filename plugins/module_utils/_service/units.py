# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The units of a host: what systemd reports, their processes, and a service in one word."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any, Mapping, NoReturn, Protocol

from .._base import process
from .._base.errors import HostError
from .._base.systemctl import (
    DIGEST,
    PROPERTIES,
    SECRET_DIGEST,
    UnitState,
    number,
    process_environ,
    unit_states,
)
from .journal import clean, cut

# What a service is, as one word.
READY, STARTING, UNHEALTHY = "ready", "starting", "unhealthy"
RESTARTING, STOPPING, STOPPED = "restarting", "stopping", "stopped"
FAILED, ABSENT, UNKNOWN = "failed", "absent", "unknown"


_READING = 120.0  # seconds; a stop takes as long as the unit allows, what only reads has to answer


def systemctl(*arguments: str) -> process.Output:
    """Run systemctl. Raises HostError where it cannot be run or, asked to show, does not answer."""
    timeout = _READING if arguments[0] == "show" else math.inf
    return process.run(["systemctl", *arguments], timeout, _environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}


class Module(Protocol):
    """What is used of AnsibleModule."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool

    def fail_json(self, msg: str, **result: Any) -> NoReturn: ...
    def warn(self, warning: str) -> None: ...
    def selinux_enabled(self) -> bool: ...
    def selinux_default_context(self, path: str) -> list[str]: ...
    def set_context_if_different(self, path: str, context: list[str], changed: bool) -> bool: ...


class Units:
    """The host's commands, as few calls as can be: each takes any number of units."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def systemctl(self, *arguments: str) -> str:
        """What systemctl prints. Raises HostError where it fails."""
        done = systemctl(*arguments)
        if done.status != 0:
            raise HostError(
                f"systemctl {' '.join(arguments)} failed with status {done.status}:"
                f" {(done.errors or done.text).strip()}"
            )
        return done.text

    def states(self, units: list[str], pattern: str = "") -> dict[str, UnitState]:
        """Return what systemd reports of the units, with the environment of their processes.

        Loaded units that match the pattern are added by their own names.
        """
        asked = units + ([pattern] if pattern else [])
        if not asked:
            return {}
        try:
            text = self.systemctl("show", "--property=" + ",".join(PROPERTIES), "--", *asked)
        except HostError as error:
            raise HostError(
                f"systemd does not answer on this host, so no service can be managed: {error}"
            ) from None
        states: dict[str, UnitState] = {}
        for place, state in enumerate(unit_states(text)):
            unit = units[place] if place < len(units) else state.name
            if unit in states:
                continue
            environ = self.environ(state.pid) if state.running else {}
            states[unit] = state._replace(
                digest=environ.get(DIGEST, ""),
                secret_digest=environ.get(SECRET_DIGEST, ""),
                environ=environ,
            )
        return states

    @staticmethod
    def environ(pid: int) -> dict[str, str]:
        """Return the environment of a process, empty where it is gone.

        A process shows none while it turns into another program, as every service does when its
        shell becomes the server: a short wait tells that from one without our digest.
        """
        for _attempt in range(10):
            found = process_environ(pid)
            if found is None or found:
                return found or {}
            time.sleep(0.05)
        return {}

    def journal(self, unit: str) -> list[str]:
        """The last ten lines of a unit's journal."""
        options = ["--lines", "10", "--output", "cat", "--no-pager", "--quiet"]
        command = ["journalctl", "--unit", unit, *options]
        try:
            out = process.run(command, _READING, _environment()).text
        except HostError as error:
            out = str(error)  # what it is read for is reported all the same
        return [cut(clean(line)) for line in out.split("\n") if clean(line)]

    def label(self, temporary: str, final: str) -> None:
        if self.module.selinux_enabled():
            context = self.module.selinux_default_context(final)
            self.module.set_context_if_different(temporary, context, False)


def describe(name: str, state: UnitState, journal: list[str]) -> str:
    """Return the message about a unit that did not come up, with the end of its journal."""
    lines = [
        "{} is {} ({}; result {}, exit status {}). The end of its journal:".format(
            name, state.active, state.sub, state.result or "?", state.exit_status or "?"
        )
    ]
    lines += ["    " + line for line in journal] or ["    (empty)"]
    lines.append(f"  More: journalctl -u {name}")
    return "\n".join(lines)


def elapsed(values: Mapping[str, str], now: float) -> float | None:
    """Seconds that this start has run, or the last one ran; None where there was none.

    now: seconds of CLOCK_MONOTONIC, the clock of systemd's ...TimestampMonotonic.
    """
    begun = number(values.get("ExecMainStartTimestampMonotonic")) / 1e6
    ended = number(values.get("ExecMainExitTimestampMonotonic")) / 1e6
    if not begun:
        return None
    end = ended if ended and not number(values.get("MainPID")) else now
    return round(max(0.0, end - begun), 1)


def as_unit(values: Mapping[str, str], now: float, wall: float) -> dict[str, Any]:
    """The unit as the module returns it. now: CLOCK_MONOTONIC; wall: seconds since 1970."""
    begun = number(values.get("ExecMainStartTimestampMonotonic")) / 1e6
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall - (now - begun)))
    return {
        "load_state": values.get("LoadState"),
        "active_state": values.get("ActiveState"),
        "sub_state": values.get("SubState"),
        "result": values.get("Result"),
        "exec_main_status": number(values.get("ExecMainStatus")),
        "n_restarts": number(values.get("NRestarts")),
        "unit_file_state": values.get("UnitFileState"),
        "main_pid": number(values.get("MainPID")),
        "since": since if begun else None,
    }


def environ_of(root: Path, pid: int, group: str) -> dict[str, str]:
    """The environment a service runs with.

    Its main process tells it, unless it has just been started, or has written its title over its
    environment; then another process of its control group (`group`) has inherited the same.
    """
    found = process_environ(pid, root) or {}
    if DIGEST in found or not group:
        return found
    for directory in ("sys/fs/cgroup", "sys/fs/cgroup/systemd", "sys/fs/cgroup/unified"):
        try:
            text = (root / directory / group.lstrip("/") / "cgroup.procs").read_text()
        except OSError:
            continue
        for other in text.split()[:64]:
            inherited = process_environ(int(other), root) if other.isdigit() else None
            if inherited and DIGEST in inherited:
                return inherited
    return found


def state_of(
    values: Mapping[str, str], health: int | None, served: bool, written: bool = True
) -> str:
    """A service in one word.

    served: whether the journal shows that this start has been serving. written: whether its
    configuration is there, without which an instance of a template is nothing.
    """
    active = values.get("ActiveState")
    if active == "active":
        if health == 200:
            return READY
        return UNHEALTHY if served or health is not None else STARTING
    if active in ("activating", "reloading"):
        # Without a main process it is also while something is done before the server is run.
        waits = values.get("SubState", "").startswith("auto-restart")
        return RESTARTING if waits else STARTING
    if active == "deactivating":
        return STOPPING
    if active == "failed":
        return FAILED
    if active == "inactive":
        if not written or values.get("LoadState") == "not-found":
            return ABSENT
        # While the host boots it is its turn later.
        return STARTING if number(values.get("Job")) else STOPPED
    return UNKNOWN
