# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estimate stays on the safe side of what vLLM-Ascend printed on real devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    GIB,
    Device,
    cache_bytes,
    estimate,
    longest,
    rank_weights,
    tensor_parallel_fault,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import Facts, load_facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.shape import Shape, shape_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.split import Split

A2 = Device(60.97, is_310p=False)
A2_32 = Device(29.5, is_310p=False)
DUO = Device(42.67, is_310p=True)

# Model, visible GiB, utilization, ranks, GiB that the engine found for keys and values. Sources, in
# order: public GitHub files 56006381441, 58033495124, 55767954568, 65847840435; vllm-ascend issue
# 9372. The shape of the second is that of Qwen2.5-14B.
PRINTED = [
    ("Qwen3-0.6B", 61.27, 0.92, 1, 54.98),
    ("Qwen2.5-14B", 60.96, 0.6, 1, 8.04),
    ("Qwen3-0.6B", 60.97, 0.7, 2, 41.04),
    ("Qwen3-Embedding-0.6B", 61.28, 0.9, 1, 53.79),
    ("Qwen3-14B", 29.5, 0.92, 1, -0.87),
]


def shape(model: str) -> Shape:
    return shape_of(load_facts()[model])


def answer(model: str, device: Device, share: float, split: Split | None = None) -> Any:
    found = estimate(load_facts()[model], shape(model), device, share, split)
    return found.cards, found.longest


@pytest.mark.parametrize(("model", "visible", "utilization", "ranks", "printed"), PRINTED)
def test_the_estimate_never_promises_more_than_the_engine_found(
    model: str, visible: float, utilization: float, ranks: int, printed: float
) -> None:
    # A native context without end shows the memory itself.
    facts = replace(load_facts()[model], native_context=10**9)
    assert facts.num_hidden_layers and facts.num_key_value_heads and facts.head_dim
    per_token = (
        2 * facts.num_hidden_layers * facts.num_key_value_heads // ranks * facts.head_dim * 2
    )
    found = longest(shape_of(facts), Device(visible, is_310p=False), utilization, Split(ranks))
    assert found * per_token / GIB <= max(printed, 0)
    # Cautious, but not by more than the largest overhead that was seen.
    assert found * per_token / GIB > printed - (2.2 if ranks == 1 else 5.2)


def test_the_engines_own_count_of_tokens_is_not_exceeded() -> None:
    facts = replace(load_facts()["Qwen2.5-14B"], native_context=10**9)
    assert (
        longest(shape_of(facts), Device(60.96, is_310p=False), 0.6, Split(1)) == 41 * 1024
    )  # the engine: 43904


def test_the_length_stops_at_the_native_context() -> None:
    assert longest(shape("Qwen3-8B"), A2, 0.9, Split(1)) == 40960


def test_an_encoder_keeps_no_keys_and_values() -> None:
    assert answer("bge-m3", A2_32, 0.9) == (1, 8192)
    assert answer("bge-base-zh-v1.5", A2_32, 0.9) == (1, 512)


def test_the_least_number_of_cards_is_a_power_of_two_that_the_heads_divide_by() -> None:
    facts = load_facts()
    assert answer("Qwen3-14B", A2_32, 0.9) == (2, 40960)
    assert answer("Qwen2.5-72B", A2_32, 0.9) == (8, 32768)
    assert answer("Qwen3-14B", A2_32, 0.9, Split(1)) == (1, 0)
    # 14 heads, 2 key/value heads: 4 is not among the sizes.
    assert tensor_parallel_fault(facts["Qwen2-0.5B"], 2) is None
    assert tensor_parallel_fault(facts["Qwen2-0.5B"], 4) == (
        "Total number of attention heads (14) must be divisible by tensor parallel size (4)"
    )
    assert tensor_parallel_fault(facts["Qwen2-0.5B"], 7) == (
        "the number of key/value heads (2) must be divisible by tensor parallel size (7), or"
        " divide it"
    )


def test_stages_share_the_layers() -> None:
    facts = replace(load_facts()["Qwen2.5-72B"], native_context=10**9)
    tensor = longest(shape_of(facts), A2, 0.9, Split(4))
    assert tensor == longest(shape_of(facts), A2, 0.9, Split(2, 2)) > 0


def test_data_parallel_ranks_share_experts_and_nothing_else() -> None:
    dense = shape("Qwen2.5-72B")
    assert rank_weights(dense, Split(4, data=2)) == rank_weights(dense, Split(4))
    assert longest(dense, A2, 0.9, Split(4, data=2)) == longest(dense, A2, 0.9, Split(4))
    # 94 layers of 128 experts with 3 matrices of 4096 x 1536, two bytes each.
    mixture = shape("Qwen3-235B-A22B")
    experts = 94 * 128 * 3 * 4096 * 1536 * 2
    rest = 470187269120 - experts
    assert rank_weights(mixture, Split(8, data=2)) == pytest.approx(
        experts / 16 + rest / 8, rel=1e-4
    )
    assert rank_weights(mixture, Split(16)) == pytest.approx(470187269120 / 16)
    # Two services with one rank each hold as much on a card as one with both.
    apart = Split(8, data=2, ranks=1)
    assert (apart.cards, Split(8, data=2).cards) == (8, 16)
    assert rank_weights(mixture, apart) == rank_weights(mixture, Split(8, data=2))
    # A sequence is on the cards of one rank.
    cache = cache_bytes(mixture, 4096, Split(4, data=4), windows=True)
    assert cache == cache_bytes(mixture, 4096, Split(4), windows=True)


def test_a_310p_chip_also_holds_the_mask() -> None:
    facts = replace(load_facts()["Qwen3-0.6B"], native_context=10**9)
    tokens = longest(shape_of(facts), DUO, 0.9, Split(1))
    assert 2 * tokens**2 < 42.67 * GIB  # without the mask it would be ten times as long
    assert longest(shape_of(facts), replace(DUO, is_310p=False), 0.9, Split(1)) > 2 * tokens


@pytest.mark.parametrize(("visible", "printed"), [(43.24, 5.77), (42.67, 5.56)])
def test_a_310p_chip_is_promised_no_more_than_the_engine_found(
    visible: float, printed: float
) -> None:
    """vllm-ascend issue 10122: two chips with 18.8 GiB of weights each, at utilization 0.8."""
    given = replace(shape("Qwen3.6-27B"), weights=2 * 18.8 * GIB, replicated=0, counted=False)
    given = replace(given, native_context=10**9)
    tokens = longest(given, Device(visible, is_310p=True), 0.8, Split(2))
    assert 0 < cache_bytes(given, tokens, Split(2), windows=True) + 2 * tokens**2 <= printed * GIB


def test_what_is_not_known_or_does_not_fit_is_rejected() -> None:
    with pytest.raises(AscendError) as caught:
        shape_of(Facts(native_context=8192))
    assert str(caught.value) == "its weights, layers, heads or native context are not known"
    with pytest.raises(AscendError) as caught:
        answer("Qwen3-Coder-480B-A35B", A2_32, 0.3)
    assert str(caught.value) == (
        "no number of cards up to 32, the most that its heads are divided over, carries 4096 tokens"
    )
