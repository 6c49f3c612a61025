# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the files that Prometheus takes from the placed services of all hosts, and has a module write them."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import ROOT
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import role_default
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import Catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.files import Limits, files
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.fleet import (
    Fleet,
    joined,
    planned_services,
    watched_host,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.placed_services import (
    PlacedHost,
    placed_host,
)

# What is the same for every fleet.
FILES = ROOT / "roles" / "vllm_monitoring" / "files"
SHIPPED = ("rules/inferops_ascend.yml", "dashboards/inferops_ascend.json")
METRICS_PORT = "vllm_gateway_metrics_port"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "gateways": {"type": "list", "elements": "str", "default": []},
    "directory": {"type": "str", "required": True},
    "targets": {"type": "str", "required": True},
    "first_token_seconds": {"type": "float"},
    "card_temperature": {"type": "float"},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(argument_spec=ARGUMENTS)[1], "monitoring")
        hostvars = (task_vars or {})["hostvars"]
        try:
            placed = self._placed(given["hosts"], hostvars)
            fleet = _fleet(placed, {host: _gateway(hostvars, host) for host in given["gateways"]})
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}
        limits = Limits(given["first_token_seconds"], given["card_temperature"])
        warnings = [
            f"{host.name}: not all of its services are placed, and those that are not have no target."
            " Run inferops.ascend.verify to see why."
            for host in placed
            if not host.complete
        ]
        made = files(fleet, limits, given["targets"])
        texts = {path: (FILES / path).read_text(encoding="utf-8") for path in SHIPPED}
        written = execute(
            self,
            "inferops.ascend.monitoring_files",
            {"directory": given["directory"], "files": {**texts, **made}},
            task_vars,
        )
        if warnings:
            written["warnings"] = [*written.get("warnings", []), *warnings]
        return {**result, **written, "files": made}

    def _placed(self, hosts: list[str], hostvars: Any) -> list[PlacedHost]:
        """Raises AscendError that names every host whose variables cannot be used."""
        found, problems = [], []
        catalogues: dict[tuple[str, ...], Catalogue] = {}
        for host in sorted(hosts):
            try:
                found.append(placed_host(self, host, hostvars, catalogues))
            except AscendError as error:
                problems.append(f"{host}: {error}")
        if problems:
            raise AscendError("\n".join(["Nothing was written.", *problems]))
        return found


def _fleet(placed: list[PlacedHost], gateways: dict[str, str]) -> Fleet:
    planned: dict[str, int | None] = {}
    for host in placed:
        planned.update(planned_services(host.variables, host.catalogue))
    hosts = [
        watched_host(
            host.name,
            host.settings,
            host.variables,
            host.services,
            planned,
            host.catalogue,
            host.address,
            host.chip,
        )
        for host in placed
    ]
    return Fleet(hosts, planned, gateways)


def _gateway(hostvars: Any, host: str) -> str:
    """The target of a gateway."""
    known = hostvars[host]
    address = known.get("vllm_monitoring_address") or known.get("ansible_host") or host
    return joined(str(address), int(known.get(METRICS_PORT) or role_default(METRICS_PORT)))
