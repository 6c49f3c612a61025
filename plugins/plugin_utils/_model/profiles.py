# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kinds of hosts, from `vars/hardware_profiles.yml`, and which of them the cards of a host match.

Memory of a card is in MB as npu-smi prints it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .._base.errors import AscendError
from .._base.values import shown

# A card prints between 0.87 (300I Duo of 24 GB) and 1.0 of its nominal memory; the nominal sizes
# 24, 32, 48, 64, 96 and 128 are further apart than that.
# What npu-smi prints for the Ascend 910 before the A2, which vllm-ascend does not support.
FIRST_GENERATION = ("910", "910A", "910B", "910ProA", "910ProB", "910PremiumA")
_LEAST_OF_NOMINAL, _MOST_OF_NOMINAL = 0.8, 1.02


@dataclass(frozen=True)
class ChipArg:
    """An option of vLLM that a chip needs.

    Attributes:
        option: its name with dashes.
        value: what is set where the user sets nothing.
        allowed: what a user may write instead.
        unless: (option, key, values): a mapping of the user's that takes its place.
        reason: why.
    """

    option: str
    value: str | bool | float
    allowed: tuple[str | bool | float, ...]
    unless: tuple[str, str, tuple[str, ...]] | None
    reason: str


@dataclass(frozen=True)
class Profile:
    """A kind of host. ``visible_memory_gib``: what the framework sees of a device, if published.

    ``chip_args``: options that its chip needs. ``quadratic_mask``: the engine allocates a mask of
    max_model_len squared times two bytes.
    """

    name: str
    cards: int | None
    cards_per_board: int
    card_memory_gb: float
    visible_memory_gib: tuple[float, ...]
    chips: tuple[str, ...]
    chip_args: tuple[ChipArg, ...] = ()
    quadratic_mask: bool = False


def _chip_arg(entry: Mapping[str, Any]) -> ChipArg:
    unless = None
    for option, keys in entry.get("unless", {}).items():
        for key, values in keys.items():
            unless = (option, key, tuple(values))
    return ChipArg(
        option=entry["option"],
        value=entry["value"],
        allowed=tuple(entry.get("allowed", [entry["value"]])),
        unless=unless,
        reason=entry["reason"],
    )


@lru_cache(maxsize=1)
def load_profiles() -> Mapping[str, Profile]:
    """The shipped hardware profiles by name."""
    return {
        entry["name"]: Profile(
            name=entry["name"],
            cards=entry["cards"],
            cards_per_board=entry["cards_per_board"],
            card_memory_gb=float(entry["card_memory_gb"]),
            visible_memory_gib=tuple(entry["visible_memory_gib"] or ()),
            chips=tuple(entry["chips"]),
            chip_args=tuple(_chip_arg(item) for item in entry.get("chip_args", ())),
            quadratic_mask=entry.get("quadratic_mask", False),
        )
        for entry in vars_file("hardware_profiles.yml")["profiles"]
    }


def profile(name: str) -> Profile:
    """The hardware profile of that name.

    Raises AscendError: there is none.
    """
    profiles = load_profiles()
    if name not in profiles:
        raise AscendError(
            f"There is no hardware profile {shown(name)}. Set ascend_host_profile to one of"
            f" {', '.join(profiles)}."
        )
    return profiles[name]


def matching_profiles(cards: Sequence[Mapping[str, Any]]) -> list[Profile]:
    """Profiles whose chip, memory and number of cards match these records of npu_info."""
    return [
        profile
        for profile in load_profiles().values()
        if cards
        and all(card["name"] in profile.chips and has_memory(card, profile) for card in cards)
        and profile.cards in (None, len(cards))
    ]


def has_memory(card: Mapping[str, Any], profile: Profile) -> bool:
    """Whether a card may have the memory of a profile; true where npu-smi does not print it."""
    total, nominal = card["memory_total_mb"], profile.card_memory_gb * 1024
    if total is None:
        return True
    return bool(_LEAST_OF_NOMINAL * nominal <= total <= _MOST_OF_NOMINAL * nominal)


def visible_memory(card: Mapping[str, Any], declared: Profile | None) -> float | None:
    """The published figure of what the framework sees of such a card, if there is one.

    Of the declared profile if the card has its memory, else of those that the card matches: a
    wrong or missing declaration makes no idle card look full.
    """
    total = card["memory_total_mb"]
    if total is None:
        return None
    profiles = (
        [declared]
        if declared and has_memory(card, declared)
        else [
            each
            for each in load_profiles().values()
            if card["name"] in each.chips and has_memory(card, each)
        ]
    )
    figures = [gib * 1024 for each in profiles for gib in each.visible_memory_gib]
    return max((each for each in figures if each <= total + 1), default=None)
