# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides the steps of a rollout on the controller, from what tasks before it have registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils import groups
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import (
    plain,
    whole_number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.engines import (
    Change,
    Engines,
    targets_back,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.wave_reports import (
    Outcome,
    apart,
    by_host,
    order_lines,
    others_down,
    stopped,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.waves import (
    Member,
    check_outage,
    partners,
    units,
    waves,
    ways_back,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.removal import listed_names
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import catalogue_of

ARGUMENTS = {
    "step": {
        "type": "str",
        "required": True,
        "choices": ["targets", "change", "order", "others", "together", "result"],
    },
    "point": {"type": "str", "default": ""},
    "action": {"type": "str", "default": "upgrade", "choices": ["upgrade", "rollback"]},
    "target": {"type": "str", "default": ""},
    "version": {"type": "str", "default": ""},
    "at_once": {"type": "raw", "default": 1},
    "outage": {"type": "bool", "default": True},
    "elsewhere": {"type": "list", "elements": "str", "default": []},
    "tables": {"type": "raw"},
    "replies": {"type": "list", "elements": "dict", "default": []},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        steps = {
            "targets": self._targets,
            "change": self._change,
            "order": self._order,
            "others": self._others,
            "together": self._together,
            "result": self._result,
        }
        try:
            result.update(steps[given["step"]](given, task_vars or {}))
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": False, **result}

    def _targets(self, given: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        hosts = _registered(variables, "ansible_play_hosts", "vllm_rollout_engines")
        engines = {host: Engines.of(found) for host, found in hosts.items()}
        return {"targets": targets_back(engines, given["version"])}

    def _change(self, given: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        host = variables["inventory_hostname"]
        requests = _registered(variables, [host], "vllm_service_instances")[host]
        catalogue = partial(catalogue_of, self, given["tables"] or None)
        listed = groups.requested(requests, catalogue)
        every, known = variables["ansible_play_hosts_all"], variables["hostvars"]
        groups.check_members(listed, {}, every, known)
        engines = Engines.of(_registered(variables, [host], "vllm_rollout_engines")[host])
        change = Change.of(engines, given["action"], given["target"], given["version"])
        return {"change": change.as_dict()}

    def _order(self, given: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        changes = _registered(variables, "ansible_play_hosts", "vllm_rollout_change")
        status = _registered(variables, "ansible_play_hosts", "vllm_rollout_status")
        deployments = _registered(variables, "ansible_play_hosts", "ascend_host_deployment")
        every, known = variables["ansible_play_hosts_all"], variables["hostvars"]
        for each in deployments.values():
            groups.check_members(each["services"], groups.written_groups(each), every, known)
        members = [
            Member(
                host,
                tuple(each["name"] for each in status[host]["services"]),
                frozenset(n["name"] for n in status[host]["services"] if n["state"] != "ready"),
                *(result["change"][key] for key in ("before", "after", "back")),
                spans=groups.spans(deployments[host]),
            )
            for host, result in changes.items()
        ]
        versions = {host: result["change"]["back_version"] for host, result in changes.items()}
        members = ways_back(members, versions)
        others = self._elsewhere(given, variables)
        number = whole_number(given["at_once"])
        planned = waves(members, -1 if number is None else number)
        if not given["outage"]:
            check_outage(members, others)
        return {
            "hosts": [{**asdict(each), "down": sorted(each.down)} for each in members],
            "waves": [[each.name for each in wave] for wave in planned],
            "order": [each.name for wave in planned for each in wave],
            "sizes": [len(wave) for wave in planned],
            "units": {host: list(unit.hosts) for unit in units(members) for host in unit.hosts},
            "back": {each.name: each.back for each in members},
            "partners": partners(members, others),
            "lines": order_lines(planned, given["action"], self._task.check_mode, others),
            "progress": by_host(planned),
        }

    def _elsewhere(
        self, given: Mapping[str, Any], variables: dict[str, Any]
    ) -> dict[str, list[str]]:
        """Names of services by host that this run leaves out; their variables may have secrets."""
        if not given["elsewhere"]:
            return {}
        catalogue = catalogue_of(self, given["tables"] or None)
        lists = _registered(variables, given["elsewhere"], "vllm_service_instances")
        return {host: listed_names(requests, catalogue) for host, requests in lists.items()}

    def _others(self, given: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        text = others_down(given["replies"], variables["inventory_hostname"])
        return {"failed": bool(text), "msg": text or "The other replicas serve."}

    def _together(self, given: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        unit = self._plan(variables)["units"][variables["inventory_hostname"]]
        reached = _registered(variables, unit, "vllm_rollout_reached")
        text = apart(unit, variables["ansible_play_batch"], reached, given["point"])
        return {"failed": bool(text), "msg": text or "The hosts go on together."}

    def _result(self, given: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        plan = self._plan(variables)
        members = {
            each["name"]: Member(**{**each, "down": frozenset(each["down"])})
            for each in plan["hosts"]
        }
        names = {field.name: f"vllm_rollout_{field.name}" for field in fields(Outcome)}
        found = {
            field: _registered(variables, "ansible_play_batch", name)
            for field, name in names.items()
        }
        text = stopped(
            [[members[name] for name in wave] for wave in plan["waves"]],
            variables["inventory_hostname"],
            {
                host: Outcome(**{field: str(found[field][host] or "") for field in found})
                for host in variables["ansible_play_batch"]
            },
        )
        return {"failed": bool(text), "msg": text or "All services of this host serve."}

    def _plan(self, variables: dict[str, Any]) -> Any:
        return plain(variables["hostvars"]["localhost"]["vllm_rollout_plan"], "the rollout")


def _registered(
    variables: Mapping[str, Any], hosts: str | Iterable[str], name: str
) -> dict[str, Any]:
    """The values of a variable by host; hosts by name or as the variable that lists them."""
    listed = variables[hosts] if isinstance(hosts, str) else hosts
    return {
        str(host): plain(variables["hostvars"][host].get(name), f"{name} of {host}")
        for host in listed
    }
