# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hands the module the patterns of the log, which are data of the controller."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import status
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result = super().run(tmp, task_vars)
        try:
            arguments = status.module_arguments(self._task.args)
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        result.update(
            execute(
                self,
                "inferops.ascend.vllm_status",
                arguments,
                task_vars,
            )
        )
        if "services" in result:
            result["not_serving"] = status.not_serving(result["services"])
            result["report"] = status.report(result["services"], result["problems"])
        return result
