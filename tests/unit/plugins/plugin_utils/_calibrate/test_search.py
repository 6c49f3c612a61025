# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for the least cards and the longest length, against engines whose limits are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.search import (
    K,
    Search,
    Step,
    Tried,
    lengths_up_to,
)

LENGTHS = lengths_up_to(128 * K)


def engine(limits: Mapping[int, int], prints: bool = True) -> Callable[[Step], Tried]:
    """An engine that carries so many tokens by number of cards; 0: not even the weights fit.

    prints: it says what fits, as vLLM does where the weights leave room for a KV cache.
    """

    def run(step: Step) -> Tried:
        limit = limits[step.cards]
        passed = step.length <= limit
        return Tried(step, passed, limit if prints and limit and not passed else None)

    return run


def search(limits: Mapping[int, int], prints: bool = True) -> tuple[Step | None, list[Step]]:
    """The answer, and the trials that were run for it."""
    asked = Search(tuple(limits), LENGTHS)
    run, tried = engine(limits, prints), []
    while step := asked.next_step(tried):
        assert step not in [each.step for each in tried], "the same trial twice"
        tried.append(run(step))
    return asked.answer(tried), [each.step for each in tried]


def test_lengths_are_those_of_the_method_and_then_go_on_to_the_native_context() -> None:
    assert [length / K for length in lengths_up_to(131072)] == [
        *(0.5, 1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 96, 128)
    ]
    assert lengths_up_to(40960)[-2:] == (32 * K, 40960)
    assert lengths_up_to(512) == (512,)
    assert lengths_up_to(300) == (300,)
    assert lengths_up_to(32768, 4096) == (4096, 8192, 16384, 24576, 32768)


def test_a_shortest_length_above_the_longest_is_rejected() -> None:
    with pytest.raises(AscendError, match="shortest length to try is 8192 tokens"):
        lengths_up_to(4096, 8192)


def test_a_model_that_carries_its_native_context_takes_one_start() -> None:
    assert search({1: 131072}) == (Step(1, 131072), [Step(1, 131072)])


def test_the_estimate_of_the_engine_leads_to_the_answer_in_two_starts() -> None:
    answer, steps = search({1: 35_000, 2: 131072})
    assert answer == Step(1, 32 * K)
    assert steps == [Step(1, 131072), Step(1, 32 * K)]


def test_an_estimate_below_the_shortest_length_ends_a_number_of_cards_in_one_start() -> None:
    answer, steps = search({1: 300, 2: 50_000})
    assert answer == Step(2, 48 * K)
    assert steps == [Step(1, 131072), Step(2, 131072), Step(2, 48 * K)]


def test_cards_on_which_nothing_fits_take_two_starts() -> None:
    answer, steps = search({1: 0, 2: 0, 4: 131072})
    assert answer == Step(4, 131072)
    assert len(steps) == 5


def test_nothing_is_found_where_no_number_of_cards_is_enough() -> None:
    answer, steps = search({1: 0, 2: 0})
    assert answer is None
    assert len(steps) == 4


@pytest.mark.parametrize("limit", [*LENGTHS, 600, 5000, 33_000, 100_000])
def test_without_an_estimate_the_range_is_halved(limit: int) -> None:
    answer, steps = search({1: limit}, prints=False)
    assert answer == Step(1, max(length for length in LENGTHS if length <= limit))
    # The longest, the shortest, and a number of halvings of the 14 lengths.
    assert len(steps) <= 6


@pytest.mark.parametrize("limit", [600, 5000, 33_000, 100_000])
def test_with_an_estimate_no_limit_takes_more_than_two_starts(limit: int) -> None:
    assert len(search({1: limit})[1]) <= 2


def test_an_estimate_that_the_benchmark_does_not_reach_is_halved_from_there() -> None:
    """The engine starts with what it estimated, and runs out of memory when the context fills."""
    asked = Search((1,), LENGTHS)

    def run(step: Step) -> Tried:
        passed = step.length <= 16 * K
        return Tried(step, passed, 70_000 if step.length > 70_000 else None)

    tried: list[Tried] = []
    while step := asked.next_step(tried):
        tried.append(run(step))
    assert asked.answer(tried) == Step(1, 16 * K)
    assert [each.step.length // K for each in tried][:2] == [128, 64]
    assert len(tried) <= 6


def test_a_search_that_was_cut_off_goes_on_with_what_is_known() -> None:
    asked = Search((1, 2), LENGTHS)
    run = engine({1: 0, 2: 20_000}, prints=False)
    complete: list[Tried] = []
    while step := asked.next_step(complete):
        complete.append(run(step))
    for cut in range(len(complete)):
        assert asked.next_step(complete[:cut]) == complete[cut].step
    assert asked.answer(complete[:3]) is None


def test_trials_of_other_lengths_and_cards_do_not_count() -> None:
    asked = Search((1,), LENGTHS)
    tried = [Tried(Step(2, 131072), True), Tried(Step(1, 777), True)]
    assert asked.next_step(tried) == Step(1, 131072)


def test_the_most_starts_are_known_beforehand() -> None:
    assert Search((1,), LENGTHS).most_starts == 6
    # Two for each number of cards that is too small.
    assert Search((1, 2, 4), LENGTHS).most_starts == 2 + 2 + 6
    assert Search((1,), (512,)).most_starts == 1
