# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards and sizes that follow from one another."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
)
from ansible_collections.inferops.ascend.tests.unit.plugins.plugin_utils._model.resolving import (
    rejection,
    spec,
)


def test_sizes_settle_the_cards_and_the_cards_settle_the_sizes() -> None:
    def sizes(**wanted: object) -> tuple[int, int, int]:
        got = spec({"model": "Qwen2.5-72B", **wanted})
        return got["cards"], got["tensor_parallel_size"], got["pipeline_parallel_size"]

    assert sizes(tensor_parallel_size=4) == (4, 4, 1)
    assert sizes(tensor_parallel_size=4, pipeline_parallel_size=2) == (8, 4, 2)
    assert sizes(cards=8, tensor_parallel_size="4") == (8, 4, 2)
    assert sizes(cards=8, pipeline_parallel_size=4) == (8, 2, 4)


def test_heads_that_do_not_divide_are_rejected_in_any_case() -> None:
    wanted = {"model": "Qwen3-14B", "cards": 3}
    complaint = (
        "Qwen3-14B cannot be split over 3 cards: Total number of attention heads (40) must be"
        " divisible by tensor parallel size (3). The sizes up to 8 that work are 1, 2, 4, 8: set"
        " cards to one of them, or keep 3 cards with tensor_parallel_size 1 and"
        " pipeline_parallel_size 3."
    )
    assert rejection(wanted) == complaint
    assert rejection(wanted, allow_untested=True) == complaint
    # 48 heads divide by 6, 8 key/value heads do not.
    assert rejection({"model": "InternVL2.5-26B", "cards": 6}) == (
        "InternVL2.5-26B cannot be split over 6 cards: the number of key/value heads (8) must be"
        " divisible by tensor parallel size (6), or divide it. The sizes up to 12 that work are"
        " 1, 2, 4, 8: set cards to one of them, or keep 6 cards with tensor_parallel_size 2 and"
        " pipeline_parallel_size 3."
    )
    # More ranks than key/value heads: they are replicated.
    assert spec({"model": "Qwen2.5-7B", "cards": 28})["tensor_parallel_size"] == 28
    assert spec({"model": "Qwen3-14B", "cards": 3, "pipeline_parallel_size": 3})["cards"] == 3


def test_sizes_whose_product_is_not_the_cards() -> None:
    assert rejection({"model": "Qwen2.5-72B", "cards": 8, "tensor_parallel_size": 3}) == (
        "Qwen2.5-72B requests 8 cards, tensor_parallel_size 3 and pipeline_parallel_size 1; the"
        " product of the two sizes is the number of cards. Leave the sizes out for"
        " tensor_parallel_size 8, or make the product 8."
    )


@pytest.mark.parametrize(
    ("model", "sizes", "expected"),
    [
        ("Qwen3-235B-A22B", {"pipeline_parallel_size": 2}, (16, 8, 2)),
        ("Qwen3-235B-A22B", {"tensor_parallel_size": 8}, (16, 8, 2)),
        ("Qwen3-14B", {"tensor_parallel_size": 2}, (2, 2, 1)),
        ("Qwen3-14B", {"pipeline_parallel_size": 2}, (2, 1, 2)),
        ("Qwen2.5-72B", {"tensor_parallel_size": 4, "pipeline_parallel_size": 2}, (8, 4, 2)),
    ],
)
def test_one_size_alone_takes_the_rows_cards_in_whole_groups(
    model: str, sizes: dict[str, int], expected: tuple[int, int, int]
) -> None:
    spec = resolve({"model": model, **sizes}, load_catalogue(), Options()).as_dict()
    keys = ("cards", "tensor_parallel_size", "pipeline_parallel_size")
    assert tuple(spec[key] for key in keys) == expected
