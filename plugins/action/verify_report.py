# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sums up what the action verify found on each host of the play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import write_json
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift_report
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.findings import UNREACHABLE
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import CheckedAction


class ActionModule(CheckedAction):
    _requires_connection = False
    ARGUMENTS: ClassVar = {
        "registered": {"type": "str", "required": True},
        "output": {"type": "path"},
        "failures": {"type": "dict", "default": {}},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["failures"]:
            return self._outcome(given)
        reports = []
        for host in map(str, self.task_vars["ansible_play_hosts_all"]):
            found = self.task_vars["hostvars"][host].get(given["registered"]) or {}
            reports.append(found.get("report") or drift_report.missing(host))
        data = drift_report.as_data(reports)
        if given["output"]:
            write_json(given["output"], data)
        found = {"lines": drift_report.lines(reports), "failures": drift_report.failures(reports)}
        return {"changed": False, "data": data, **found}

    def _outcome(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The end of the run for this host: unreachable where it was so, else failed."""
        message = given["failures"].get(self.task_vars["inventory_hostname"])
        if message is None:
            return {"changed": False}
        report = (self.task_vars.get(given["registered"]) or {}).get("report") or {}
        lost = report.get("state") == UNREACHABLE
        return {"unreachable" if lost else "failed": True, "msg": message}
