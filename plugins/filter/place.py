# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter inferops.ascend.place: documented in place.yml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.host_cards import HostCards
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.ports import (
    EPHEMERAL_PORTS,
    PortSettings,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    ServiceRequest,
    existing_placements,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.group import PORTS


def place_filter(
    specs: object,
    cards: object,
    excluded: object = (),
    port_base: object = 8000,
    hccl_port_base: object = 61000,
    hccl_port_count: object = 32,
    ephemeral_ports: object = EPHEMERAL_PORTS,
    block_unit: object = 1,
    unavailable: object = MappingProxyType({}),
    standing: object = MappingProxyType({}),
    kv_port_base: object = 63000,
    cluster_port_base: object = 18000,
) -> list[dict[str, Any]]:
    """`place` with plain values, and with Ansible's error."""
    try:
        if not isinstance(specs, (list, tuple)):
            raise AscendError(f"a list of services is needed, not {kind_of(specs)}.")
        for number, spec in enumerate(specs, 1):
            if not isinstance(spec, Mapping):
                raise AscendError(
                    f"service {number} of the list is {kind_of(spec)}, not a mapping."
                )
        placed = place(
            [ServiceRequest.parse(spec) for spec in specs],
            HostCards.parse(cards, excluded, unavailable, block_unit),
            PortSettings.parse(
                port_base,
                hccl_port_base,
                hccl_port_count,
                kv_port_base,
                cluster_port_base,
                PORTS,
                ephemeral_ports,
            ),
            existing_placements(standing),
        )
        return [each.with_spec(spec) for each, spec in zip(placed, specs, strict=True)]
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {"place": place_filter}
