# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estimate agrees with the published tables and with the memory that engines printed."""

from __future__ import annotations

import pytest

from .calibration import comparisons, report, splits, table

# The table's own warnings call these two suspect.
SUSPECT = {"Qwen2.5-VL-32B", "InternVL2-Llama3-76B-AWQ"}


@pytest.mark.parametrize("name, rows", [("ascend-64gb", 61), ("ascend-vllm-0.7.2", 20)])
def test_the_least_cards_are_those_of_the_tables(name: str, rows: int) -> None:
    found = comparisons(table(name))
    assert len(found) == rows
    different = {each.row.model for each in found if not each.same_cards}
    assert different == (SUSPECT if name == "ascend-64gb" else set())


@pytest.mark.parametrize("name", ["ascend-64gb", "ascend-vllm-0.7.2"])
def test_no_length_is_below_a_measured_one(name: str) -> None:
    below = [each for each in comparisons(table(name)) if each.too_short and not each.above_native]
    assert {each.row.model for each in below} <= SUSPECT
    # By a careful calculation neither, but where the published row fills the card.
    careful = [
        each.row.model
        for each in comparisons(table(name))
        if each.on_cards
        and each.on_cards.low < (each.row.max_model_len or 0)
        and not each.above_native
    ]
    assert set(careful) <= SUSPECT


def test_most_of_what_is_documented_is_estimated_alike() -> None:
    found = [each for each in comparisons(table("vllm-ascend-tutorials")) if each.least]
    agreed = [each for each in found if each.same_cards or (each.least and each.least.borderline)]
    assert len(found) >= 20
    assert len(agreed) / len(found) >= 0.75, report()


def test_the_overhead_is_that_of_the_memory_that_was_printed() -> None:
    for given, rest, (expected, most, least) in splits():
        if "left_out" in given:
            continue
        # Never more memory for keys and values than the engine found.
        assert least - 0.01 <= rest <= expected + 0.01 <= most + 0.01, given["source"]


def test_the_report_names_every_difference() -> None:
    text = report()
    for model in SUSPECT:
        assert model in text
    assert "ascend-64gb: the same number of cards in 59 of 61 rows" in text
    assert "ascend-vllm-0.7.2: the same number of cards in 20 of 20 rows" in text
    assert "59581514124" in text
