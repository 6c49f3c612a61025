# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans how a version of the engine is installed, without contact to the host."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime import installation


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(each.name for each in fields(installation.RuntimeRequest))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result = super().run(tmp, task_vars)
        try:
            offline = boolean(self._task.args.get("offline", False))
            request = installation.RuntimeRequest.parse({**self._task.args, "offline": offline})
            result["installation"] = installation.plan(request).as_dict()
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        return result
