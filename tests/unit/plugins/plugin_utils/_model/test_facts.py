# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of models beside the tables."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    Device,
    estimate,
    longest,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import (
    expanded,
    load_facts,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.parameters import count
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.shape import shape_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.split import Split

from .resolving import CATALOGUE, rejection, spec

# The models of vllm-ascend's tutorials at 182b75ea84 whose configuration was found.
TUTORIALS = [
    "DeepSeek-R1",
    "DeepSeek-V3.1",
    "DeepSeek-V3.2",
    "DeepSeek-V4-Flash",
    "DeepSeek-V4-Pro",
    "GLM-4.5",
    "GLM-4.6",
    "GLM-4.7",
    "GLM-5",
    "GLM-5.1",
    "GLM-5.2",
    "gemma-4-31B-it",
    "gemma-4-26B-A4B-it",
    "Hunyuan-A13B-Instruct",
    "InternVL3.5-38B",
    "InternVL3.5-241B-A28B",
    "Kimi-K2-Thinking",
    "Kimi-K2.5",
    "Kimi-K2.6",
    "LLaVA-OneVision-Qwen2-0.5B",
    "MiniMax-M2.5",
    "MiniMax-M2.7",
    "MiniMax-M3",
    "Minitron-8B-Base",
    "Mixtral-8x7B-Instruct-v0.1",
    "PaddleOCR-VL-0.9B",
    "Qwen3-VL-8B-Instruct",
    "Qwen3-VL-32B-Instruct",
    "Qwen3-VL-30B-A3B-Instruct",
    "Qwen3-VL-235B-A22B-Instruct",
    "Qwen3-VL-Embedding-2B",
    "Qwen3-VL-Embedding-8B",
    "Qwen3-VL-Reranker-2B",
    "Qwen3-VL-Reranker-8B",
    "Qwen3-235B-A22B",
    "Qwen3-30B-A3B",
    "Qwen3-ASR-1.7B",
    "Qwen3-Coder-30B-A3B-Instruct",
    "Qwen3-8B",
    "Qwen3-32B",
    "Qwen3-Embedding-8B",
    "Qwen3-Next-80B-A3B-Instruct",
    "Qwen3-Omni-30B-A3B-Thinking",
    "Qwen3-Reranker-8B",
    "Qwen3.5-2B",
    "Qwen3.5-4B",
    "Qwen3.5-9B",
    "Qwen3.5-27B",
    "Qwen3.5-397B-A17B",
    "Qwen3.6-27B",
    "Qwen3.6-35B-A3B",
    "Qwen3.8-2.4T-A95B",
    "Qwen3.8-27B",
    "gpt-oss-120b",
    "Dots3-Note",
    "Hy3-preview",
]


@pytest.mark.parametrize("model", TUTORIALS)
def test_every_model_of_the_tutorials_is_known_by_its_hub_id(model: str) -> None:
    facts = load_facts()[model]
    assert facts.num_attention_heads
    match = CATALOGUE.find((facts.huggingface + facts.modelscope)[0])
    assert match is not None and match.model == model


def test_a_model_has_the_figures_of_the_one_that_it_is_like() -> None:
    facts = load_facts()
    newer, base = facts["GLM-4.6"], facts["GLM-4.5"]
    assert newer.config == base.config and newer.num_attention_heads == 96
    assert (newer.native_context, base.native_context) == (202752, 131072)
    assert set(newer.huggingface).isdisjoint(base.huggingface)


def test_lists_of_layers_are_written_short() -> None:
    short = {"a": [1, {"times": 2, "of": [{"times": 3, "of": [0]}, 1]}, 2], "b": {"c": [3]}}
    assert expanded(short) == {"a": [1, 0, 0, 0, 1, 0, 0, 0, 1, 2], "b": {"c": [3]}}
    layers = [name for name, each in load_facts().items() if "layer_types" in each.config]
    assert "gpt-oss-120b" in layers
    for name in layers:
        facts = load_facts()[name]
        assert len(facts.config["layer_types"]) == facts.num_hidden_layers, name


@pytest.mark.parametrize(
    "model, weights, cards",
    [
        ("DeepSeek-V3.2", 674, 16),
        ("GLM-5.2", 1488, 32),
        ("Qwen3.5-27B", 54.7, 1),
        ("gpt-oss-120b", 65.2, 2),
        ("gemma-4-31B-it", 61.1, 2),
        ("MiniMax-M3", 856, 16),
        ("GLM-4.5-Air", 213.7, 4),
    ],
)
def test_every_kind_of_attention_is_estimated(model: str, weights: float, cards: int) -> None:
    facts = load_facts()[model]
    shape = shape_of(facts)
    assert shape.weights / 1e9 == pytest.approx(weights, rel=0.005)
    assert estimate(facts, shape, Device(60.97, False), 0.9).cards == cards


@pytest.mark.parametrize(
    "model, billions",
    [
        ("MiniMax-Text-01", 456),
        ("MiniMax-M2", 230),
        ("ERNIE-4.5-21B-A3B", 21.8),
        ("DeepSeek-V2-Lite", 15.7),
        ("GLM-4.5V", 108),
        ("gemma-3-12b-it", 12.2),
        ("phi-4", 14.7),
        ("Mistral-7B-Instruct-v0.3", 7.25),
        ("Minitron-8B-Base", 8.27),
        ("Hunyuan-A13B-Instruct", 80.4),
        ("Qwen3-Omni-30B-A3B-Thinking", 31.7),
    ],
)
def test_weights_by_shapes_are_those_of_the_release(model: str, billions: float) -> None:
    assert count(load_facts()[model].config).total / 1e9 == pytest.approx(billions, rel=0.015)


def test_releases_whose_context_is_longer_than_that_of_their_base() -> None:
    assert spec("Qwen3-30B-A3B-Thinking-2507", estimate=True)["native_context"] == 262144
    assert spec("Qwen3-4B-Instruct-2507-FP8", estimate=True)["native_context"] == 262144
    assert load_facts()["Qwen3-30B-A3B"].native_context == 40960


def test_a_model_without_a_row_is_estimated_by_its_facts() -> None:
    # 16.3 GiB of weights and 144 KiB a token leave room for its context on one card.
    shape = shape_of(load_facts()["Qwen3-VL-8B-Instruct"])
    assert longest(shape, Device(60.97, False), 0.9, Split(1)) == 262144
    assert "set estimate for an estimate" in rejection("DeepSeek-V3.1")


def test_contexts_of_releases_that_differ_from_their_base() -> None:
    assert load_facts()["DeepSeek-R1-0528-Qwen3-8B"].native_context == 131072
    assert load_facts()["QwQ-32B"].native_context == 40960
