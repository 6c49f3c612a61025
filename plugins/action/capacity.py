# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows what models take on the hosts of an inventory, or on named profiles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import parse_names, plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import Reader
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity import (
    as_file,
    rows_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity_hosts import (
    HostKind,
    kinds_of,
    named_profiles,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity_table import (
    capacity_table,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.files import write_page
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostVariables,
    hosts_matching,
)

ARGUMENTS = {
    "models": {"type": "raw", "default": "*"},
    "profiles": {"type": "raw"},
    "hosts": {"type": "str", "default": ""},
    "answers": {"type": "str", "default": ""},
    "json": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        self._supports_async = False
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        try:
            models = parse_names(given["models"], "capacity_models")
            variables = HostVariables(self, task_vars)
            left_out: dict[str, str] = {}
            if given["profiles"]:
                names = parse_names(given["profiles"], "capacity_profiles")
                kinds = named_profiles([str(name) for name in names], variables.settings())
            else:
                kinds, left_out = self._kinds(given["hosts"], given["answers"], task_vars)
            rows = [
                row
                for kind in kinds
                for row in rows_of(models, kind, variables.catalogue(kind.tables))
            ]
            found = as_file(kinds, rows, left_out)
            result.update(
                changed=False, report=capacity_table(kinds, rows, left_out), capacity=found
            )
            if given["json"]:
                self._write(given["json"], found, result)
            return result
        except AscendError as error:
            # Not from the error: ansible-core would add what caused it, which is in the text.
            raise AnsibleActionFail(str(error)) from None

    def _kinds(
        self, pattern: str, answers: str, task_vars: Mapping[str, Any]
    ) -> tuple[list[HostKind], dict[str, str]]:
        """The kinds of the hosts, and those that are left out. Raises AscendError for no kind."""
        hosts = task_vars["ansible_play_hosts_all"]
        if pattern:
            hosts = sorted(hosts_matching(self, task_vars["groups"], pattern))
        seen: dict[str, Mapping[str, Any]] | None = {} if answers else None
        hostvars = task_vars["hostvars"]

        def readers() -> Iterator[tuple[str, Reader]]:
            for host in map(str, hosts):
                raw = hostvars.raw_get(host)
                answer = raw.get(answers) if answers else None
                if seen is not None and isinstance(answer, Mapping):
                    seen[host] = {
                        key: plain(answer[key], key)
                        for key in ("npu", "engine", "msg")
                        if key in answer
                    }
                yield host, HostVariables(self, {**raw, "hostvars": hostvars}).read

        kinds, left_out = kinds_of(readers(), seen)
        if kinds:
            return kinds, left_out
        if not left_out:
            raise AscendError(
                "There are no hosts to show the capacity of. Name profiles instead"
                " (-e capacity_profiles=atlas-800i-a2-64g), or give an inventory."
            )
        reasons = " ".join(f"{host}: {reason}" for host, reason in list(left_out.items())[:3])
        raise AscendError(
            f"Of none of {len(left_out)} hosts it is known what cards they have. {reasons}"
        )

    def _write(self, path: str, found: Mapping[str, Any], result: dict[str, Any]) -> None:
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        file = Path(os.path.abspath(os.path.expanduser(path)))
        result["changed"], before = write_page(file, text, text, check=self._task.check_mode)
        if result["changed"] and self._task.diff:
            result["diff"] = {
                "before_header": str(file),
                "after_header": str(file),
                "before": before,
                "after": text,
            }
