# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Has systemd_instances remove named services, and reports what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils import groups
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.runs import unclaimed
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway import leaving
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import removal, unit
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostAction,
    run_action,
)


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = {
        "services": {"type": "raw"},
        "after": {"type": "dict"},
        "foresee": {"type": "bool", "default": False},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        names = removal.names_to_remove(given["services"])
        before: Mapping[str, Any] | None = given["after"]
        if before is None:
            found = self._converge(names, check=True, foresee=given["foresee"])
            if found.get("failed") or not found["changed"]:
                return self._reported(names, found)
            self._check_hosts(names, found["groups"])
            if self._task.check_mode:
                return self._reported(names, found)
            return self._reported(names, self._converge(names, leave_members=True))
        result: dict[str, Any] = {"changed": False}
        if before["left"]:
            result = self._converge(names)
            if result.get("failed"):
                return result
        return self._reported(names, {**before, "changed": result["changed"]}, done=True)

    def _converge(
        self,
        names: list[str] | None,
        *,
        check: bool = False,
        leave_members: bool = False,
        foresee: bool = False,
    ) -> dict[str, Any]:
        arguments = {
            **unit.FILES,
            "files": [],
            "instances": [{"name": name, "state": "absent"} for name in names or ()],
            "remove_unlisted": names is None,
            "leave_members": leave_members,
            "lock_timeout": self.settings.lock_timeout,
        }
        return unclaimed(
            lambda run: run_action(
                self,
                "inferops.ascend.systemd_instances",
                {**arguments, "run": run},
                self.task_vars,
                check_mode=check,
            ),
            self.task_vars.get("vllm_upgrade_take_over"),
            foresee=foresee,
        )

    def _check_hosts(self, names: list[str] | None, found: Mapping[str, Any]) -> None:
        """Raises AscendError for a service some of whose hosts the run leaves out."""
        every = self.task_vars.get("ansible_play_hosts_all") or [self.variables.host]
        known = self.task_vars.get("hostvars") or {}
        for name, group in found.items():
            if names is None or name in names:
                groups.check_hosts(name, [host for host in group["hosts"] if host in known], every)

    def _reported(
        self, names: list[str] | None, result: dict[str, Any], *, done: bool = False
    ) -> dict[str, Any]:
        """The result with its report. done: the leaders have stopped, and the members too."""
        if result.get("failed"):
            return result
        check = bool(self._task.check_mode)
        lines = removal.report(self.variables.host, names, result, self._listed(), check=check)
        here = set(self.task_vars.get("ansible_play_hosts") or ())
        for name, group in result["groups"].items() if done else ():
            lost = [host for host in group["hosts"] if host not in here]
            if lost and (names is None or name in names):
                lines += removal.detail(groups.left_behind(name, lost))
        return {
            **result,
            "report": lines,
            "stopping": leaving.stopping(result, self.variables.host),
        }

    def _listed(self) -> list[str]:
        """Names that the host's variables list, as far as they can be read: what runs is removed anyway."""
        settings = self.settings
        try:
            catalogue = self.variables.catalogue(settings.tables)
            return removal.listed_names(settings.requests, catalogue)
        except AscendError:
            return []
