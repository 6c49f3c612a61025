# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which trial comes next: the least cards and the longest length of a model, in few starts.

The search has no state but the trials that were run, so a run that was cut off goes on from a list
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from .._base.errors import AscendError

K = 1024
# The lengths of the published table in K, then on to the model's native context.
_METHOD = (0.5, 1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64)
_STRIDE = 32 * K


def lengths_up_to(longest: int, shortest: int = 1) -> tuple[int, ...]:
    """The lengths (tokens) that are tried, ascending: those of the method from `shortest`, and `longest`.

    Raises AscendError where `shortest` is above `longest`.
    """
    if not 1 <= shortest <= longest:
        raise AscendError(
            f"The shortest length to try is {shortest} tokens and the longest {longest}; the longest"
            " has to be the larger of both."
        )
    usual = [int(each * K) for each in _METHOD]
    usual += range(usual[-1] + _STRIDE, longest, _STRIDE)
    return (*(each for each in usual if shortest <= each < longest), longest)


@dataclass(frozen=True)
class Step:
    """One trial to run: this length (tokens) on so many cards."""

    cards: int
    length: int


@dataclass(frozen=True)
class Tried:
    """A trial that was run. `passed`: it started and completed the benchmark; else it was too large.

    `fits`: the longest length that the engine itself said there is memory for.
    """

    step: Step
    passed: bool
    fits: int | None = None


@dataclass(frozen=True)
class _Range:
    """What is known of one number of cards, in places of the list of lengths.

    `low`: the longest that passed, -1 if none has. `high`: the shortest that is too large; `tried`:
    a trial showed that, and no estimate of the engine's says that the one before fits. `estimated`:
    the engine has printed one.
    """

    low: int
    high: int
    tried: bool
    estimated: bool


@dataclass(frozen=True)
class Search:
    """Numbers of cards and lengths, each ascending, of which the first combination that works counts.

    A larger number of cards is tried only where a smaller one carries none of the lengths.
    """

    cards: tuple[int, ...]
    lengths: tuple[int, ...]

    def next_step(self, tried: Sequence[Tried]) -> Step | None:
        """The trial that tells most; None when the answer is known.

        The longest length comes first: where it is too long, the engine mostly prints what fits, and
        the next trial is that. Where it prints nothing the shortest length tells whether the model
        fits at all, and then the range is halved.
        """
        for cards in self.cards:
            known = self._range(cards, tried)
            if known.high - known.low <= 1:
                if known.low >= 0:
                    return None
                continue
            return Step(cards, self.lengths[self._place(known)])
        return None

    def _place(self, known: _Range) -> int:
        if not known.tried:
            return known.high - 1
        if known.low < 0 and not known.estimated:
            return 0
        return (known.low + known.high) // 2

    def _range(self, cards: int, tried: Sequence[Tried]) -> _Range:
        low, high, estimates = -1, len(self.lengths), []
        for each in tried:
            if each.step.cards != cards or each.step.length not in self.lengths:
                continue
            place = self.lengths.index(each.step.length)
            if each.passed:
                low = max(low, place)
                continue
            high = min(high, place)
            if each.fits is not None:
                estimates.append(sum(length <= each.fits for length in self.lengths))
        high_tried = high < len(self.lengths)
        if estimates and min(estimates) <= high:
            high, high_tried = min(estimates), False
        return _Range(low, max(high, low + 1), high_tried, bool(estimates))

    def answer(self, tried: Sequence[Tried]) -> Step | None:
        """The least cards and their longest length; None where no number of cards carries any."""
        for cards in self.cards:
            low = self._range(cards, tried).low
            if low >= 0:
                return Step(cards, self.lengths[low])
        return None

    def starts(self, run: Callable[[Step], Tried]) -> int:
        """How many trials it takes where `run` tells how each ends."""
        tried: list[Tried] = []
        while step := self.next_step(tried):
            tried.append(run(step))
        return len(tried)

    @cached_property
    def most_starts(self) -> int:
        """The largest number of trials that can be needed, where the engine never prints what fits."""

        def by_limit(cards: int, longest: int) -> Callable[[Step], Tried]:
            def run(step: Step) -> Tried:
                fits = step.cards == cards and step.length <= longest
                return Tried(step, fits or step.cards > cards)

            return run

        ends = (self.lengths[0] - 1, *self.lengths)
        return max(self.starts(by_limit(cards, end)) for cards in self.cards for end in ends)
