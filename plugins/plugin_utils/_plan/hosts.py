# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts of an inventory have, read from their variables. Only what is needed is rendered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .._model.hardware import matching_profiles
from .._model.profiles import Profile, profile
from .._model.resolve import Options
from .._place.host_cards import HostCards, host_devices
from .._place.placement import place
from .._place.ports import PortSettings
from .._place.service import ExistingPlacement
from ..settings import PLACEMENT_VARIABLES, Settings
from .inventory import Inventory, Problems, Reader, TaggedValue, holds_template


@dataclass(frozen=True)
class Hardware:
    """What a host has, shared by those that are alike.

    kind: equal for hosts on which a request is resolved alike. cards, excluded: logic ids.
    engine_version: of vLLM, by which options are known.
    """

    kind: str
    profile: str | None
    card_memory_gb: float
    cards: tuple[int, ...]
    excluded: tuple[int, ...]
    unit: int
    ports: PortSettings
    tables: tuple[str, ...]
    estimate: bool
    allow_untested: bool
    engine_version: str

    @property
    def options(self) -> Options:
        return Options(
            card_memory_gb=self.card_memory_gb,
            estimate=self.estimate,
            allow_untested=self.allow_untested,
            profile=self.profile,
        )


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
        profile=declared.name if declared else None,
        card_memory_gb=memory,
        cards=ids,
        excluded=tuple(sorted({*settings.excluded_cards, *(settings.unavailable_cards or ())})),
        unit=settings.cards_per_board_of(declared),
        ports=settings.ports(),
        tables=settings.tables,
        estimate=settings.lookup.estimate,
        allow_untested=settings.lookup.allow_untested,
        engine_version=settings.options_version,
    )


def _named(found: Mapping[str, Hardware]) -> dict[str, Hardware]:
    """The hardware of all hosts with its kind: equal where requests are resolved alike."""
    kinds: dict[tuple[object, ...], str] = {}
    made: dict[int, Hardware] = {}
    named = {}
    for host in sorted(found):
        hardware = found[host]
        if id(hardware) not in made:
            key = (
                hardware.profile,
                len(hardware.cards),
                hardware.card_memory_gb,
                hardware.unit,
                hardware.tables,
                hardware.estimate,
                hardware.allow_untested,
                hardware.engine_version,
            )
            if key not in kinds:
                text = hardware.profile or "undeclared"
                known = profile(hardware.profile) if hardware.profile else None
                if known is None or (known.cards, known.card_memory_gb) != key[1:3]:
                    text += f" ({len(hardware.cards)} cards of {hardware.card_memory_gb:g} GB)"
                same = sum(
                    other == text or other.startswith(f"{text} #") for other in kinds.values()
                )
                kinds[key] = f"{text} #{same + 1}" if same else text
            made[id(hardware)] = Hardware(**{**hardware.__dict__, "kind": kinds[key]})
        named[host] = made[id(hardware)]
    return named


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
                values[name] = self.rendered(host, kept, name)
                if isinstance(values[name], TaggedValue):
                    raise AscendError(f"{name} is encrypted, and the plan has to read it.")
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
    return [each.as_dict() for each in place(specs, host, hardware.ports, existing or {})]
