# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter engine_args: see its .yml file and plugin_utils/_service/engine.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import engine


def engine_args(requests: object, version: object) -> list[object]:
    """The requests as they are, after `engine.check_args`, with Ansible's error."""
    if isinstance(requests, (str, Mapping)) or not isinstance(requests, Sequence):
        raise AnsibleFilterError(f"a list of services is needed, not {kind_of(requests)}.")
    try:
        for request in requests:
            # What else may stand there is for the lookup to judge.
            if isinstance(request, Mapping):
                engine.check_args(request, version)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error
    return list(requests)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {"engine_args": engine_args}
