# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the files that Prometheus takes from the placed services of all hosts."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import Catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.files import Limits, files
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.fleet import (
    Fleet,
    joined,
    planned_services,
    watched_host,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.placed_services import (
    PlacedHost,
    placed_host,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "gateways": {"type": "list", "elements": "str", "default": []},
    "gateway_port": {"type": "int", "default": 8404},
    "targets": {"type": "str", "required": True},
    "first_token_seconds": {"type": "float"},
    "card_temperature": {"type": "float"},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(argument_spec=ARGUMENTS)[1], "monitoring")
        hostvars = (task_vars or {})["hostvars"]
        try:
            placed = self._placed(given["hosts"], hostvars)
            fleet = _fleet(
                placed, {host: _address(hostvars, host) for host in given["gateways"]}, given
            )
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}
        limits = Limits(given["first_token_seconds"], given["card_temperature"])
        warnings = [
            f"{host.name}: not all of its services are placed, and those that are not have no target."
            " Run inferops.ascend.verify to see why."
            for host in placed
            if not host.complete
        ]
        return {
            **result,
            "changed": False,
            "files": files(fleet, limits, given["targets"]),
            **({"warnings": warnings} if warnings else {}),
        }

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


def _fleet(placed: list[PlacedHost], gateways: dict[str, str], given: dict[str, Any]) -> Fleet:
    planned: dict[str, int | None] = {}
    for host in placed:
        planned.update(planned_services(host.variables, host.catalogue))
    return Fleet(
        [
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
        ],
        planned,
        {host: joined(address, given["gateway_port"]) for host, address in gateways.items()},
    )


def _address(hostvars: Any, host: str) -> str:
    return str(
        hostvars[host].get("vllm_monitoring_address") or hostvars[host].get("ansible_host") or host
    )
