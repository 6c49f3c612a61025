# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares the hosts of each service over several of them, and tries whether they reach each other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils import group_check, groups
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostAction

# What the steps before are registered as (role ascend_host).
READ, REACHED = "ascend_host_group_read", "ascend_host_group_reached"


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = {
        "step": {"type": "str", "choices": ["read", "reach", "report"], "required": True}
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        here = self.variables.host
        self._hosts = self.task_vars.get("hostvars") or {}
        own = self.task_vars.get("ascend_host_deployment") or {"services": []}
        self._left = groups.check_run(own["services"], own, here, self.task_vars)
        self._check = group_check.GroupCheck(
            here,
            self.settings,
            lambda host: self._of(host, "ascend_host_deployment"),
        )
        return {"read": self._read, "reach": self._reach, "report": self._report}[given["step"]]()

    def _of(self, host: str, name: str) -> Mapping[str, Any] | None:
        """What an earlier task registered for a host that has not failed."""
        if host == self.variables.host:
            found = self.task_vars.get(name)
        else:
            found = self._hosts[host].get(name) if host in self._left else None
        return found if isinstance(found, Mapping) and not found.get("failed") else None

    def _ask(self, arguments: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = execute(
            self,
            "inferops.ascend.group_info",
            arguments,
            self.task_vars,
        )
        return result

    def _read(self) -> dict[str, Any]:
        if not self._check.groups:
            return {"changed": False}  # of each service another host has failed
        forks = int(self.task_vars.get("ansible_forks") or 1)
        sent = time.time()
        found = self._ask(self._check.to_read(batches=-(-len(self._left) // forks)))
        received = time.time()
        if found.get("failed") or found.get("unreachable"):
            return found
        return {"changed": False, **self._check.reading(found, sent, received)}

    def _reach(self) -> dict[str, Any]:
        asked = self._check.to_reach(lambda host: self._of(host, READ))
        if not asked.arguments["connect"] and not asked.arguments["pings"]:
            return {"changed": False, "connections": [], "pings": []}
        found = self._ask(asked.arguments)
        if found.get("failed") or found.get("unreachable"):
            return found
        return {"changed": False, **asked.results(found)}

    def _report(self) -> dict[str, Any]:
        def read(host: str) -> Mapping[str, Any] | None:
            return self._of(host, READ)

        def reached(host: str) -> Mapping[str, Any] | None:
            return self._of(host, REACHED)

        if self._check.is_still_listening(read, reached):
            ended = self._ask({"stop": True})
            if ended.get("failed") or ended.get("unreachable"):
                return ended
        reports = self._check.reports(read, reached)
        for report in reports.values():
            if report["findings"]:
                for line in report["report"].splitlines():
                    self._display.display(line)
        return {
            "changed": False,
            "services": reports,
            "held": group_check.held(reports) if self.settings.stop_on_error else {},
        }
