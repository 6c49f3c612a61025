# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Has systemd_instances remove named services, and reports what came of it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import removal, unit
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostVariables,
    run_action,
)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec={"services": {"type": "raw"}})[1]
        variables = HostVariables(self, task_vars)
        settings = variables.settings()
        try:
            names = removal.names_to_remove(given["services"])
            result = run_action(
                self,
                "inferops.ascend.systemd_instances",
                {
                    **unit.FILES,
                    "files": [],
                    "instances": [{"name": name, "state": "absent"} for name in names or ()],
                    "remove_unlisted": names is None,
                    "lock_timeout": settings.lock_timeout,
                },
                task_vars,
            )
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}
        if not result.get("failed"):
            result["report"] = removal.report(
                variables.host, names, result, _listed(variables), check=bool(self._task.check_mode)
            )
        return result


def _listed(variables: HostVariables) -> list[str]:
    """Names that the host's variables list, as far as they can be read: what runs is removed anyway."""
    settings = variables.settings()
    try:
        return removal.listed_names(settings.requests, variables.catalogue(settings.tables))
    except AscendError:
        return []
