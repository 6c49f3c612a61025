# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a trial runs: on cards that nothing uses, beside the services of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.words import listed
from .._model.spec import Spec
from .._place.host_cards import HostCards
from .._place.placement import place
from .._place.ports import PORT_MAX
from .._place.service import ExistingPlacement, PlacedService, ServiceRequest
from ..settings import Settings


@dataclass(frozen=True)
class HostNow:
    """What is on the host: npu_info's cards whose ids are known, reasons by card that is unavailable,
    our services, ports on which somebody listens, and the host's range of ephemeral ports."""

    cards: Sequence[Mapping[str, Any]]
    unavailable: Mapping[int, str]
    existing: Mapping[str, ExistingPlacement]
    ports: Sequence[int]
    ephemeral_ports: Sequence[int]

    @property
    def taken(self) -> dict[int, str]:
        """Reasons by card that no trial may use."""
        found = {
            card: f"service {name} runs on it"
            for name, each in self.existing.items()
            if each.running
            for card in each.cards
        }
        return {**found, **self.unavailable}

    def free_port(self, base: int) -> int:
        """The first port from `base` that no service has and nobody listens on."""
        used = {*self.ports, *(each.port for each in self.existing.values())}
        return next(port for port in range(base, PORT_MAX) if port not in used)

    def describe(self, excluded: Sequence[int]) -> str:
        """Free cards and why others are not, for people."""
        taken = self.taken
        free = [
            card["logic_id"]
            for card in self.cards
            if card["logic_id"] not in taken and card["logic_id"] not in excluded
        ]
        reasons = "".join(f"; card {card}: {reason}" for card, reason in sorted(taken.items()))
        return f"free cards: {listed(free)}{reasons}"


def place_trial(spec: Spec, now: HostNow, settings: Settings) -> PlacedService:
    """The trial on the first free block of cards. Raises AscendError where there is none."""
    port = now.free_port(settings.ports(now.ephemeral_ports).base)
    placement = place(
        [ServiceRequest.parse({**spec.as_dict(), "port": port})],
        HostCards.parse(
            list(now.cards), settings.excluded_cards, now.taken, settings.cards_per_board
        ),
        settings.ports(now.ephemeral_ports),
    )[0]
    return PlacedService(spec, placement)
