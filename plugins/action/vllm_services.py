# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the files of a host's services, and has the action systemd_instances converge them."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import payload
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.readiness import (
    Watch,
    step_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import (
    expected_services,
    module_arguments,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import services_to_render
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostVariables

ARGUMENTS = {
    "compare": {"type": "bool", "default": False},
    "probe": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        variables = HostVariables(self, task_vars)
        settings = variables.settings()
        try:
            services = services_to_render(
                settings,
                lambda: variables.catalogue(settings.tables),
                task_vars.get("ascend_host_deployment"),
            )
            arguments = {**module_arguments(services, settings.unit), **settings.converge}
            expected = expected_services(services, settings.unit) if given["compare"] else []
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}
        arguments["probe"] = given["probe"]
        if given["compare"]:
            # What waits for its restart differs from what is wanted.
            arguments["restart"] = "now"
        result.update(
            self._execute_module(
                module_name="inferops.ascend.systemd_instances",
                module_args=arguments,
                task_vars=task_vars,
            )
        )
        warned = payload.warnings(services)
        if warned:
            result["warnings"] = [*result.get("warnings", []), *warned]
        if given["compare"]:
            return {**result, "changed": False, "expected": expected}
        awaited = _awaited(services, result)
        hosts = task_vars.get("ansible_play_hosts_all") or [variables.host]
        watch = Watch(variables.host, awaited, step_of(len(awaited) * len(hosts)))
        seen = [] if result.get("failed") else result.get("status") or []
        for line in watch.all_ready(seen):
            self._display.display(line, stderr=True)
        result["awaited"] = awaited if watch.waiting else []
        for each in result.get("waiting") or []:
            self._display.display(
                f"{variables.host}: the next deploy without vllm_service_restart: deferred restarts"
                f" {each['name']}: {each['reason']}"
            )
        return result


def _awaited(services: list[dict[str, Any]], result: dict[str, Any]) -> list[str]:
    """Names of the services that should serve now.

    One that gets the cards of another that waits for its restart is not started yet.
    """
    waiting = {each["name"] for each in result.get("waiting") or []}
    running = {each["name"] for each in result.get("services") or [] if each["pid"]}
    return [
        service["name"]
        for service in services
        if service.get("state", "started") == "started"
        and (service["name"] not in waiting or service["name"] in running)
    ]
