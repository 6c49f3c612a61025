# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd reports about units, and what their files and processes set."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Iterable, Mapping, NamedTuple

from .reading import OutOfBounds, read_bytes
from .text import printable

# Variables of the running process. They let a run complete one that was interrupted between writing
# and restarting: equal files prove nothing about the process.
DIGEST = "INFEROPS_DIGEST"
SECRET_DIGEST = "INFEROPS_SECRET_DIGEST"

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "Job",
    "InvocationID",
    "ControlGroup",
    "FragmentPath",
    "DropInPaths",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "StatusText",
    "StartLimitBurst",
    "StartLimitIntervalUSec",
)

# In a drop-in that somebody else wrote. The last can set an environment without naming variables.
_SETS = r"^\s*Environment\s*=.*\b{}="
_UNSETS = r"^\s*UnsetEnvironment\s*=.*\b{}\b"
_INDIRECT = re.compile(r"^\s*(EnvironmentFile|ExecStart)\s*=", re.MULTILINE)


class UnitState(NamedTuple):
    """One unit as `systemctl show` prints it, with the digests its main process runs with.

    `fragment` is the path of the unit file that it comes from, `drop_ins` those of all that systemd
    reads besides. `started` is when its main process started, in seconds of the monotonic clock.
    `environ` is the environment of that process.
    """

    name: str
    active: str
    sub: str
    enabled: bool
    masked: bool
    pid: int
    restarts: int
    needs_reload: bool
    result: str
    exit_status: str
    fragment: str = ""
    digest: str = ""
    secret_digest: str = ""
    drop_ins: tuple[str, ...] = ()
    started: float = 0.0
    environ: Mapping[str, str] = {}

    @property
    def running(self) -> bool:
        """Tell whether there is a main process."""
        return self.pid > 0

    @property
    def up(self) -> bool:
        """Tell whether systemd is running it or about to, as after a crash."""
        return self.active in ("active", "activating", "reloading", "deactivating")


def parse_show(text: str) -> list[dict[str, str]]:
    """Parse `systemctl show --property=... UNIT...`: the properties of each unit, in their order."""
    # A unit's own status is among them.
    blocks = [block for block in printable(text).split("\n\n") if block.strip()]
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks
    ]


def number(text: str | None) -> int:
    """The integer of a property, 0 where there is none."""
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,20}", text) else 0


def unit_states(text: str) -> list[UnitState]:
    """Parse the same with PROPERTIES into the state of each unit."""
    states = []
    for values in parse_show(text):
        if "Id" not in values:
            continue
        state = UnitState(
            name=values["Id"],
            active=values.get("ActiveState", "inactive"),
            sub=values.get("SubState", "dead"),
            enabled=values.get("UnitFileState") == "enabled",
            masked=values.get("LoadState") == "masked"
            or values.get("UnitFileState", "") in ("masked", "masked-runtime"),
            pid=number(values.get("MainPID")),
            restarts=number(values.get("NRestarts")),
            needs_reload=values.get("NeedDaemonReload") == "yes",
            result=values.get("Result", ""),
            exit_status=values.get("ExecMainStatus", ""),
            fragment=values.get("FragmentPath", ""),
            drop_ins=_paths(values.get("DropInPaths", "")),
            started=number(values.get("ExecMainStartTimestampMonotonic")) / 1e6,
        )
        states.append(state)
    return states


def _paths(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


def unit_variables(text: str, names: Iterable[str]) -> dict[str, str]:
    """Return those of the variables that a unit's text sets, each on a separate line unquoted."""
    found = {}
    for name in names:
        line = re.search(rf"^Environment={re.escape(name)}=([^\s\"']*)$", text, re.MULTILINE)
        if line:
            found[name] = line.group(1)
    return found


def overrides(text: str, names: Iterable[str], later: bool, strays: bool) -> str:
    """Return how a drop-in takes variables from a process, or "" where it does not.

    `later`: systemd reads it after the one that sets them. `strays`: the process has other values,
    so a drop-in that can set them without naming them is a cause as well.
    """
    for name in names:
        if later and re.search(_SETS.format(name), text, re.MULTILINE):
            return "sets " + name
        if re.search(_UNSETS.format(name), text, re.MULTILINE):
            return "unsets " + name
    found = _INDIRECT.search(text) if strays else None
    return f"has {found.group(1)}=" if found else ""


def parse_environ(data: bytes) -> dict[str, str]:
    """Parse `/proc/PID/environ`."""
    entries = (entry.split(b"=", 1) for entry in data.split(b"\0") if b"=" in entry)
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in entries
    }


def process_environ(pid: int, root: Path = Path("/")) -> dict[str, str] | None:
    """The environment of a process; None where it is gone or may not be read."""
    try:
        return parse_environ(read_bytes(root / "proc" / str(pid) / "environ"))
    except (OSError, OutOfBounds):
        return None
