# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads how a host is, and compares it with what its variables list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift, drift_report
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.findings import HostDrift
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import (
    preload,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_options import host_options
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostVariables,
    run_action,
)

# Ansible imports the plugin once, before it starts a process for each host and task.
preload()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(
            argument_spec={"accept_loading": {"type": "bool", "default": False}}
        )[1]
        self._variables = dict(task_vars or {})
        try:
            found = self._compare(given["accept_loading"])
        except AnsibleConnectionFailure as error:
            lost = {"unreachable": True, "msg": str(error)}
            found = drift.compare(self._ours.host, [], status=lost)
        return {**result, "changed": False, "report": drift_report.as_dict(found)}

    @property
    def _ours(self) -> HostVariables:
        return HostVariables(self, self._variables)

    def _compare(self, accept_loading: bool) -> HostDrift:
        deployment = self._ask("deployment", {"stop_on_error": False})
        compared: Mapping[str, Any] = {}
        problem = ""
        if deployment.get("failed"):
            problem = str(deployment.get("msg"))
            facts = execute(
                self,
                "inferops.ascend.host_info",
                host_options(self._ours.settings(), None),
                self._variables,
            )
        else:
            facts = deployment["host"]
            self._variables["ascend_host_deployment"] = deployment
            compared = self._ask("vllm_services", {"compare": True, "probe": True}, check=True)
            ready = deployment["account"]["ready"] and not compared.get("accounts")
            compared = {**compared, "account": not ready}
            if compared.get("failed") and not compared.get("refused"):
                problem = str(compared.get("msg"))
        expected = compared.get("expected") or []
        return drift.compare(
            self._ours.host,
            expected,
            converged=compared,
            status=self._status(expected, compared, facts),
            facts=facts,
            preflight=deployment.get("preflight") or {},
            excluded=self._excluded(),
            problem=problem,
            accept_loading=accept_loading,
        )

    def _status(
        self, expected: list[Any], compared: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """How the services are; the host is asked again only where one of them does not serve."""
        seen = {each["name"]: each for each in compared.get("status") or []}
        wrong = [
            each["name"]
            for each in expected
            if each["state"] == "started" and seen.get(each["name"], {}).get("state") != "ready"
        ]
        removed = compared.get("removed") or []
        if expected and not wrong and not removed:
            return {"services": list(seen.values())}
        services = [*expected, *removed] if expected else facts.get("standing") or []
        return self._ask("vllm_status", {"services": services, "npu": False, "completion": True})

    def _excluded(self) -> tuple[int, ...]:
        try:
            return self._ours.settings().excluded_cards
        except AscendError:
            return ()  # the problem that is reported says so

    def _ask(self, name: str, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        return run_action(
            self, f"inferops.ascend.{name}", arguments, self._variables, check_mode=check
        )
