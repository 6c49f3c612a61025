# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the variables of all hosts at once, by what the inventory alone shows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from ansible import constants
from ansible.errors import AnsibleError
from ansible.utils.vars import load_extra_vars
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.origin import Origins
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import write_json
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift_report
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan import outcome
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import Problem
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.result import (
    PlanRejected,
    PlanSettings,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import deploy_report
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import declared
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    CheckedAction,
    HostVariables,
    hosts_matching,
    raw_variables,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings
from ansible_collections.inferops.ascend.plugins.plugin_utils.variable_check import (
    REQUESTS,
    check,
)


class ActionModule(CheckedAction):
    _requires_connection = False
    ARGUMENTS: ClassVar = {
        "hosts": {"type": "str"},
        "services": {"choices": ["ignored", "checked", "required"], "default": "ignored"},
        "plan_json": {"type": "path"},
        "deploy_report": {"type": "path"},
        "verify_output": {"type": "path"},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        hosts = list(map(str, self.task_vars["ansible_play_hosts_all"]))
        if given["hosts"]:
            # A pattern in variables of the inventory, which has no effect, is not that of the play.
            hosts = sorted(
                {*hosts, *hosts_matching(self, self.task_vars["groups"], given["hosts"])}
            )
        inventory = _Inventory(self, self.task_vars)
        try:
            found = check(inventory, hosts, partial(inventory.services, given["services"]))
        except AscendError as error:
            raise AscendError(f"{error} No host was contacted.") from error
        warned = {"warnings": [each.line for each in found.warnings]} if found.warnings else {}
        if not found.problems:
            return {**warned, "changed": False}
        message = found.message
        try:
            self._write(found.problems, hosts, given)
        except AscendError as error:
            message += f" {error}"
        return {**warned, "failed": True, "msg": message}

    def _write(
        self, problems: Sequence[Problem], hosts: Sequence[str], given: Mapping[str, Any]
    ) -> None:
        """Write the files of runs that end here. Raises AscendError."""
        check = bool(self._task.check_mode)
        if given["plan_json"]:
            rejected = outcome.failed(
                PlanRejected(problems), PlanSettings(check=check), locked=False
            )
            write_json(given["plan_json"], rejected)
        texts = {host: [each.message for each in problems if host in each.hosts] for host in hosts}
        if given["deploy_report"]:
            write_json(given["deploy_report"], deploy_report.rejected(texts, check=check))
        if given["verify_output"]:
            data = drift_report.as_data(drift_report.rejected(texts))
            write_json(given["verify_output"], data)


class _Inventory:
    """Ansible's variables and files, as the check wants them."""

    def __init__(self, action: ActionModule, task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._vars = task_vars
        self._raw: dict[str, Mapping[str, Any]] = {}
        self._readers: dict[str, HostVariables] = {}

    def variables(self, host: str) -> Mapping[str, Any]:
        if host not in self._raw:
            self._raw[host] = raw_variables(self._vars["hostvars"], host)
        return self._raw[host]

    def read(self, host: str, name: str) -> Any:
        try:
            return self._reader(host).read(name)
        except AscendError as error:
            # What it refers to may come with the run; whoever needs it tells.
            if isinstance(error.__cause__, AnsibleError):
                return None
            raise

    def _reader(self, host: str) -> HostVariables:
        if host not in self._readers:
            others = {"hostvars": self._vars["hostvars"], "groups": self._vars["groups"]}
            # One at a time: the variables of a host are rendered after those of another.
            self._readers = {host: HostVariables(self._action, {**self.variables(host), **others})}
        return self._readers[host]

    def services(self, how: str, host: str) -> str | None:
        """What is wrong with the services that a host lists; None for nothing.

        how: `checked` where what is listed is checked, `required` where a list is needed too, `ignored` for neither.
        """
        if how == "ignored":
            return None
        reader = self._reader(host)

        def read(name: str) -> Any:
            # What a service refers to is needed before any contact; other variables may come with the run.
            return reader.read(name) if name in REQUESTS else self.read(host, name)

        settings = Settings(read, Path(constants.DEFAULT_LOCAL_TMP))
        try:
            if how == "required":
                settings.require_services()
            declared(settings, lambda: reader.catalogue(settings.tables), host)
        except AscendError as error:
            return str(error)
        return None

    def origin(self, host: str, name: str, value: object) -> str | None:
        variables = self.variables(host)
        groups, source = variables.get("group_names", ()), variables.get("inventory_file")
        return self._origins.of(name, value, host, groups, source)

    @cached_property
    def _origins(self) -> Origins:
        sources = [str(each) for each in self._vars.get("ansible_inventory_sources") or ()]
        places = [
            Path(each if os.path.isdir(each) else os.path.dirname(os.path.abspath(each)))
            for each in sources
            if os.path.exists(each)
        ]
        groups: Mapping[str, list[str]] = self._vars["groups"]
        return Origins(
            directories=[*dict.fromkeys(places), Path(str(self._vars["playbook_dir"]))],
            load=self._load,
            command_line=load_extra_vars(self._action._loader),
            sizes={name: len(hosts) for name, hosts in groups.items()},
        )

    def _load(self, path: Path) -> object:
        try:
            return self._action._loader.load_from_file(str(path))
        except AnsibleError:
            return None  # Ansible has read it, or told why not
