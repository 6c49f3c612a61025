# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says what is wrong in what gateways answered to a task before."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.replies import (
    missing,
    problems,
)

_WAY_OUT = "With -e vllm_upgrade_gateways=false the run goes on all the same."


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(
            argument_spec={
                "replies": {"type": "list", "elements": "dict", "required": True},
                "state": {
                    "type": "str",
                    "choices": ["query", "drained", "ready"],
                    "required": True,
                },
                "strict": {"type": "bool", "default": False},
            }
        )[1]
        try:
            replies = plain(given["replies"], "replies")
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}
        found = problems(replies, given["state"])
        result.update(changed=False, problems=found)
        if found and given["strict"]:
            return {**result, "failed": True, "msg": " ".join([*found, _WAY_OUT])}
        warned = [*found, *(missing(replies) if given["state"] == "ready" else ())]
        return {**result, "warnings": warned} if warned else result
