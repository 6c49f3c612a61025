# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a host for its services, all at once.

In two phases: the host alone, then the services where they are placed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import (
    cards,
    services,
    software,
    versions,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.checks import (
    HostChecks,
    name_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.options import PreflightOptions
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.report import CheckReport
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import Profile
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.host_cards import HostCards
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.ports import PortSettings
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import PlacedService


def check_host(
    facts: Mapping[str, Any], profile: Profile | None, options: PreflightOptions
) -> HostChecks:
    """Everything that needs no placed services.

    facts: what the module host_info returns. profile: the declared one, None if none is.
    """
    checks = HostChecks(facts, profile, options)
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
    versions.check_versions(checks)
    services.check_existing(checks)
    services.check_weights(checks)
    return checks


def check_services(checks: HostChecks, placed: Sequence[PlacedService]) -> None:
    """Placed services against the cards and ports of their host."""
    by_id = {card["logic_id"]: card for card in checks.cards}
    for service in placed:
        if service.spec.get("state", "started") != "started":
            continue
        its_cards = [by_id[card] for card in service.cards]
        services.check_memory(checks, service, its_cards)
        services.check_mask(checks, service, its_cards)
        services.check_ports(checks, service.name, service.port, service.hccl_ports, len(its_cards))


def check(
    facts: Mapping[str, Any],
    profile: Profile | None,
    options: PreflightOptions,
    *,
    requests: Sequence[Any] = (),
    placement: Mapping[str, Any] | None = None,
    tables: object = None,
    estimate: bool = False,
    allow_untested: bool = False,
) -> CheckReport:
    """Check a host, resolve `requests` where its memory is not as declared, and place its services.

    requests: the services as they were written. placement: the options of `place` that say how.
    tables, estimate, allow_untested: options of the lookup, for `requests`.
    """
    checks = check_host(facts, profile, options)
    real = checks.real_profile
    if real is not None:
        try:
            catalogue = load_catalogue(tables)
        except AscendError:
            requests = ()  # a relative path, which only the lookup can find; it was read there
        for request in requests:
            wanted = Options(
                card_memory_gb=real.card_memory_gb,
                estimate=estimate,
                allow_untested=allow_untested,
                profile=real.name,
            )
            try:
                resolve(request, catalogue, wanted)
            except AscendError as error:
                name = request.get("model") if isinstance(request, Mapping) else request
                checks.add("error", "model", f"{name} on {real.name}", str(error), "")
    if checks.cards:
        check_services(checks, _place(checks, placement or {}))
    return checks.report()


def _place(checks: HostChecks, how: Mapping[str, Any]) -> list[PlacedService]:
    """The services in their places; what cannot be placed is a finding of its own."""

    host = HostCards.parse(
        checks.cards, checks.options.excluded, checks.unavailable, how.get("block_unit", 1)
    )
    ports = PortSettings.parse(
        how.get("port_base", 8000),
        how.get("hccl_port_base", 61000),
        how.get("hccl_port_count", 32),
        checks.ephemeral_ports,
    )

    def attempt(specs: list[Mapping[str, Any]]) -> list[PlacedService]:
        return place(specs, host, ports, checks.existing)

    possible = []
    for spec in checks.options.specs:
        try:
            attempt([spec])
            possible.append(spec)
        except AscendError as error:
            name = spec.get("name") or spec.get("model")
            checks.add("error", "placement", f"service {name}", str(error), "")
    try:
        return attempt(possible)
    except AscendError:
        pass
    # Each fits alone. Those that fit together are checked further, in the order of the list.
    together: list[Mapping[str, Any]] = []
    placed: list[PlacedService] = []
    for spec in possible:
        try:
            placed = attempt([*together, spec])
            together.append(spec)
        except AscendError as error:
            checks.add("error", "placement", f"service {name_of(spec)}", str(error), "")
    return placed
