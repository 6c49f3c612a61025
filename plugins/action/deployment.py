# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Computes the deployment of a host before contact, reads the host, and checks the one by the other."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import (
    Deployment,
    host_options,
    preload,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostVariables
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

# Ansible imports the plugin once, before it starts a process for each host and task.
preload()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec={"stop_on_error": {"type": "bool"}})[1]
        variables = HostVariables(self, task_vars)
        settings = variables.settings()
        try:
            settings.check()
            deployment = Deployment(settings, variables.catalogue(settings.tables))
            deployment.check_declared()
            tuning = settings.tuning
            facts = self._execute_module(
                module_name="inferops.ascend.host_info",
                module_args=host_options(settings, deployment),
                task_vars=task_vars,
            )
            if facts.get("failed") or facts.get("unreachable"):
                return {**result, **facts}
            found = deployment.check(facts)
            stops = given["stop_on_error"]
            stops = settings.stop_on_error if stops is None else stops
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}
        report = found.as_dict(variables.host, stops=stops)
        text = report["report"]
        if report["errors"] and stops:
            return {**result, "failed": True, "msg": text}
        if report["findings"]:
            for line in text.splitlines():
                self._display.display(line)
        for key in ("invocation", "changed"):
            facts.pop(key, None)
        return {
            **result,
            "changed": False,
            **deployment.as_dict(),
            "preflight": report,
            "account": _account(settings, facts["user"]),
            "weights_dir": settings.weights_dir,
            "prepare": settings.prepare,
            "tuning": tuning if tuning != "absent" or facts["tuned"] else "none",
            "host": facts,
        }


def _account(settings: Settings, user: dict[str, Any]) -> dict[str, Any]:
    joined = set(settings.groups) <= set(user["groups"])
    return {
        "user": settings.user,
        "groups": list(settings.groups),
        "ready": user["exists"] and joined,
    }
