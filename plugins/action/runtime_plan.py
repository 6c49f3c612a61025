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
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostVariables


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(each.name for each in fields(installation.RuntimeRequest))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            given = {
                "chips": _chips(HostVariables(self, task_vars or {})),
                **self._task.args,
                "offline": boolean(self._task.args.get("offline", False)),
            }
            request = installation.RuntimeRequest.parse(given)
            result["installation"] = installation.plan(request).as_dict()
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        return result


def _chips(host: HostVariables) -> list[str]:
    """The chips of the host: what its variables name, else those that were read, else its profile's."""
    named = host.read("vllm_runtime_chips")
    if named is not None:
        return list(named)
    deployment = host.read("ascend_host_deployment") or {}
    found = (deployment.get("host") or {}).get("npu") or host.read("__vllm_runtime_npu") or {}
    chips = [card["name"] for card in found.get("cards") or []]
    profile = host.settings().profile
    return list(dict.fromkeys(chips)) or list(profile.chips if profile else ())
