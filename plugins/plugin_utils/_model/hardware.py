# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hardware profiles the cards of a host match. Memory is in MB as npu-smi prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .profiles import Profile, load_profiles

# A card prints between 0.87 (300I Duo of 24 GB) and 1.0 of its nominal memory; the nominal sizes
# 24, 32, 48, 64, 96 and 128 are further apart than that.
_LEAST_OF_NOMINAL, _MOST_OF_NOMINAL = 0.8, 1.02


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
