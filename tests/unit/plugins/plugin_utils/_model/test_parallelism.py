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
    assert sizes(cards=8, tensor_parallel_size="4", pipeline_parallel_size=2) == (8, 4, 2)
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
    begin = "Qwen2.5-72B requests 8 cards and tensor_parallel_size"
    rule = (
        "and the number of cards is the product of data_parallel_size, tensor_parallel_size and"
        " pipeline_parallel_size. Write"
    )
    # Neither is the rest turned into stages, nor into copies, without a word.
    assert rejection({"model": "Qwen2.5-72B", "cards": 8, "tensor_parallel_size": 4}) == (
        f"{begin} 4, {rule} tensor_parallel_size 4 with data_parallel_size 2 (each rank has all"
        " weights) or with pipeline_parallel_size 2 (layers in 2 stages), or tensor_parallel_size 8"
        " alone."
    )
    assert rejection({"model": "Qwen2.5-72B", "cards": 8, "tensor_parallel_size": 3}) == (
        f"{begin} 3, {rule} tensor_parallel_size 2 with data_parallel_size 4 (each rank has all"
        " weights) or with pipeline_parallel_size 4 (layers in 4 stages), or tensor_parallel_size 8"
        " alone."
    )
    assert "data_parallel_size 2 (ranks share the experts)" in rejection(
        {"model": "Qwen3-235B-A22B", "cards": 16, "tensor_parallel_size": 8}
    )
    # The heads of 40 do not divide by 3.
    assert rejection({"model": "Qwen3-14B", "cards": 3, "data_parallel_size": 2}).endswith(
        "Write tensor_parallel_size 1 with data_parallel_size 3 (each rank has all weights) or with"
        " pipeline_parallel_size 3 (layers in 3 stages)."
    )


def test_a_size_that_is_too_small_for_the_model_is_rejected_with_those_that_add_up() -> None:
    assert (
        "Give it 4 cards: tensor_parallel_size 2 with data_parallel_size 2 (each rank has all"
        " weights) or with pipeline_parallel_size 2 (layers in 2 stages), or tensor_parallel_size 4"
        " alone, or set allow_untested"
    ) in rejection({"model": "Qwen2.5-72B", "tensor_parallel_size": 2})


def test_data_parallel_ranks_multiply_the_cards() -> None:
    def sizes(model: str, **wanted: object) -> tuple[int, int, int, int]:
        got = spec({"model": model, **wanted})
        return (
            got["cards"],
            got["data_parallel_size"],
            got["tensor_parallel_size"],
            got["pipeline_parallel_size"],
        )

    # Each rank has a copy of a dense model; ranks of a mixture share the experts.
    assert sizes("Qwen2.5-72B", data_parallel_size=2) == (8, 2, 4, 1)
    assert sizes("Qwen3-235B-A22B", data_parallel_size=2) == (16, 2, 8, 1)
    assert sizes("Qwen3-235B-A22B", cards=16, data_parallel_size=4) == (16, 4, 4, 1)
    assert sizes("Qwen3-14B", data_parallel_size=2, tensor_parallel_size=2) == (4, 2, 2, 1)
    assert sizes("Qwen2.5-72B", cards=16, data_parallel_size=2, pipeline_parallel_size=2) == (
        16,
        2,
        4,
        2,
    )
    few = rejection({"model": "Qwen2.5-72B", "cards": 8, "data_parallel_size": 4})
    assert few.startswith(
        "Qwen2.5-72B requests 8 cards; it needs at least 16 of 64 GB for 4 data-parallel ranks ("
    )


def test_a_mixture_of_experts_over_ranks_by_estimate() -> None:
    request = {"model": "Qwen3-235B-A22B", "cards": 32, "data_parallel_size": 4}
    found = spec(request, card_memory_gb=32, estimate=True)
    assert found["provenance"]["estimate"]["cards"] == 32
    # 423.2 GiB of experts on 32 cards, the other 14.7 GiB on 8.
    assert found["provenance"]["estimate"]["weights_gib"] == 15.1
    # A copy of a dense model does not become lighter by another one.
    dense = {"model": "Qwen2.5-72B", "cards": 16, "data_parallel_size": 2}
    found = spec(dense, card_memory_gb=32, estimate=True)
    assert found["provenance"]["estimate"]["weights_gib"] == 16.9


@pytest.mark.parametrize(
    ("model", "sizes", "expected"),
    [
        ("Qwen3-235B-A22B", {"pipeline_parallel_size": 2}, (16, 8, 2)),
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
