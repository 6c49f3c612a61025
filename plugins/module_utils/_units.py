# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd says of units, and what has to be done to them."""

from __future__ import annotations

from typing import NamedTuple

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
)


class UnitState(NamedTuple):
    """One unit as `systemctl show` prints it, with the digests its main process runs with.

    `fragment` is the path of the unit file that it comes from.
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

    @property
    def running(self) -> bool:
        """Tell whether there is a main process."""
        return self.pid > 0

    @property
    def up(self) -> bool:
        """Tell whether systemd is running it or about to, as after a crash."""
        return self.active in ("active", "activating", "reloading", "deactivating")


class InstanceWish(NamedTuple):
    """One instance as it should be. `state` is started, stopped or absent."""

    name: str
    state: str
    digest: str = ""
    secret_digest: str = ""


class Decision(NamedTuple):
    """What is done to one unit, and why. `action` is start, restart, stop or none."""

    action: str
    reason: str
    enable: bool | None = None


def parse_show(text: str) -> list[UnitState]:
    """Parse `systemctl show --property=... UNIT...`: one state for each unit, in their order."""
    states = []
    for block in text.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
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
        )
        states.append(state)
    return states


def parse_environ(data: bytes) -> dict[str, str]:
    """Parse `/proc/PID/environ`."""
    entries = (entry.split(b"=", 1) for entry in data.split(b"\0") if b"=" in entry)
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in entries
    }


def decide(wish: InstanceWish, state: UnitState, files_changed: bool) -> Decision:
    """Return what has to be done to one unit.

    A running service is restarted if and only if the digest in the environment of its process is
    not the wanted one. A service that systemd is restarting after a crash has no process to ask:
    it is left to systemd unless its files have changed.
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
        return Decision("none", "it runs as wanted", enable)
    if state.active == "activating" and not (files_changed or state.needs_reload):
        return Decision("none", "systemd is restarting it after a failure", enable)
    if state.up:
        return Decision("restart", "it was between two starts and its settings changed", enable)
    if state.active == "failed":
        return Decision("start", "it had failed ({})".format(state.result or "?"), enable)
    return Decision("start", "it was not running", enable)


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
