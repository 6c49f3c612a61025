# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sums up what the action verify found on each host of the play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import write_json
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift_report
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.findings import UNREACHABLE


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(
            argument_spec={
                "registered": {"type": "str", "required": True},
                "output": {"type": "path"},
                "failures": {"type": "dict", "default": {}},
            }
        )[1]
        if given["failures"]:
            return {**result, **self._outcome(given, task_vars)}
        reports = []
        for host in map(str, task_vars["ansible_play_hosts_all"]):
            found = task_vars["hostvars"][host].get(given["registered"]) or {}
            reports.append(found.get("report") or drift_report.missing(host))
        data = drift_report.as_data(reports)
        if given["output"]:
            try:
                write_json(given["output"], data)
            except AscendError as error:
                return {**result, "failed": True, "msg": str(error)}
        found = {"lines": drift_report.lines(reports), "failures": drift_report.failures(reports)}
        return {**result, "changed": False, "data": data, **found}

    @staticmethod
    def _outcome(given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """The end of the run for this host: unreachable where it was so, else failed."""
        message = given["failures"].get(task_vars["inventory_hostname"])
        if message is None:
            return {"changed": False}
        report = (task_vars.get(given["registered"]) or {}).get("report") or {}
        lost = report.get("state") == UNREACHABLE
        return {"unreachable" if lost else "failed": True, "msg": message}
