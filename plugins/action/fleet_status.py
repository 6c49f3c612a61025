# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sums up what the hosts and gateways of a play answered, as text, as data, and as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import (
    write_json,
    write_text,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.targets import Target
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift_report
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import Catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._status import views
from ansible_collections.inferops.ascend.plugins.plugin_utils._status.fleet import fleet_status
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostVariables,
    hosts_matching,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.placed_services import routed_services

PATTERN = "vllm_gateway_services"
NAMES = {"type": "list", "elements": "str", "default": []}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(
            argument_spec={
                "hosts": NAMES,
                "gateways": NAMES,
                "compared": {"type": "str", "required": True},
                "rollouts": {"type": "str", "required": True},
                "servers": {"type": "str", "required": True},
                "moment": {"type": "str", "required": True},
                "output": {"type": "path"},
                "html": {"type": "path"},
            }
        )[1]
        known: Mapping[str, Any] = (task_vars or {})["hostvars"]

        def registered(host: str, name: str) -> Mapping[str, Any]:
            return known[host].get(name) or {}

        reports = [
            registered(host, given["compared"]).get("report") or drift_report.missing(host)
            for host in given["hosts"]
        ]
        status = fleet_status(
            reports,
            {host: registered(host, given["rollouts"]).get("record") for host in given["hosts"]},
            {host: registered(host, given["servers"]) for host in given["gateways"]},
            self._routed(given["hosts"], given["gateways"], task_vars or {}),
        )
        try:
            if given["output"]:
                write_json(given["output"], {"moment": given["moment"], **status})
            if given["html"]:
                write_text(Path(given["html"]), views.page(status, given["moment"]))
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": False, "data": status, "lines": views.lines(status)}

    def _routed(
        self, hosts: Sequence[str], gateways: Sequence[str], variables: Mapping[str, Any]
    ) -> dict[str, list[Target]]:
        """By gateway, what it routes to on these hosts, by their variables."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        catalogues: dict[tuple[str, ...], Catalogue] = {}
        found: dict[str, list[Target]] = {}
        for host in hosts if gateways else ():
            # What is wrong with variables is said where the host is compared with them.
            with suppress(AscendError):
                found[host] = routed_services(self, host, hostvars, catalogues)
        routed = {}
        for gateway in gateways:
            reader = HostVariables(self, {**hostvars.raw_get(gateway), "hostvars": hostvars})
            pattern = reader.read(PATTERN)
            chosen = found if pattern is None else hosts_matching(self, groups, str(pattern))
            routed[gateway] = [each for host in found if host in chosen for each in found[host]]
        return routed
