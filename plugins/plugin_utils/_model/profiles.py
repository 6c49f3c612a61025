# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kinds of hosts, from `vars/hardware_profiles.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .._base.errors import AscendError
from .._base.values import shown


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
