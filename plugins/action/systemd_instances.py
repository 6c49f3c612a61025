# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the templates of all instances on the controller, so that the host is contacted once."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import template
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.payload import (
    Render,
    build,
    warnings,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    trust_as_template,
)

# ansible-core before 2.19 guesses the types of results.
_OPTIONS: dict[str, Any] = {} if hasattr(template, "trust_as_template") else {"convert_data": False}
# The variable with all instances, in a template that is rendered for all of them.
_ALL = "inferops_ascend_instances"


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
                        "name is needed"
                    )
            renderer = self._renderer(instances, task_vars)
            arguments.update(build(unit, instances, files, instance_files, renderer))
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        warned = warnings(instances)
        result.update(
            execute(
                self,
                "inferops.ascend.systemd_instances",
                arguments,
                task_vars,
            )
        )
        if warned:
            result["warnings"] = [*result.get("warnings", []), *warned]
        return result

    def _renderer(self, instances: list[Mapping[str, Any]], task_vars: dict[str, Any]) -> Render:
        """A function that renders one template for one instance.

        Compiling a template takes longer than rendering it, so each is rendered once, for all
        instances, with a mark between them that nobody can have written.
        """
        present = [each for each in instances if each.get("state") != "absent"]
        numbers = {id(each): number for number, each in enumerate(present)}
        mark = secrets.token_hex(16)
        done: dict[tuple[str, ...], list[str]] = {}

        def render(src: str, variables: Mapping[str, Any]) -> str:
            key = (src, *sorted(variables))
            if key not in done:
                path = self._find_needle("templates", src)
                text = Path(path).read_text(encoding="utf-8")
                # The first line of a template may set options of Jinja for that template.
                if "instance" not in variables or text.startswith("#jinja2:"):
                    return self._render(path, text, variables, task_vars)
                # As Ansible does: the last newline is no part of the template, and a text that
                # then ends with fewer newlines than the template gets them.
                body = text[:-1] if text.endswith("\n") else text
                body = f"{{% for instance in {_ALL} %}}{body}{mark}{{% endfor %}}"
                everything = {**variables, _ALL: present}
                parts = self._render(path, body, everything, task_vars).split(mark)
                done[key] = [
                    part + "\n" * (_last_newlines(text) - _last_newlines(part)) for part in parts
                ]
            return done[key][numbers[id(variables["instance"])]]

        return render

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


def _last_newlines(text: str) -> int:
    return len(text) - len(text.rstrip("\n"))


def _required(arguments: Mapping[str, Any], key: str, kind: type) -> Any:
    value = arguments.get(key)
    if not isinstance(value, kind):
        # Only its type: what was written here by mistake may be a secret.
        raise AscendError(
            f"{key} is required and has to be a {kind.__name__}, not a {type(value).__name__}"
        )
    return value


def _file_list(arguments: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = arguments.get(key) or []
    for entry in entries:
        if not isinstance(entry, Mapping) or not entry.get("src") or not entry.get("dest"):
            raise AscendError(f"{key}: each entry needs src and dest, {entry!r} does not have both")
    return [dict(entry) for entry in entries]
