# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a host for its services, all at once.

In two phases: the host alone, then the services where they are placed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._place.service import PlacedService
from ..settings import Settings
from . import cards, services, software
from .checks import HostChecks


def check_host(
    facts: Mapping[str, Any], settings: Settings, specs: Sequence[Mapping[str, Any]]
) -> HostChecks:
    """Everything that needs no placed services.

    facts: what the module host_info returns. specs: resolved services.
    Raises AscendError for settings of the checks that cannot be used.
    """
    checks = HostChecks(facts, settings, specs)
    cards.check_npu_smi(checks)
    if checks.shown:
        cards.check_profile(checks)
        cards.check_ids(checks)
        cards.check_health(checks)
        cards.check_excluded(checks)
        cards.check_processes(checks)
        cards.check_memory(checks)
    software.check_driver(checks)
    software.check_access(checks)
    software.check_cann(checks)
    software.check_engine(checks)
    software.check_versions(checks)
    services.check_existing(checks)
    services.check_weights(checks)
    return checks


def check_services(checks: HostChecks, placed: Sequence[PlacedService]) -> None:
    """Placed services against the cards and ports of their host."""
    by_id = {card["logic_id"]: card for card in checks.cards}
    for service in placed:
        if service.spec.state != "started":
            continue
        its_cards = [by_id[card] for card in service.placement.cards]
        services.check_memory(checks, service, its_cards)
        services.check_mask(checks, service, its_cards)
        ports = service.placement.port, service.placement.hccl_ports
        services.check_ports(checks, service.name, *ports, len(its_cards))
