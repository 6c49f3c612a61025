# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter inferops.ascend.runtime_plan, thin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime import installation


def runtime_plan(version: object, **options: Any) -> dict[str, Any]:
    """`installation.plan`, with Ansible's error."""
    known = installation.plan.__kwdefaults__ or {}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise AnsibleFilterError(f"runtime_plan has no option {unknown[0]}")
    try:
        return installation.plan(version, **plain(options, "the wish for the engine"))
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {"runtime_plan": runtime_plan}
