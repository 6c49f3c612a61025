# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters engine_config and engine_args: see their .yml files and plugin_utils/_service/engine.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import engine


def engine_config(
    service: object,
    version: object,
    host: str = "0.0.0.0",
    weights_dir: str = "/var/lib/vllm/weights",
    shutdown_timeout: int = 60,
) -> str:
    """`engine.engine_config` as YAML, with Ansible's error."""
    if not isinstance(service, Mapping):
        raise AnsibleFilterError(f"a placed service is needed, not {kind_of(service)}.")
    try:
        config = engine.engine_config(
            service,
            version,
            host=host,
            weights_dir=weights_dir,
            shutdown_timeout=shutdown_timeout,
        )
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error
    return engine.engine_yaml(config)


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
        return {"engine_config": engine_config, "engine_args": engine_args}
