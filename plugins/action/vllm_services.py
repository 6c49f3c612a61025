# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the files of a host's services, and has the action systemd_instances converge them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils import groups
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
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostAction


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = {
        "compare": {"type": "bool", "default": False},
        "probe": {"type": "bool", "default": False},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        settings = self.settings
        services = services_to_render(
            settings,
            lambda: self.variables.catalogue(settings.tables),
            self.task_vars.get("ascend_host_deployment"),
        )
        services, held = self._grouped(services, compare=given["compare"])
        arguments = {**module_arguments(services, settings.unit), **settings.converge}
        arguments["keep"] = sorted(held)
        expected = expected_services(services, settings.unit) if given["compare"] else []
        arguments["probe"] = given["probe"]
        if given["compare"]:
            arguments["completion"] = True
            # What waits for its restart differs from what is wanted.
            arguments["restart"] = "now"
        result: dict[str, Any] = self._execute_module(
            module_name="inferops.ascend.systemd_instances",
            module_args=arguments,
            task_vars=self.task_vars,
        )
        warned = payload.warnings(services)
        warned += [f"{name}: it was left as it is on this host: {held[name]}" for name in held]
        if warned:
            result["warnings"] = [*result.get("warnings", []), *warned]
        if given["compare"]:
            return {**result, "changed": False, "expected": expected}
        hosts = self.task_vars.get("ansible_play_hosts_all") or [self.variables.host]
        awaited = _awaited(services, result, hosts)
        watch = Watch(self.variables.host, awaited, step_of(len(awaited) * len(hosts)))
        seen = [] if result.get("failed") else result.get("status") or []
        for line in watch.all_ready(seen):
            self._display.display(line, stderr=True)
        result["awaited"] = awaited if watch.waiting else []
        for each in result.get("waiting") or []:
            self._display.display(
                f"{self.variables.host}: the next deploy without vllm_service_restart: deferred restarts"
                f" {each['name']}: {each['reason']}"
            )
        return result

    def _grouped(
        self, services: list[dict[str, Any]], *, compare: bool
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """(services, {name: why it is left as it is}); see `groups`."""
        if not any(map(groups.spans_hosts, services)):
            return services, {}
        here, hosts = self.variables.host, self.task_vars.get("hostvars") or {}
        if compare:
            own = self.task_vars["ascend_host_deployment"]
            return groups.as_written(services, self.settings, here, own), {}
        groups.check_members(services, self.task_vars.get("ansible_play_hosts_all") or [here])
        left = set(self.task_vars.get("ansible_play_hosts") or [here])

        def deployment(host: str) -> Mapping[str, Any] | None:
            found = hosts[host].get("ascend_host_deployment") if host in left else None
            return found if isinstance(found, Mapping) and found.get("services") else None

        found = groups.grouped(services, self.settings, deployment)
        return found.services, found.held


def _awaited(services: list[dict[str, Any]], result: dict[str, Any], hosts: list[str]) -> list[str]:
    """Names of the services that should serve now.

    One that gets the cards of another that waits for its restart is not started yet.
    """
    waiting = {each["name"] for each in result.get("waiting") or []}
    running = {each["name"] for each in result.get("services") or [] if each["pid"]}
    return [
        service["name"]
        for service in services
        if service.get("state", "started") == "started"
        and groups.is_awaited(service, hosts)
        and (service["name"] not in waiting or service["name"] in running)
    ]
