# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters inferops.ascend.runtime_plan and container_command, thin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of, plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime import installation
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import container


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


def container_command(service: object, engine: str, image: str, **options: Any) -> str:
    """The command of a service's container for `ExecStart=`, with Ansible's error."""
    if not isinstance(service, Mapping):
        raise AnsibleFilterError(f"a placed service is needed, not {kind_of(service)}.")
    unknown = sorted(set(options) - set(container.Container.__dataclass_fields__))
    if unknown:
        raise AnsibleFilterError(f"container_command has no option {unknown[0]}")
    try:
        how = container.Container(
            engine=engine, image=image, **plain(options, "the settings of containers")
        )
        return container.exec_words(container.arguments(service, how))
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {"runtime_plan": runtime_plan, "container_command": container_command}
