# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans how a version of the engine is installed, without contact to the host."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import Variables
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime import images, installation
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostVariables

ARGUMENTS: dict[str, dict[str, Any]] = {
    "version": {"type": "str", "required": True},  # empty: the version that is served
    "method": {"type": "str", "default": "venv", "choices": ["venv", "container", "external"]},
    "device": {"type": "str", "default": "npu", "choices": ["npu", "cpu"]},
    "chips": {"type": "list", "elements": "str"},
    "cards": {"type": "list", "elements": "dict"},
    "row": {"type": "raw"},
    "packages": {"type": "list", "elements": "str"},
    "offline": {"type": "bool"},
    **{
        name: {"type": "str"}
        for name in (
            "name",
            "image",
            "wheels",
            "wheels_source",
            "image_archive",
            "image_archive_source",
        )
    },
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        _result, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            given = {key: plain(value, key) for key, value in given.items() if value is not None}
            host = HostVariables(self, task_vars or {})
            given["version"] = given["version"] or host.settings().engine_version
            if "chips" not in given and given["device"] == "npu":
                given["chips"] = images.chips_of_host(
                    Variables(host.read), _cards(given, host), host.settings().profile
                )
            given.pop("cards", None)
            request = installation.RuntimeRequest(**given)
            planned = installation.plan(request)
            result["installation"] = {**planned.as_dict(), "wheels": self._sources(request)}
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        return result

    def _sources(self, request: installation.RuntimeRequest) -> list[str]:
        """Names of the wheels that are copied from the controller. Raises AscendError for what is not there."""
        names: list[str] = []
        for method, name in (("venv", "wheels_source"), ("container", "image_archive_source")):
            path = getattr(request, name)
            if request.method != method or not path:
                continue
            try:
                found = self._find_needle("files", path)
                names = os.listdir(found) if method == "venv" else names
            except (AnsibleError, OSError) as error:
                raise AscendError(
                    f"vllm_runtime_{name} is {path}, which is not on the controller. Give its absolute"
                    " path, or a path below files/ of the playbook."
                ) from error
        return sorted(names)


def _cards(given: dict[str, Any], host: HostVariables) -> list[dict[str, Any]]:
    """Cards that were read of the host, by the task before or by preflight."""
    deployment = host.read("ascend_host_deployment") or {}
    npu = (deployment.get("host") or {}).get("npu") or {}
    return given.get("cards") or npu.get("cards") or []
