# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of a host about its services, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils import _failures
from ansible_collections.inferops.ascend.plugins.plugin_utils._errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plain import kind_of, plain

# What the module is told of a service. A placed service carries much more, secrets among it.
_SERVICE_KEYS = ("name", "port", "host", "api_key_file")


def services_of(value: object) -> list[dict[str, Any]]:
    """What is asked about each service: {name, port?, host?, api_key_file?}.

    value: names, or mappings such as placed services, of which other keys are left out.
    Raises AscendError for anything else.
    """
    if not isinstance(value, (list, tuple)):
        raise AscendError(
            f"services is {kind_of(value)}; write a list of services, [{{name: chat, port: 8000}}]."
        )
    services = []
    for number, each in enumerate(value, 1):
        if isinstance(each, str):
            services.append({"name": plain(each, f"services, item {number}")})
        elif isinstance(each, Mapping) and isinstance(each.get("name"), str):
            services.append(
                {
                    key: plain(each[key], f"services, item {number}, {key}")
                    for key in _SERVICE_KEYS
                    if each.get(key) is not None
                }
            )
        else:
            raise AscendError(
                f"services, item {number} is {kind_of(each)} without a name; write the service's"
                " name, or {name: chat, port: 8000}."
            )
    return services


def module_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the module vllm_status: a task's own, and the patterns of the log."""
    return {
        **arguments,
        "services": services_of(arguments.get("services")),
        "phases": _failures.phases(),
        "failures": _failures.failures(),
    }
