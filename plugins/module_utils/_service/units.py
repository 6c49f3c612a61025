# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The units of a host: what systemd reports, their processes and their journals."""

from __future__ import annotations

import time
from typing import Any, NoReturn, Protocol

from .._base.errors import HostError
from .._base.systemctl import (
    DIGEST,
    PROPERTIES,
    SECRET_DIGEST,
    UnitState,
    process_environ,
    unit_states,
)


class Module(Protocol):
    """What is used of AnsibleModule."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool

    def run_command(self, args: list[str]) -> tuple[int, str, str]: ...
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
        code, out, err = self.module.run_command(["systemctl", *arguments])
        if code != 0:
            raise HostError(
                f"systemctl {' '.join(arguments)} failed with status {code}: {(err or out).strip()}"
            )
        return out

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
        for number, state in enumerate(unit_states(text)):
            unit = units[number] if number < len(units) else state.name
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
        _code, out, _err = self.module.run_command(["journalctl", "--unit", unit, *options])
        return out.splitlines()

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
