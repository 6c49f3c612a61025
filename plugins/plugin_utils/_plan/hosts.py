# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts of an inventory have, read from their variables. Only what is needed is rendered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._base.errors import AscendError
from .._model.profiles import Profile, matching_profiles, profile
from .._model.resolve import Options
from .._place.host_cards import HostCards, host_devices
from .._place.placement import place
from .._place.ports import PortSettings
from .._place.service import ExistingPlacement, ServiceRequest
from .._place.variables import PLACEMENT_VARIABLES
from ..settings import Settings
from .inventory import Inventory, Problems, Reader, holds_template


@dataclass(frozen=True)
class Hardware:
    """What a host has, shared by those that are alike.

    kind: equal for hosts on which a request is resolved alike. cards, excluded: logic ids.
    engine_version: of vLLM, by which its options are known.
    """

    kind: str
    cards: tuple[int, ...]
    excluded: tuple[int, ...]
    unit: int
    ports: PortSettings
    tables: tuple[str, ...]
    options: Options
    engine_version: str


class Unknown(Exception):
    """The inventory does not say what cards the host has."""


def _profile_of(cards: Sequence[Mapping[str, Any]]) -> Profile:
    """The one profile that cards as npu-smi shows them fit; which one does not matter, if alike."""
    found = matching_profiles(cards)
    alike = {(p.card_memory_gb, p.cards_per_board, p.chip_args) for p in found}
    if len(alike) == 1:
        return found[0]
    names = sorted({str(card.get("name")) for card in cards})
    raise AscendError(
        f"it declares no ascend_host_profile, and its cards ({', '.join(names)})"
        + (
            f" may be of {', '.join(p.name for p in found)}."
            if found
            else " are of no profile that this collection knows."
        )
        + " Set ascend_host_profile for it, or vllm_service_cards and vllm_service_card_memory_gb."
    )


def parse_hardware(settings: Settings, seen: Sequence[Mapping[str, Any]] | None) -> Hardware:
    """What a host has.

    seen: its cards as the module npu_info returns them, if it was asked.

    Raises Unknown where the variables do not say it and it was not asked, AscendError for a value
    that cannot be used.
    """
    declared, cards, memory = settings.profile, settings.declared_cards, settings.card_memory_gb
    if memory is None or cards is None:
        if seen is None:
            raise Unknown
        if cards is None:
            cards = [card["logic_id"] for card in seen if card.get("logic_id") is not None]
        if memory is None:
            declared = _profile_of(seen)
            memory = declared.card_memory_gb
    try:
        ids = tuple(sorted(host_devices(cards)))
    except AscendError as error:
        raise AscendError(f"vllm_service_cards: {error}") from error
    if not ids:
        raise AscendError("it has no cards (vllm_service_cards). Take it out of the group.")
    return Hardware(
        kind="",
        cards=ids,
        excluded=tuple(sorted({*settings.excluded_cards, *(settings.unavailable_cards or ())})),
        unit=settings.cards_per_board_of(declared),
        ports=settings.ports(),
        tables=settings.tables,
        options=replace(
            settings.lookup, card_memory_gb=memory, profile=declared.name if declared else None
        ),
        engine_version=settings.options_version,
    )


def _named(found: Mapping[str, Hardware]) -> dict[str, Hardware]:
    """The hardware of all hosts with its kind: equal where requests are resolved alike."""
    kinds: dict[object, str] = {}
    made: dict[int, Hardware] = {}
    for host in sorted(found):
        hardware = found[host]
        if id(hardware) in made:
            continue
        options, count = hardware.options, len(hardware.cards)
        key = (count, hardware.unit, hardware.tables, options, hardware.engine_version)
        if key not in kinds:
            text = options.profile or "undeclared"
            known = profile(options.profile) if options.profile else None
            if known is None or (known.cards, known.card_memory_gb) != (
                count,
                options.card_memory_gb,
            ):
                text += f" ({count} cards of {options.card_memory_gb:g} GB)"
            same = sum(other == text or other.startswith(f"{text} #") for other in kinds.values())
            kinds[key] = f"{text} #{same + 1}" if same else text
        made[id(hardware)] = replace(hardware, kind=kinds[key])
    return {host: made[id(found[host])] for host in sorted(found)}


class HostReader(Reader):
    """Reads what hosts have; hosts that are alike are read once."""

    def __init__(self, inventory: Inventory, problems: Problems) -> None:
        super().__init__(inventory, problems)
        self._hardware: dict[object, Hardware | Unknown | AscendError] = {}

    def hardware(
        self, hosts: Iterable[str], seen: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> tuple[dict[str, Hardware], list[str]]:
        """(what each host has, those that have to be asked)."""
        found: dict[str, Hardware] = {}
        ask = []
        for host in hosts:
            made = self._hardware_of(host, seen.get(host))
            if isinstance(made, Unknown):
                ask.append(host)
            elif isinstance(made, AscendError):
                self.problems.add(str(made), host)
            else:
                found[host] = made
        return _named(found), ask

    def _hardware_of(
        self, host: str, seen: Sequence[Mapping[str, Any]] | None
    ) -> Hardware | Unknown | AscendError:
        raw = self.inventory.variables(host)
        given = [raw.get(key) for key in PLACEMENT_VARIABLES]
        key: object = tuple(map(id, given)) if seen is None else None
        made = self._hardware.get(key) if key else None
        if made is not None:
            return made
        templated = False
        try:
            values = {}
            for name, value in zip(PLACEMENT_VARIABLES, given, strict=True):
                kept = self.as_written(value, name)
                templated = templated or holds_template(kept)
                values[name] = self.readable(host, kept, name)
            if templated:
                key = json.dumps(values, sort_keys=True) if seen is None else None
                made = self._hardware.get(key) if key else None
            made = made or parse_hardware(Settings(values.get), seen)
        except (Unknown, AscendError) as error:
            made = error
        if key:
            self._hardware[key] = made
        return made


def place_on(
    specs: Sequence[Mapping[str, Any]],
    hardware: Hardware,
    existing: Mapping[str, ExistingPlacement] | None = None,
) -> list[dict[str, Any]]:
    """`place` on a host, as the role does it."""
    host = HostCards({card: card for card in hardware.cards}, hardware.excluded, unit=hardware.unit)
    requests = [ServiceRequest.parse(spec) for spec in specs]
    placed = place(requests, host, hardware.ports, existing or {})
    return [each.with_spec(spec) for each, spec in zip(placed, specs, strict=True)]
