# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of a unit: its properties, its process, and the service in one word."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Mapping

from .._base import systemctl

# What a service is, as one word.
READY, STARTING, UNHEALTHY = "ready", "starting", "unhealthy"
RESTARTING, STOPPING, STOPPED = "restarting", "stopping", "stopped"
FAILED, ABSENT, UNKNOWN = "failed", "absent", "unknown"


def number(text: str | None) -> int:
    """The integer of a property, 0 where there is none."""
    return int(text) if text and text.lstrip("-").isdigit() else 0


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
    found = systemctl.process_environ(pid, root) or {}
    if systemctl.DIGEST in found or not group:
        return found
    for directory in ("sys/fs/cgroup", "sys/fs/cgroup/systemd", "sys/fs/cgroup/unified"):
        try:
            text = (root / directory / group.lstrip("/") / "cgroup.procs").read_text()
        except OSError:
            continue
        for other in text.split()[:64]:
            inherited = systemctl.process_environ(int(other), root) if other.isdigit() else None
            if inherited and systemctl.DIGEST in inherited:
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
