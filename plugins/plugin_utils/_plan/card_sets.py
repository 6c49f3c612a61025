# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sets of a host's cards, as the bits of an int: their blocks, and what fits in them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from .._place.blocks import block_starts, power_of_two

CARDS_MAX = 1024  # per host; card ids are below
LEVELS = CARDS_MAX.bit_length()  # sizes of aligned blocks: 1, 2, 4, ... CARDS_MAX
_BITS = 11  # of one number in `aligned_blocks`, which is at most CARDS_MAX
PACK_TRIALS = 5_000


def mask_of(cards: Iterable[int]) -> int:
    mask = 0
    for card in cards:
        mask |= 1 << card
    return mask


def cards_of(mask: int) -> list[int]:
    return [card for card in range(mask.bit_length()) if mask >> card & 1]


_EVERY = {size: mask_of(range(0, CARDS_MAX, size)) for size in (1 << n for n in range(LEVELS))}


@lru_cache(maxsize=1 << 15)
def aligned_blocks(mask: int) -> int:
    """How many aligned blocks of 1, 2, 4, ... cards lie in `mask`, eleven bits each.

    As a number it is greater where there are more of the largest blocks.
    """
    packed, size, starts = 0, 1, mask
    while starts:
        packed |= starts.bit_count() << _BITS * (size.bit_length() - 1)
        starts &= starts >> size & _EVERY.get(2 * size, 0)
        size *= 2
    return packed


def blocks_of(mask: int) -> list[int]:
    """How many aligned blocks of 1, 2, 4, ... CARDS_MAX cards lie in `mask`."""
    packed = aligned_blocks(mask)
    return [packed >> _BITS * level & (1 << _BITS) - 1 for level in range(LEVELS)]


def largest_block(mask: int) -> int:
    """Cards of the largest aligned block in `mask`."""
    packed = aligned_blocks(mask)
    return 1 << (packed.bit_length() - 1) // _BITS if packed else 0


@lru_cache(maxsize=1 << 15)
def longest_run(mask: int) -> int:
    """Cards of the longest run of consecutive ones."""
    length = 0
    while mask:
        mask &= mask >> 1
        length += 1
    return length


@lru_cache(maxsize=1 << 15)
def blocks_in(free: int, unit: int, count: int) -> tuple[tuple[int, int], ...]:
    """(loss, block) of all blocks of `count` cards in `free`, the best first.

    The loss is in aligned blocks that are free no longer, so a service takes what is of least use
    to larger ones: the buddy system's best fit, which also tells odd counts where to go.
    """
    before, full = aligned_blocks(free), (1 << count) - 1
    found = []
    for start in block_starts(cards_of(free), count, unit):
        rest = free & ~(full << start)
        found.append((before - aligned_blocks(rest), -longest_run(rest), start))
    return tuple((loss, full << start) for loss, _unused, start in sorted(found))


def best_block(free: int, unit: int, count: int) -> tuple[int, int] | None:
    """(loss, block) of the best block of `count` cards in `free`, or None."""
    found = blocks_in(free, unit, count)
    return found[0] if found else None


@lru_cache(maxsize=1 << 15)
def pack(free: int, unit: int, counts: tuple[int, ...]) -> tuple[int, ...] | None:
    """Blocks of these counts, which descend, side by side in `free`; None if there is no way.

    Powers of two from the largest down fit if they can at all, wherever each goes. Other counts are
    tried everywhere, up to PACK_TRIALS; beyond, None.
    """
    if sum(counts) > free.bit_count():
        return None
    exact = all(map(power_of_two, counts))
    trials = 0
    dead: set[tuple[int, int]] = set()

    def lay(number: int, free: int) -> list[int] | None:
        nonlocal trials
        if number == len(counts):
            return []
        if (number, free) in dead:
            return None
        for _unused, block in blocks_in(free, unit, counts[number])[: 1 if exact else None]:
            trials += 1
            if trials > PACK_TRIALS:
                return None
            rest = lay(number + 1, free & ~block)
            if rest is not None:
                return [block, *rest]
        dead.add((number, free))
        return None

    laid = lay(0, free)
    return None if laid is None else tuple(laid)
