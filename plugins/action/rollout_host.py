# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells the module which run of ansible-playbook this is, where it claims a host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.runs import unclaimed
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)

        def claimed(run: dict[str, Any]) -> dict[str, Any]:
            arguments = {**self._task.args, "run": run}
            done: dict[str, Any] = execute(
                self,
                "inferops.ascend.rollout_host",
                arguments if "claim" in self._task.args else self._task.args,
                variables,
            )
            return done

        return {**result, **unclaimed(claimed, variables.get("vllm_upgrade_take_over"))}
