# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Adds to placed services the texts of their files, then runs the action systemd_instances."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.unit import (
    UnitSettings,
    instances,
)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        super().run(tmp, task_vars)
        variables = dict(task_vars or {})
        arguments = dict(self._task.args)
        given = {name: arguments.pop(name, None) for name in ("services", "requests")}
        try:
            for name, value in given.items():
                if not isinstance(value, list):
                    raise AscendError(f"{name} is {kind_of(value)}; a list is needed.")
            settings = UnitSettings.of(self._role_variables(variables))
            arguments["instances"] = instances(given["services"], given["requests"], settings)
            variables["unit"] = settings.texts()
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        task = self._task.copy()
        task.args = arguments
        action = self._shared_loader_obj.action_loader.get(
            "inferops.ascend.systemd_instances",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = action.run(task_vars=variables)
        return result

    def _role_variables(self, variables: dict[str, Any]) -> dict[str, Any]:
        names = [f"vllm_service_{each.name}" for each in fields(UnitSettings)]
        missing = [name for name in names if name not in variables]
        if missing:
            raise AscendError(
                f"{missing[0]} is not defined: run this from the role inferops.ascend.vllm_service."
            )
        found: dict[str, Any] = self._templar.template({name: variables[name] for name in names})
        return found
