# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters for systemd's eyes: documented in the .yml files, done in plugin_utils/_base/systemd.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import (
    environment_file,
    service_environment,
    service_secrets,
    unit_word,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of


def _of_service(function: Callable[[Mapping[str, object]], Any], service: object) -> Any:
    if not isinstance(service, Mapping):
        raise AnsibleFilterError(f"a service is needed, a mapping, not {kind_of(service)}.")
    try:
        return function(service)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


def systemd_environment(service: object) -> Any:
    """Lines `Environment="NAME=value"` of a service's `env`."""
    return _of_service(service_environment, service)


def systemd_secrets(service: object) -> Any:
    """The secret variables of a service by name."""
    return _of_service(service_secrets, service)


def _of_value(function: Callable[[object], str], value: object) -> str:
    try:
        return function(value)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


def systemd_environment_file(mapping: object) -> str:
    """The text of a file for `EnvironmentFile=`."""
    return _of_value(environment_file, mapping)


def systemd_word(value: object) -> str:
    """A path or name that can stand in a unit without quoting."""
    return _of_value(unit_word, value)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {
            "systemd_environment": systemd_environment,
            "systemd_environment_file": systemd_environment_file,
            "systemd_secrets": systemd_secrets,
            "systemd_word": systemd_word,
        }
