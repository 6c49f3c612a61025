# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sums up what the action verify found on each host of the play."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift_report


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
            }
        )[1]
        reports = []
        for host in map(str, task_vars["ansible_play_hosts_all"]):
            found = task_vars["hostvars"][host].get(given["registered"]) or {}
            reports.append(found.get("report") or drift_report.missing(host))
        data = {**drift_report.summary(reports), "results": reports}
        if given["output"] and not self._task.check_mode:
            text = json.dumps(data, indent=4, sort_keys=True)
            try:
                Path(given["output"]).write_text(f"{text}\n", encoding="utf-8")
            except OSError as error:
                return {**result, "failed": True, "msg": f"{error}. Name another file."}
        found = {"lines": drift_report.lines(reports), "failures": drift_report.failures(reports)}
        return {**result, "changed": False, "data": data, **found}
