# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kinds of hosts that capacity is asked for: those of an inventory, or named profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._base.errors import AscendError
from .._base.values import shown
from .._base.variables import Reader
from .._model.options import list_of
from .._model.profiles import Profile, load_profiles, matching_profiles
from .._model.resolve import Options
from .._place.host_cards import host_devices
from ..settings import Settings


@dataclass(frozen=True)
class HostKind:
    """Hosts on which a model needs the same.

    Attributes:
        name: of its profile, or what its cards are; several of one name are numbered.
        hosts: their names; empty for a profile that was named.
        cards: that services may use on one host; None where nobody says.
        options: how models are resolved there.
        tables: paths of the user's model tables.
        engine_version: of vLLM or vllm-ascend.
        contacted: cards and engine were read from the hosts themselves.
    """

    name: str
    hosts: tuple[str, ...]
    cards: int | None
    options: Options
    tables: tuple[str, ...]
    engine_version: str
    contacted: bool = False

    @property
    def memory(self) -> float:
        """Nominal memory of one card in GB."""
        return self.options.card_memory_gb


def named_profiles(names: Sequence[str], settings: Settings) -> list[HostKind]:
    """A kind for each named profile, with the tables and the engine of these settings.

    Raises AscendError for a profile that is not known, or what is not a version of the engine.
    """
    profiles = load_profiles()
    list_of(settings.engine_version)
    for name in names:
        if name not in profiles:
            raise AscendError(
                f"There is no hardware profile {shown(name)} (capacity_profiles). The profiles are"
                f" {', '.join(profiles)}."
            )
    return [
        HostKind(
            name=known.name,
            hosts=(),
            cards=known.cards,
            options=replace(
                settings.lookup, card_memory_gb=known.card_memory_gb, profile=known.name
            ),
            tables=settings.tables,
            engine_version=settings.engine_version,
        )
        for known in (profiles[name] for name in dict.fromkeys(names))
    ]


def kinds_of(
    hosts: Iterable[tuple[str, Reader]], answers: Mapping[str, Mapping[str, Any]] | None
) -> tuple[list[HostKind], dict[str, str]]:
    """(the kinds of these hosts, why a host is left out).

    hosts: names, with what reads their variables. answers: what host_info returned of each, where
    they were asked; None where nobody was.
    """
    kinds: dict[HostKind, list[str]] = {}
    left_out = {}
    for host, read in hosts:
        try:
            if answers is None:
                kind = _declared(Settings(read))
            else:
                kind = _real(read, answers.get(host) or {})
        except AscendError as error:
            left_out[host] = str(error)
        else:
            kinds.setdefault(kind, []).append(host)
    return _numbered(replace(kind, hosts=tuple(names)) for kind, names in kinds.items()), left_out


def _numbered(kinds: Iterable[HostKind]) -> list[HostKind]:
    seen: dict[str, int] = {}
    result = []
    for kind in kinds:
        count = seen[kind.name] = seen.get(kind.name, 0) + 1
        result.append(kind if count == 1 else replace(kind, name=f"{kind.name} #{count}"))
    return result


def _declared(settings: Settings) -> HostKind:
    """What the variables of a host say of it. Raises AscendError where they do not."""
    memory = settings.card_memory_gb
    if memory is None:
        raise AscendError(
            "its variables do not say what cards it has. Set ascend_host_profile, or let the host be"
            " asked with -e capacity_contact=true."
        )
    list_of(settings.engine_version)
    return _kind(settings, memory, settings.declared_cards, settings.engine_version)


def _real(read: Reader, answer: Mapping[str, Any]) -> HostKind:
    """What a host showed of itself; its variables count for all else. Raises AscendError."""
    npu = answer.get("npu")
    seen = npu.get("cards") if isinstance(npu, Mapping) else None
    if not seen:
        problems = npu.get("problems") or [] if isinstance(npu, Mapping) else []
        said = [answer.get("msg"), *(problem.get("message") for problem in problems)]
        why = next((str(word) for word in said if word), "it showed no cards")
        raise AscendError(f"it could not be asked for its cards: {' '.join(why.split())}")
    found = _profile_of(seen, Settings(read).profile)
    real = {"ascend_host_profile": found.name, "vllm_service_card_memory_gb": None}
    settings = Settings(lambda name: real[name] if name in real else read(name))
    engine = answer.get("engine") or {}
    installed = engine.get("vllm_ascend") or engine.get("vllm")
    version = settings.engine_version
    if installed and not settings.in_containers:
        version = str(installed)
    ids = [card["logic_id"] for card in seen if card.get("logic_id") is not None]
    return replace(_kind(settings, found.card_memory_gb, ids, version), contacted=True)


def _profile_of(cards: Sequence[Mapping[str, Any]], declared: Profile | None) -> Profile:
    """The declared profile if the cards fit it, else one that they fit; alike ones are equal."""
    found = matching_profiles(cards)
    if declared is not None and declared in found:
        return declared
    if len({(each.card_memory_gb, each.visible_memory_gib, each.chip_args) for each in found}) == 1:
        return found[0]
    names = ", ".join(sorted({str(card.get("name")) for card in cards}))
    may = f"may be of {', '.join(each.name for each in found)}" if found else "fit no profile"
    raise AscendError(
        f"its {len(cards)} cards ({names}) {may}. Set ascend_host_profile to the profile of the host."
    )


def _kind(settings: Settings, memory: float, cards: object, version: str) -> HostKind:
    known = settings.profile
    excluded = {*settings.excluded_cards, *(settings.unavailable_cards or ())}
    try:
        usable = None if cards is None else len(set(host_devices(cards)) - excluded)
    except AscendError as error:
        raise AscendError(f"vllm_service_cards: {error}") from error
    return HostKind(
        name=known.name if known else f"cards of {memory:g} GB",
        hosts=(),
        cards=usable,
        options=replace(
            settings.lookup, card_memory_gb=memory, profile=known.name if known else None
        ),
        tables=settings.tables,
        engine_version=version,
    )
