# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter inferops.ascend.place: documented in place.yml, done in plugin_utils/_place/placement.py."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place


def place_filter(
    specs: object,
    cards: object,
    excluded: object = (),
    port_base: object = 8000,
    hccl_port_base: object = 61000,
    hccl_port_count: object = 32,
    ephemeral_ports: object = (32768, 60999),
    block_unit: object = 1,
    unavailable: object = MappingProxyType({}),
    standing: object = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """`_placement.place`, with Ansible's error."""
    try:
        return place(
            specs,
            cards,
            excluded=excluded,
            unavailable=unavailable,
            standing=standing,
            port_base=port_base,
            hccl_port_base=hccl_port_base,
            hccl_port_count=hccl_port_count,
            ephemeral_ports=ephemeral_ports,
            block_unit=block_unit,
        )
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {"place": place_filter}
