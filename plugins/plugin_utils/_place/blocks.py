# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Blocks of cards: consecutive by logic id, and aligned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

EVERYWHERE: Mapping[int, int] = MappingProxyType({})


def power_of_two(count: int) -> bool:
    return count & (count - 1) == 0


def block_starts(
    cards: Iterable[int],
    count: int,
    unit: int,
    position: Mapping[int, int] = EVERYWHERE,
    *,
    align: bool = True,
) -> list[int]:
    """First ids of the blocks of `count` consecutive cards in `cards`.

    A block of 2^n cards starts at a multiple of its size; one of at least `unit` cards (a power of
    two) at a multiple of that.

    position: where a card is, counted in complete boards, if that is not its id. A block of `unit`
    or more is consecutive in that too.
    """
    free = set(cards)
    steps = []
    if align and power_of_two(count):
        steps.append(count)
    if align and count >= unit:
        steps.append(unit)
    return [
        first
        for first in sorted(free)
        if all(position.get(first, first) % step == 0 for step in steps)
        and all(card in free for card in range(first, first + count))
        and (
            not steps
            or count == 1
            or all(
                position.get(first + n, first + n) == position.get(first, first) + n
                for n in range(count)
            )
        )
    ]


def block_shape(count: int, unit: int) -> str:
    """What a block of `count` cards must be, as words after "block"."""
    if count > 1 and power_of_two(count):
        return f" that starts at a multiple of {max(count, unit)}"
    if unit > 1 and count >= unit:
        return f" that starts at a multiple of {unit}"
    return " of consecutive ids" if count > 1 else ""


def largest_blocks(cards: list[int], count: int, unit: int, position: Mapping[int, int]) -> str:
    """The largest blocks in `cards`, for a service that did not get `count` of them."""
    run = max(
        (n for n in range(1, len(cards) + 1) if block_starts(cards, n, 1, align=False)), default=0
    )
    text = f"the longest run among them has {run}"
    if count > 1 and power_of_two(count):
        aligned = max(
            (n for n in (1, 2, 4, 8, 16, 32) if block_starts(cards, n, unit, position)), default=0
        )
        text += f", the largest aligned block {aligned}"
    return text
