# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Computes the deployment of a host before contact, reads the host, and checks the one by the other."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import (
    declared,
    preload,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_options import host_options
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostAction
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

# Ansible imports the plugin once, before it starts a process for each host and task.
preload()


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = {
        "stop_on_error": {"type": "bool"},
        "require_services": {"type": "bool", "default": False},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        settings = self.settings
        if given["require_services"]:
            settings.require_services()
        deployment = declared(
            settings, lambda: self.variables.catalogue(settings.tables), self.variables.host
        )
        tuning = settings.tuning
        facts: dict[str, Any] = execute(
            self,
            "inferops.ascend.host_info",
            host_options(settings, deployment),
            self.task_vars,
        )
        if facts.get("failed") or facts.get("unreachable"):
            return facts
        found = deployment.check(facts)
        stops = given["stop_on_error"]
        stops = settings.stop_on_error if stops is None else stops
        report = found.as_dict(self.variables.host, stops=stops)
        text = report["report"]
        if report["errors"] and stops:
            return {"failed": True, "msg": text}
        if report["findings"]:
            for line in text.splitlines():
                self._display.display(line)
        for key in ("invocation", "changed", "paths"):
            facts.pop(key, None)
        return {
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
        "ready": not settings.user or (user["exists"] and joined),
    }
