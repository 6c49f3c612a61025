# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd says of units, and what has to be done to them."""

from __future__ import annotations

import re
import shlex
from typing import Iterable, Mapping, NamedTuple

# The running process carries these, so that a run which died between writing and restarting is
# mended by the next: equal files prove nothing about the process.
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
    "ExecMainStatus",
    "FragmentPath",
    "DropInPaths",
    "ExecMainStartTimestampMonotonic",
)

# In a drop-in of somebody else's. The last can bring in another environment without a name.
_SETS = r"^\s*Environment\s*=.*\b{}="
_UNSETS = r"^\s*UnsetEnvironment\s*=.*\b{}\b"
_INDIRECT = re.compile(r"^\s*(EnvironmentFile|ExecStart)\s*=", re.MULTILINE)


class UnitState(NamedTuple):
    """One unit as `systemctl show` prints it, with the digests its main process runs with.

    `fragment` is the path of the unit file that it comes from, `drop_ins` those of all that systemd
    reads besides. `started` is when its main process did, in seconds of the monotonic clock.
    `environ` is that process' environment.
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


class InstanceWish(NamedTuple):
    """One instance as it should be. `state` is started, stopped or absent.

    `environment` has the variables that its process must have beside the digests.
    """

    name: str
    state: str
    digest: str = ""
    secret_digest: str = ""
    environment: Mapping[str, str] = {}


class Decision(NamedTuple):
    """What is done to one unit, and why. `action` is start, restart, stop, wait or none.

    A unit that waits needs a restart, or cards that such a one still has, and gets it in a later run.
    """

    action: str
    reason: str
    enable: bool | None = None


def parse_show(text: str) -> list[dict[str, str]]:
    """Parse `systemctl show --property=... UNIT...`: the properties of each unit, in their order."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks
    ]


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
            pid=int(values.get("MainPID") or 0),
            restarts=int(values.get("NRestarts") or 0),
            needs_reload=values.get("NeedDaemonReload") == "yes",
            result=values.get("Result", ""),
            exit_status=values.get("ExecMainStatus", ""),
            fragment=values.get("FragmentPath", ""),
            drop_ins=_paths(values.get("DropInPaths", "")),
            started=int(values.get("ExecMainStartTimestampMonotonic") or 0) / 1e6,
        )
        states.append(state)
    return states


def _paths(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


def unit_variables(text: str, names: Iterable[str]) -> dict[str, str]:
    """Return those of the variables that a unit's text sets, each on a line of its own unquoted."""
    found = {}
    for name in names:
        line = re.search(rf"^Environment={re.escape(name)}=([^\s\"']*)$", text, re.MULTILINE)
        if line:
            found[name] = line.group(1)
    return found


def overrides(text: str, names: Iterable[str], later: bool, strays: bool) -> str:
    """Return how a drop-in takes variables from a process, or "" where it does not.

    `later`: systemd reads it after the one that sets them. `strays`: the process has other values,
    so a drop-in that can bring such in without naming them is to blame as well.
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


def decide(
    wish: InstanceWish, state: UnitState, files_changed: bool, read_edited: bool = False
) -> Decision:
    """Return what has to be done to one unit.

    A running service is restarted if and only if its process does not run with what is wanted: the
    digests in its environment tell, and where somebody went around them, `wish.environment`, or
    `read_edited`, that it was started from files with edits by hand. A service that systemd is
    restarting after a crash has no process to ask: it is left to systemd unless its files have
    changed.
    """
    if wish.state != "started":
        reason = "it is no longer wanted" if wish.state == "absent" else "it is to be stopped"
        enable = False if state.enabled else None
        return Decision("stop" if state.up else "none", reason, enable)
    enable = None if state.enabled else True
    if state.running and state.active != "deactivating":
        if state.digest != wish.digest:
            return Decision("restart", "its process runs with other settings", enable)
        if state.secret_digest != wish.secret_digest:
            return Decision("restart", "its process runs with another secret", enable)
        for name, value in wish.environment.items():
            has = state.environ.get(name)
            if has != value:
                has = "no " + name if has is None else f"{name}={has}"
                return Decision("restart", f"its process has {has}, not {value}", enable)
        if read_edited:
            return Decision("restart", "its process was started from files edited by hand", enable)
        return Decision("none", "it runs as wanted", enable)
    if state.active == "activating" and not (files_changed or state.needs_reload):
        return Decision("none", "systemd is restarting it after a failure", enable)
    if state.up:
        return Decision("restart", "it was between two starts and its settings changed", enable)
    if state.active == "failed":
        return Decision("start", "it had failed ({})".format(state.result or "?"), enable)
    return Decision("start", "it was not running", enable)


def defer(
    decisions: Mapping[str, Decision],
    holds: Mapping[str, Iterable[int]],
    takes: Mapping[str, Iterable[int]],
) -> dict[str, Decision]:
    """Return the decisions with every restart put off, and every start that such a one is in the way of.

    `holds`: cards that the processes of running units have. `takes`: cards that units are to have.
    Stops stay: what is to be down is not to wait.
    """
    result = dict(decisions)
    taken: dict[int, str] = {}
    for name, decision in decisions.items():
        if decision.action == "restart":
            result[name] = decision._replace(action="wait")
            taken.update(dict.fromkeys(holds.get(name, ()), name))
    for name, decision in decisions.items():
        others = sorted({taken[card] for card in takes.get(name, ()) if card in taken} - {name})
        if decision.action == "start" and others:
            reason = f"its cards are free when {', '.join(others)} is restarted"
            result[name] = decision._replace(action="wait", reason=reason)
    return result


def describe(name: str, state: UnitState, journal: list[str]) -> str:
    """Return what to tell of a unit that did not come up, with the end of its journal."""
    lines = [
        "{} is {} ({}; result {}, exit status {}). The end of its journal:".format(
            name, state.active, state.sub, state.result or "?", state.exit_status or "?"
        )
    ]
    lines += ["    " + line for line in journal] or ["    (empty)"]
    lines.append(f"  More: journalctl -u {name}")
    return "\n".join(lines)
