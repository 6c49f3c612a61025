# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the files of a host's services, and has the action systemd_instances converge them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils import groups
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.runs import unclaimed
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway import leaving
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import payload
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.readiness import (
    Watch,
    step_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import (
    expected_services,
    module_arguments,
    open_to_all,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import services_to_render
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostAction


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = {
        "compare": {"type": "bool", "default": False},
        "probe": {"type": "bool", "default": False},
        "leave_members": {"type": "bool", "default": False},
        "left": {"type": "list", "elements": "str", "default": []},
        "foresee": {"type": "bool", "default": False},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        settings = self.settings
        services = services_to_render(
            settings,
            lambda: self.variables.catalogue(settings.tables),
            self.task_vars.get("ascend_host_deployment"),
        )
        grouped = self._grouped(services, compare=given["compare"])
        services, held = grouped.services, grouped.held
        arguments = {**module_arguments(services, settings.unit), **settings.converge}
        arguments["keep"] = sorted(held)
        expected = expected_services(services, settings.unit) if given["compare"] else []
        arguments["probe"] = given["probe"]
        # In check mode nothing stops, so there is nothing to wait for.
        arguments["leave_members"] = given["leave_members"] and not self._task.check_mode
        arguments["left"] = given["left"]
        if given["compare"]:
            arguments["completion"] = True
            # What waits for its restart differs from what is wanted.
            arguments["restart"] = "now"

        here = self.variables.host
        serving = leaving.serving(services, here)

        def converge(run: dict[str, Any]) -> dict[str, Any]:
            done: dict[str, Any] = execute(
                self,
                "inferops.ascend.systemd_instances",
                {**arguments, "run": run},
                self.task_vars,
            )
            return done

        result = unclaimed(
            converge, self.task_vars.get("vllm_upgrade_take_over"), foresee=given["foresee"]
        )
        warned = []
        if not given["left"]:
            warned = payload.warnings(services) + open_to_all(services, settings.unit.host)
        warned += [groups.left_behind(name, grouped.behind[name]) for name in grouped.behind]
        if warned:
            result["warnings"] = [*result.get("warnings", []), *warned]
        result["stopping"] = leaving.stopping(result, here)
        result["serving"] = serving
        result["starting"] = leaving.starting(result, services, here)
        if given["compare"]:
            return {**result, "changed": False, "expected": expected}
        hosts = self.task_vars.get("ansible_play_hosts_all") or [self.variables.host]
        awaited = _awaited(services, result, hosts)
        watch = Watch(self.variables.host, awaited, step_of(len(awaited) * len(hosts)))
        seen = [] if result.get("failed") else result.get("status") or []
        for line in watch.all_ready(seen):
            self._display.display(line, stderr=True)
        result["held"] = held
        result["awaited"] = awaited if watch.waiting else []
        for each in result.get("waiting") or []:
            self._display.display(
                f"{self.variables.host}: the next deploy without vllm_service_restart: deferred restarts"
                f" {each['name']}: {each['reason']}"
            )
        return result

    def _grouped(self, services: list[dict[str, Any]], *, compare: bool) -> groups.Grouped:
        here, hosts = self.variables.host, self.task_vars.get("hostvars") or {}
        own = self.task_vars.get("ascend_host_deployment") or {}
        written = groups.written_groups(own)
        if not written and not any(map(groups.spans_hosts, services)):
            return groups.Grouped(services)
        if compare:
            return groups.Grouped(groups.as_written(services, self.settings, here, own))
        left = groups.check_run(services, own, here, self.task_vars)

        def deployment(host: str) -> Mapping[str, Any] | None:
            found = hosts[host].get("ascend_host_deployment") if host in left else None
            return found if isinstance(found, Mapping) and "services" in found else None

        def refused(service: Mapping[str, Any]) -> str | None:
            report = hosts[groups.hosts_of(service)[0]].get("ascend_host_group") or {}
            reason = (report.get("held") or {}).get(service["name"])
            return None if reason is None else str(reason)

        return groups.grouped(services, self.settings, deployment, here, refused)


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
