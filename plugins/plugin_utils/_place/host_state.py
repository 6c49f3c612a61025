# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a placement needs to know of a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .ports import EPHEMERAL_PORTS
from .service import ExistingPlacement, existing_placements


@dataclass(frozen=True)
class HostState:
    """What is known of a host, as far as placement needs it.

    Attributes:
        cards: a number, logic ids, or npu_info's records of the cards whose ids are known.
        unavailable: {logic id: reason} of cards that may not be used now.
        existing: this collection's services on the host.
        ephemeral_ports: [first, last] of the kernel's range, or [] to ignore it.
        configurations: {config, weight_bytes} by the directory of weights, None where there is no
            config.json, of the services whose figures follow from it.
    """

    cards: object
    unavailable: Mapping[Any, str] = field(default_factory=dict)
    existing: Mapping[str, ExistingPlacement] = field(default_factory=dict)
    ephemeral_ports: Sequence[int] = EPHEMERAL_PORTS
    configurations: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> HostState:
        return cls(**{**state, "existing": existing_placements(state["existing"])})

    def as_dict(self) -> dict[str, Any]:
        return {
            "cards": self.cards,
            "unavailable": {str(card): reason for card, reason in self.unavailable.items()},
            "existing": {name: each.as_dict() for name, each in self.existing.items()},
            "ephemeral_ports": list(self.ephemeral_ports),
            "configurations": dict(self.configurations),
        }
