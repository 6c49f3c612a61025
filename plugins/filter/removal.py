# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters inferops.ascend.removal_instances and removal_report, thin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import removal


def removal_instances(value: object) -> list[dict[str, str]]:
    """What systemd_instances gets to remove; an empty list stands for all there are."""
    try:
        names = removal.names_to_remove(value)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error
    return [{"name": name, "state": "absent"} for name in names or ()]


def removal_report(
    result: Mapping[str, Any],
    host: str,
    services: object,
    requests: object = (),
    check: bool = False,
) -> list[str]:
    """`removal.report`, with Ansible's error."""
    try:
        names = removal.names_to_remove(services)
        listed = removal.listed_names(requests, load_catalogue())
        return removal.report(str(host), names, result, listed, check=bool(check))
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {"removal_instances": removal_instances, "removal_report": removal_report}
