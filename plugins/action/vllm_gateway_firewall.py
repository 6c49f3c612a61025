# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a firewall of a host of services admits to which ports, by the variables of the hosts."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.addresses import (
    admitted,
    resolved,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostAction,
    HostVariables,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.placed_services import routed_services


class ActionModule(HostAction):
    _requires_connection = False
    ARGUMENTS: ClassVar = {
        "gateways": {"type": "list", "elements": "str", "required": True},
        "admits": {"type": "list", "elements": "str", "default": []},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        if not given["gateways"]:
            raise AscendError(
                "the inventory has no gateway that services could admit. List gateways in the group"
                " ascend_gateway, name them (-e ascend_gateways=PATTERN), or set vllm_gateway_firewall to none."
            )
        hostvars = self.task_vars["hostvars"]
        addresses = {admitted(each) for each in given["admits"]}
        for gateway in given["gateways"]:
            reader = HostVariables(self, {**hostvars.raw_get(gateway), "hostvars": hostvars})
            addresses |= set(resolved(str(reader.read("ansible_host") or gateway), gateway))
        targets = routed_services(self, self.variables.host, hostvars, {})
        return {
            "changed": False,
            "ports": sorted({target.port for target in targets}),
            "addresses": sorted(addresses),
        }
