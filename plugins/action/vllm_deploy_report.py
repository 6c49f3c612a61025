# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes what a run of the playbook deploy did on each of its hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import write_json
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import deploy_report
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import CheckedAction


class ActionModule(CheckedAction):
    _requires_connection = False
    ARGUMENTS: ClassVar = {
        "path": {"type": "path", "required": True},
        "begin": {"type": "bool", "default": False},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        every = [str(host) for host in self.task_vars["ansible_play_hosts_all"]]
        going = [str(host) for host in self.task_vars["ansible_play_hosts"]]
        known = self.task_vars["hostvars"]
        check = bool(self._task.check_mode)
        hosts = {host: self._registered(known[host]) for host in every}
        if given["begin"]:
            report = deploy_report.begun(hosts, check=check)
        else:
            report = deploy_report.ended(hosts, going, check=check)
        write_json(given["path"], report)
        return {"changed": False, "data": report}

    @staticmethod
    def _registered(variables: Any) -> dict[str, Any]:
        """What the tasks of a host registered, as far as the report is made of it."""
        found = {}
        for name in deploy_report.REGISTERED:
            value = variables.get(name)
            if isinstance(value, Mapping):
                value = {key: value[key] for key in deploy_report.KEYS if key in value}
            if value is not None:
                found[name] = plain(value, name)
        return found
