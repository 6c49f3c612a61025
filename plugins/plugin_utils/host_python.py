# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Modules on hosts whose Python may be too old for them: the error then tells which Python to set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ansible.module_utils import basic
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import OLDEST_PYTHON

# What a module's process leaves that did not come as far as to report a result of the module.
_NO_RESULT = ("module_stdout", "module_stderr")
_REJECTED = "requires a minimum of Python"
_VERSION = re.compile(r"^VERSION ([0-9]+)\.([0-9]+)\.([0-9]+) (/\S+)$", re.MULTILINE)
_LATER = "/usr/bin/python3.[0-9] /usr/bin/python3.[0-9][0-9] /usr/local/bin/python3.[0-9] /usr/local/bin/python3.[0-9][0-9]"


def execute(
    action: Any, name: str, arguments: Mapping[str, Any], variables: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The result of a module of this collection on the host of a task.

    action: the plugin (`ActionBase`). name: of the module, with its collection. variables: its `task_vars`.
    """
    result = action._execute_module(
        module_name=name, module_args=dict(arguments), task_vars=variables
    )
    return explained(action, result, variables or {})


def explained(action: Any, result: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a module; where it failed because of the host's Python, with words that tell so.

    action: the plugin that ran it. variables: its `task_vars`. Asks the host only where the module's process
    gave no result.
    """
    if not result.get("failed") or result.get("unreachable"):
        return result
    if _REJECTED not in str(result.get("msg")) and not any(key in result for key in _NO_RESULT):
        return result
    path = (action._used_interpreter or "").lstrip("#!").strip()
    if not path:
        return result
    host = action._task.delegate_to or variables.get("inventory_hostname", "this host")
    found = _pythons(action, path)
    words = message(str(host), path, found, needed())
    if not words:
        return result
    # What the process printed is a trace, or no more than that there is no such program.
    kept = {key: result[key] for key in result if key not in (*_NO_RESULT, "exception")}
    return {**kept, "msg": words}


def needed() -> tuple[int, int]:
    """The oldest Python on a host that both Ansible and this collection take."""
    major, minor = getattr(basic, "_PY_MIN", OLDEST_PYTHON)[:2]
    return max(OLDEST_PYTHON, (major, minor))


def message(
    host: str, path: str, found: Mapping[str, tuple[int, ...]], least: tuple[int, int]
) -> str:
    """Why a module did not run with the Python at `path`; empty where that is not the reason.

    found: the version of each Python of the host that runs, by its path.
    """
    version = found.get(path)
    if version is not None and version[:2] >= least:
        return ""
    what = "which does not run" if version is None else f"which is Python {_shown(version)}"
    fit = {each: found[each] for each in found if found[each][:2] >= least and each != path}
    if fit:
        best = max(fit, key=lambda each: fit[each])
        advice = (
            f"It has {best} ({_shown(fit[best])}) too: set ansible_python_interpreter: {best} for"
            f" {host} in the inventory."
        )
    else:
        advice = (
            "Install a later one beside it, which package that is depends on the distribution (docs/distributions.md of"
            f" the collection), and set ansible_python_interpreter to its path for {host} in the inventory."
        )
    return (
        f"Ansible would run its modules on {host} with {path}, {what}, and Python {_shown(least)} or"
        f" later is needed. None ran. {advice}"
    )


def _shown(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _pythons(action: Any, path: str) -> dict[str, tuple[int, ...]]:
    """The version of the Python at `path` and of later ones on the usual paths, of those that run."""
    script = 'import sys; print("VERSION %d.%d.%d " % sys.version_info[:3] + sys.argv[1])'
    command = (
        f'for each in {shlex.quote(path)} {_LATER}; do [ ! -x "$each" ] ||'
        f' "$each" -c {shlex.quote(script)} "$each" 2>/dev/null; done; true'
    )
    printed = str(action._low_level_execute_command(command).get("stdout", ""))
    return {
        found[3]: tuple(map(int, found[:3]))
        for found in _VERSION.findall(printed.replace("\r\n", "\n"))
    }


class HostModule(NormalAction):
    """A module that runs as it is, whose error names the host's Python where that is too old."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        return explained(self, result, task_vars or {})
