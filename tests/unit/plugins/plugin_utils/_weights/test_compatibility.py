# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a model's own configuration is compared with a service."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import Facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.compatibility import (
    compare,
    native_context,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.options import WeightsOptions

QWEN = {
    "name": "Qwen3-14B",
    "model": "Qwen3-14B",
    "kind": "generate",
    "huggingface": "Qwen/Qwen3-14B",
    "modelscope": "Qwen/Qwen3-14B",
    "tensor_parallel_size": 4,
    "max_model_len": 32768,
}
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "num_hidden_layers": 40,
    "max_position_embeddings": 40960,
}


def found(
    spec: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    facts: Facts | None = None,
    options: WeightsOptions | None = None,
    **weights: Any,
) -> list[tuple[str, str]]:
    record = {"config": {**CONFIG, **(config or {})}, **weights}
    results = compare({**QWEN, **(spec or {})}, record, facts, options or WeightsOptions())
    return [(each.severity, each.code) for each in results]


def message(spec: dict[str, Any], config: dict[str, Any]) -> str:
    (only,) = compare({**QWEN, **spec}, {"config": {**CONFIG, **config}}, None, WeightsOptions())
    return only.message


def test_weights_that_fit_say_nothing() -> None:
    assert found() == []


def test_heads_that_do_not_divide_are_said_with_the_sizes_that_do() -> None:
    words = message({"tensor_parallel_size": 16}, {})
    assert (
        "Total number of attention heads (40) must be divisible by tensor parallel size (16)"
        in words
    )
    assert "Sizes that fit are 1, 2, 4, 8, 40" in words


def test_sizes_are_named_where_only_key_value_heads_are_known() -> None:
    said = message(
        {"tensor_parallel_size": 3},
        {"num_attention_heads": None, "num_key_value_heads": 8},
    )
    assert "Sizes that fit are 1, 2, 4, 8, 16" in said


def test_heads_of_a_multimodal_model_are_those_of_its_language_part() -> None:
    config = {"num_attention_heads": None, "text_config": {"num_attention_heads": 12}}
    assert found({"tensor_parallel_size": 8}, config) == [("error", "heads")]
    assert found({"tensor_parallel_size": 4}, config) == []
    assert found({"tensor_parallel_size": 8}, {"llm_config": {"num_attention_heads": 12}}) == [
        ("error", "heads")
    ]


def test_a_length_above_the_native_one_is_refused_unless_the_engine_is_told() -> None:
    long = {"max_model_len": 65536}
    words = message(long, {})
    assert "max_model_len 65536 is above the 40960 tokens" in words
    assert "(max_position_embeddings)" in words
    assert found({**long, "env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": 1}}) == [("warning", "context")]
    assert found(long, options=WeightsOptions(env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"})) == [
        ("warning", "context")
    ]
    assert found(long, {"model_max_length": 131072}) == []


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


@pytest.mark.parametrize(
    "args",
    [
        {"hf-overrides": {"rope_scaling": YARN, "rope_parameters": YARN}},
        {
            "hf_overrides": '{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}'
        },
        {"rope-scaling": YARN},
    ],
)
def test_a_scaling_in_args_lengthens(args: dict[str, Any]) -> None:
    assert found({"max_model_len": 131072, "args": args}) == []
    assert found({"max_model_len": 131073, "args": args}) == [("error", "context")]


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (
            {"max_position_embeddings": 32768, "rope_scaling": {"type": "linear", "factor": 2.0}},
            65536,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 163840,
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 40,
                    "original_max_position_embeddings": 4096,
                },
            },
            163840,
        ),
        (
            {
                "max_position_embeddings": 128000,
                "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
            },
            128000,
        ),
        (
            {
                "model_type": "gemma3",
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 40960,
                "rope_parameters": {"full_attention": YARN, "sliding": {"rope_type": "default"}},
            },
            131072,
        ),
        ({"seq_length": 131072}, 131072),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072),
        ({"rope_theta": 1e6}, None),
    ],
)
def test_the_native_context_is_the_one_that_vllm_derives(
    config: dict[str, Any], tokens: int | None
) -> None:
    assert native_context(config, config, {})[0] == tokens


def test_sentence_transformers_have_their_own_length() -> None:
    config = {"max_position_embeddings": 514}
    assert native_context(config, config, {}, 512)[0] == 512
    assert found({"max_model_len": 513}, config, max_seq_length=512) == [("error", "context")]


# As ModelSlim wrote it before quant_model_description.json: no quant_method.
OLDER_MODELSLIM = {
    "quantize": "w8a8",
    "quantization_config": {"model_quant_type": "W8A8", "model.embed_tokens.weight": "FLOAT"},
}


@pytest.mark.parametrize(
    ("args", "config", "described", "expected"),
    [
        ({"quantization": "awq"}, {"quantization_config": {"quant_method": "awq"}}, False, []),
        (
            {"quantization": "awq_marlin"},
            {"quantization_config": {"quant_method": "awq"}},
            False,
            [],
        ),
        (
            {"quantization": "gptq"},
            {"quantization_config": {"quant_method": "awq"}},
            False,
            ["error"],
        ),
        (
            {"quantization": "compressed-tensors"},
            {"quantization_config": {"quant_method": "compressed_tensors"}},
            False,
            [],
        ),
        ({"quantization": "ascend"}, {}, True, []),
        ({"quantization": "ascend"}, {}, False, ["error"]),
        (
            {"quantization": "ascend"},
            {"quantization_config": {"quant_method": "fp8"}},
            False,
            ["warning"],
        ),
        ({}, {}, True, ["warning"]),
        ({"quantization": "ascend"}, OLDER_MODELSLIM, False, []),
        ({"quantization": "awq"}, OLDER_MODELSLIM, False, ["error"]),
        ({}, OLDER_MODELSLIM, False, ["warning"]),
        ({}, {"quantization_config": {"quant_method": "fp8"}}, False, []),
    ],
)
def test_quantisation_is_held_against_args(
    args: dict[str, Any], config: dict[str, Any], described: bool, expected: list[str]
) -> None:
    results = found({"args": args}, config, quant_description=described)
    assert results == [(severity, "quantization") for severity in expected]


def test_an_encoder_does_not_generate() -> None:
    encoder = {"architectures": ["XLMRobertaForSequenceClassification"]}
    assert found({}, encoder) == [("error", "kind")]
    assert found({"kind": "rerank"}, encoder) == []
    assert found({"kind": "rerank"}) == []


def test_another_models_weights_under_a_name_are_noticed() -> None:
    facts = load_catalogue().facts("Qwen3-14B")
    assert found(facts=facts) == []
    assert found({}, {"num_hidden_layers": 36, "num_attention_heads": 32}, facts) == [
        ("warning", "model")
    ]


def test_a_check_can_be_made_a_warning_or_left_out() -> None:
    long = {"max_model_len": 65536}
    assert found(long, options=WeightsOptions(checks={"context": "warning"})) == [
        ("warning", "context")
    ]
    assert found(long, options=WeightsOptions(checks={"context": "ignore"})) == []


@pytest.mark.parametrize(
    "config", [None, [], {"num_attention_heads": "x", "max_position_embeddings": None}]
)
def test_an_odd_configuration_breaks_nothing(config: Any) -> None:
    assert compare(QWEN, {"config": config}, None, WeightsOptions()) == []
