# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published configurations are read, and their models estimated."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.configuration import (
    Cache,
    Text,
    kind_of_model,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    Device,
    estimate,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import Facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.parameters import (
    count,
    of_name,
    storage,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.shape import of_config

from .calibration import data

PUBLISHED = data("configurations.yml", "models")


def test_there_are_many_of_every_kind() -> None:
    assert len(PUBLISHED) >= 50
    assert {each["attention"] for each in PUBLISHED} == {
        "full",
        "latent",
        "linear and full",
        "linear and latent",
        "sliding-window and full",
        "sliding-window and latent",
    }


@pytest.mark.parametrize("given", PUBLISHED, ids=[each["model"] for each in PUBLISHED])
def test_a_published_configuration(given: dict[str, Any]) -> None:
    config = given["config"]
    assert count(config).total / 1e9 == pytest.approx(given["billions"], rel=0.02)
    shape, text = of_config(config), Text(config)
    assert (shape.stored, shape.attention.kinds) == (given["stored"], given["attention"])
    assert shape.native_context == given["native_context"]
    facts = Facts(num_attention_heads=text.heads, num_key_value_heads=text.kv_heads)
    try:
        found = estimate(facts, shape, Device(60.97, is_310p=False), 0.9)
    except AscendError:
        assert given["cards"] is None
    else:
        assert (found.cards, found.longest) == (given["cards"], given["length"])


GQA = {"num_hidden_layers": 8, "num_attention_heads": 16, "hidden_size": 2048, "vocab_size": 32000}

# Older and rarer ways to write the same, and what one layer or the whole keeps.
CACHES: list[tuple[dict[str, Any], tuple[Cache, ...]]] = [
    ({}, (Cache(8, 16, 256),)),
    ({"num_key_value_heads": 4}, (Cache(8, 4, 256),)),
    ({"multi_query": True}, (Cache(8, 1, 256),)),
    ({"multi_query_attention": True, "multi_query_group_num": 2}, (Cache(8, 2, 256),)),
    ({"multi_query_attention": False, "multi_query_group_num": 2}, (Cache(8, 16, 256),)),
    ({"sliding_window": 4096}, (Cache(8, 16, 256, 4096),)),
    ({"sliding_window": 4096, "use_sliding_window": False}, (Cache(8, 16, 256),)),
    (
        {"sliding_window": 4096, "model_type": "gemma2"},
        (Cache(4, 16, 256), Cache(4, 16, 256, 4096)),
    ),
    (
        {"sliding_window": 1024, "sliding_window_pattern": 4},
        (Cache(2, 16, 256), Cache(6, 16, 256, 1024)),
    ),
    ({"attn_layer_period": 8, "mamba_d_state": 16, "mamba_expand": 2}, (Cache(1, 16, 256),)),
    ({"attn_type_list": [0, 0, 0, 1, 0, 0, 0, 1]}, (Cache(2, 16, 256),)),
    ({"layer_types": ["conv", "conv", "full_attention"] * 2 + ["conv"] * 2}, (Cache(2, 16, 256),)),
    (
        {"is_encoder_decoder": True, "max_source_positions": 1500},
        (Cache(8, 16, 256), Cache(8, 16, 256, 1500)),
    ),
    ({"model_type": "bert"}, ()),
    ({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, (Cache(8, 0, 576),)),
    ({"num_kv_shared_layers": 4}, (Cache(4, 16, 256),)),
]


@pytest.mark.parametrize(("more", "caches"), CACHES)
def test_ways_to_write_attention(more: dict[str, Any], caches: tuple[Cache, ...]) -> None:
    assert Text({**GQA, **more}).attention().caches == caches


@pytest.mark.parametrize(
    "more, context",
    [
        ({"max_position_embeddings": 32768}, 32768),
        ({"seq_length": 8192}, 8192),
        ({"max_position_embeddings": 514, "model_type": "xlm-roberta"}, 512),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4}}, 16384),
        (
            {"max_position_embeddings": 8192, "rope_scaling": {"rope_type": "llama3", "factor": 8}},
            8192,
        ),
        ({}, None),
    ],
)
def test_the_native_context_is_that_which_vllm_derives(
    more: dict[str, Any], context: int | None
) -> None:
    assert Text({**GQA, **more}).native_context() == context


@pytest.mark.parametrize(
    "given, dense, experts",
    [
        (None, 2, 2),
        ({"quant_method": "fp8"}, 1, 1),
        ({"quant_method": "awq", "bits": 4}, 0.52, 0.52),
        ({"quant_method": "gptq", "bits": 8}, 1, 1),
        ({"quant_method": "mxfp4"}, 2, 0.53),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4}}},
                "ignore": ["re:.*self_attn.*"],
            },
            2,
            0.52,
        ),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, 1, 1),
    ],
)
def test_quantisations(given: Any, dense: float, experts: float) -> None:
    found = storage({**GQA, "quantization_config": given})
    assert (found.dense, found.experts) == pytest.approx((dense, experts), abs=0.005)


def test_a_description_of_quantised_weights_counts_each_tensor() -> None:
    description = {
        "model_quant_type": "W4A8_DYNAMIC",
        "model.layers.0.self_attn.q_proj.weight": "W8A8",
        "model.layers.0.self_attn.o_proj.weight": "FLOAT",
        "model.layers.0.input_layernorm.weight": "FLOAT",
        "model.layers.0.mlp.experts.0.up_proj.weight": "W4A8_DYNAMIC",
    }
    found = storage(GQA, description)
    assert found.dense == pytest.approx(1.5)
    assert found.experts == pytest.approx(0.52, abs=0.005)


@pytest.mark.parametrize(
    "name, stored",
    [
        ("Qwen3-32B-FP8", "fp8"),
        ("DeepSeek-R1-W8A8", "w8a8"),
        ("Kimi-K2-Thinking-w4a8", "w4a8"),
        ("Qwen2.5-72B-Instruct-GPTQ-Int4", "gptq-int4"),
        ("GLM-5.2-w4a8c8", "w4a8"),
        ("Qwen3-8B", None),
    ],
)
def test_quantised_names(name: str, stored: str | None) -> None:
    found = of_name(name)
    assert (found.name if found else None) == stored


def test_kinds_of_models() -> None:
    assert kind_of_model({**GQA, "architectures": ["LlamaForCausalLM"]}) == "generate"
    assert kind_of_model({**GQA, "vision_config": {"depth": 1}}) == "multimodal"
    assert kind_of_model({**GQA, "model_type": "bert"}) == "embed"
    rerank = {**GQA, "model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    assert kind_of_model(rerank) == "rerank"


def test_what_is_missing_or_cannot_be_described_is_named() -> None:
    with pytest.raises(AscendError, match="no vocab_size or padded_vocab_size"):
        count({key: value for key, value in GQA.items() if key != "vocab_size"})
    with pytest.raises(AscendError, match="its layers differ in shape"):
        of_config({**GQA, "block_configs": [{"attention": {}}]})
