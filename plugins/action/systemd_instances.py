# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the templates of all instances here, so that the host is asked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.payload import build

try:
    from ansible.template import trust_as_template

    _OPTIONS: dict[str, Any] = {}
except ImportError:  # ansible-core before 2.19 trusts every template, and guesses types of results
    _OPTIONS = {"convert_data": False}

    def trust_as_template(value: str) -> str:
        return value


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            unit = _required(arguments, "unit", str)
            instances = _required(arguments, "instances", list)
            files = _file_list(arguments, "files")
            instance_files = _file_list(arguments, "instance_files")
            for instance in instances:
                if not isinstance(instance, Mapping):
                    raise AscendError(
                        f"instances: a {type(instance).__name__} is listed, where a mapping with a "
                        "name is wanted"
                    )
            templates: dict[str, tuple[str, str]] = {}

            def render(src: str, variables: Mapping[str, Any]) -> str:
                if src not in templates:
                    path = self._find_needle("templates", src)
                    templates[src] = (path, self._read_template(path))
                return self._render(*templates[src], variables, task_vars)

            payload = build(unit, instances, files, instance_files, render)
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        arguments.update(
            files=[_without_source(each) for each in files],
            instance_files=[_without_source(each) for each in instance_files],
            instances=[_bare(instance) for instance in instances],
            contents=payload.contents,
            secret_contents=payload.secret_contents,
            digests=payload.digests,
            secret_digests=payload.secret_digests,
        )
        warnings = [
            f"{instance['name']}: {warning}"
            for instance in instances
            for warning in _texts(instance.get("warnings"))
        ]
        result.update(
            self._execute_module(
                module_name="inferops.ascend.systemd_instances",
                module_args=arguments,
                task_vars=task_vars,
            )
        )
        if warnings:
            result["warnings"] = [*result.get("warnings", []), *warnings]
        return result

    def _read_template(self, path: str) -> str:
        with open(path, encoding="utf-8") as handle:
            return handle.read()

    def _render(
        self, path: str, text: str, variables: Mapping[str, Any], task_vars: dict[str, Any]
    ) -> str:
        available = task_vars.copy()
        # A user's value is data: braces in it are not rendered a second time.
        available.update({key: wrap_var(value) for key, value in variables.items()})
        templar = self._templar.copy_with_new_env(
            searchpath=[os.path.dirname(path)], available_variables=available
        )
        rendered = templar.template(trust_as_template(text), escape_backslashes=False, **_OPTIONS)
        return "" if rendered is None else str(rendered)


def _required(arguments: Mapping[str, Any], key: str, kind: type) -> Any:
    value = arguments.get(key)
    if not isinstance(value, kind):
        # Its type alone: what was written here by mistake may be a secret.
        raise AscendError(
            f"{key} is required and has to be a {kind.__name__}, not a {type(value).__name__}"
        )
    return value


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _file_list(arguments: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = arguments.get(key) or []
    for entry in entries:
        if not isinstance(entry, Mapping) or not entry.get("src") or not entry.get("dest"):
            raise AscendError(f"{key}: each entry needs src and dest, {entry!r} does not have both")
    return [dict(entry) for entry in entries]


def _without_source(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "src"}


def _bare(instance: Mapping[str, Any]) -> dict[str, Any]:
    return {key: instance[key] for key in ("name", "state", "cards") if key in instance}
