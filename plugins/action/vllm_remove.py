# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Has systemd_instances remove named services, and reports what came of it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import removal, unit
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostAction,
    run_action,
)


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = {"services": {"type": "raw"}}

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        names = removal.names_to_remove(given["services"])
        result = run_action(
            self,
            "inferops.ascend.systemd_instances",
            {
                **unit.FILES,
                "files": [],
                "instances": [{"name": name, "state": "absent"} for name in names or ()],
                "remove_unlisted": names is None,
                "lock_timeout": self.settings.lock_timeout,
            },
            self.task_vars,
        )
        if not result.get("failed"):
            check = bool(self._task.check_mode)
            result["report"] = removal.report(
                self.variables.host, names, result, self._listed(), check=check
            )
        return result

    def _listed(self) -> list[str]:
        """Names that the host's variables list, as far as they can be read: what runs is removed anyway."""
        settings = self.settings
        try:
            catalogue = self.variables.catalogue(settings.tables)
            return removal.listed_names(settings.requests, catalogue)
        except AscendError:
            return []
