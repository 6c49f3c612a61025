# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers where no table has one: by an estimate, or on the word of the request."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from .resolving import rejection, spec, user_table

GQA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
}


def config(tmp_path: Path, **changed: Any) -> str:
    (tmp_path / "config.json").write_text(json.dumps({**GQA, **changed}), encoding="utf-8")
    return str(tmp_path)


def test_an_estimate_says_that_it_is_one() -> None:
    got = spec("Qwen3-14B", card_memory_gb=32, estimate=True)
    assert (got["cards"], got["max_model_len"], got["gpu_memory_utilization"]) == (2, 40960, 0.9)
    assert got["provenance"] == {
        "table": None,
        "row": None,
        "updated": None,
        "basis": "estimated",
        "estimate": {
            "cards": 2,
            "longest": 40960,
            "longest_low": 40960,
            "longest_high": 40960,
            "native_context": 40960,
            "limited_by": "native context",
            "borderline": False,
            "weights_gib": 13.8,
        },
    }
    assert got["warnings"] == [
        "estimated, never run: Qwen3-14B on cards of 32 GB follows from its facts, 13.8 GiB of"
        " weights on a card, its length limited by its native context"
    ]
    # Where there is a row, the row counts.
    assert spec("Qwen3-14B", estimate=True) == spec("Qwen3-14B")


def test_a_request_beyond_the_estimate() -> None:
    wanted = {"model": "Qwen3-14B", "cards": 2, "max_model_len": "256K"}
    problem = (
        "Qwen3-14B on 2 cards of 32 GB should carry 40960 tokens at utilization 0.9 by estimate"
        " (limited by its native context); max_model_len is 262144"
    )
    assert rejection(wanted, card_memory_gb=32, estimate=True) == (
        f"{problem}. Set max_model_len to 40960, or give the scaling that its weights were made for in"
        " args (hf-overrides), or set allow_untested to try it."
    )
    got = spec(wanted, card_memory_gb=32, estimate=True, allow_untested=True)
    assert got["warnings"][0] == f"untested: {problem}"
    assert rejection({"model": "Qwen3-14B", "cards": 1}, card_memory_gb=32, estimate=True) == (
        "Qwen3-14B on 1 card of 32 GB should carry 0 tokens at utilization 0.9 by estimate. Give"
        " it more cards, or more gpu_memory_utilization."
    )


def test_a_scaled_context_counts_by_its_memory(tmp_path: Path) -> None:
    documented = spec(
        {"model": "Qwen3-14B", "cards": 2, "max_model_len": "64K"}, card_memory_gb=32, estimate=True
    )
    assert documented["args"]["hf-overrides"]["rope_parameters"]["factor"] == 2
    found = documented["provenance"]["estimate"]
    assert (found["longest"], found["native_context"]) == (65536, 40960)
    assert found["limited_by"] == "requested length"
    scaling = {"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}
    given = {
        "model": "Ours-8B",
        "config": config(tmp_path),
        "max_model_len": "1M",
        "args": {"hf-overrides": scaling},
    }
    assert spec({**given, "cards": 4}, estimate=True)["max_model_len"] == 1048576
    text = rejection({**given, "cards": 1}, estimate=True)
    assert "(limited by its cache); max_model_len is 1048576. Give it more cards" in text
    assert "Set max_model_len to 131072" in rejection({**given, "args": {}}, estimate=True)


def test_an_estimate_without_its_ground_is_rejected(tmp_path: Path) -> None:
    ways = (
        "Add a row of your own (ascend_model_tables), or name its config.json in config, or give"
        " path, cards and max_model_len to serve it on your own word."
    )
    assert rejection("Qwen3-14B", card_memory_gb=24, estimate=True) == (
        "Qwen3-14B on cards of 24 GB cannot be estimated: how much memory the framework sees of"
        f" such a card is not known. {ways}"
    )
    catalogue = user_table(tmp_path, "  - {model: Our-7B, min_cards: 1, max_model_len_k: 4}\n")
    assert rejection("Our-7B", catalogue, card_memory_gb=32, estimate=True) == (
        "Our-7B on cards of 32 GB cannot be estimated: its weights, layers, heads or native"
        f" context are not known. {ways}"
    )


def test_within_the_band_it_is_called_borderline() -> None:
    got = spec("Qwen3.5-27B", estimate=True)
    assert got["cards"] == 1
    assert got["provenance"]["estimate"]["borderline"] is True
    assert got["warnings"][0].endswith(
        "borderline: a careful calculation asks for 2 cards, a generous one for 1"
    )
    assert not spec("Qwen3.5-27B", estimate=True, card_memory_gb=32)["warnings"][0].endswith("one")


@pytest.mark.parametrize("name", ["us/Ours-8B", "Ours-8B"])
def test_a_configuration_on_the_controller_is_enough(tmp_path: Path, name: str) -> None:
    request = {"model": name, "config": config(tmp_path)}
    got = spec(request, estimate=True)
    assert (got["model"], got["cards"], got["max_model_len"]) == (name, 1, 131072)
    assert got["kind"] == "generate"
    assert got["huggingface"] == (name if "/" in name else None)
    assert got["provenance"]["estimate"]["weights_gib"] == 15.0
    assert got["warnings"][0].startswith(
        f"estimated, never run: {name} on cards of 64 GB follows from its config.json"
    )
    # The file itself, and a spec that is resolved again.
    assert spec({**request, "config": f"{tmp_path}/config.json"}, estimate=True)["cards"] == 1
    assert spec(got, estimate=True)["provenance"]["basis"] == "estimated"
    assert rejection(request) == (
        f"No table lists {name}. Set estimate for an estimate from its config.json, or give path (or"
        " huggingface or modelscope), cards and max_model_len to serve it on your own word."
    )


def test_heads_of_a_configuration_forbid_a_split(tmp_path: Path) -> None:
    request = {"model": "Ours-8B", "config": config(tmp_path), "cards": 3}
    assert rejection(request, estimate=True).startswith(
        "Ours-8B cannot be split over 3 cards: Total number of attention heads (32)"
    )


def test_weights_count_by_their_index_or_their_files(tmp_path: Path) -> None:
    request = {"model": "Ours-8B", "config": config(tmp_path)}

    def weights() -> Any:
        return spec(request, estimate=True)["provenance"]["estimate"]["weights_gib"]

    (tmp_path / "model-1.safetensors").write_bytes(b"")
    assert weights() == 15.0
    with (tmp_path / "model-1.safetensors").open("wb") as file:
        file.truncate(3 * 2**30)
    assert weights() == 3.0
    index = {"metadata": {"total_size": 5 * 2**30}, "weight_map": {}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert weights() == 5.0


def test_a_configuration_that_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    request: dict[str, Any] = {"model": "Ours-8B", "config": str(tmp_path / "no")}
    assert "does not exist on the controller" in rejection(request)
    assert "it is the path of a model's config.json" in rejection({**request, "config": 3})
    request["config"] = str(tmp_path)
    assert "cannot be read: No such file" in rejection(request)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert "is not JSON" in rejection(request)
    (tmp_path / "config.json").write_text("[]", encoding="utf-8")
    assert "is not a mapping" in rejection(request)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert "the configuration has no num_attention_heads" in rejection(request).replace(
        "hidden_size or n_embd or d_model or dim", "num_attention_heads"
    )


@pytest.mark.parametrize(
    "changed, words",
    [
        (
            {"hidden_size": "4096"},
            "has no hidden_size or n_embd or d_model or dim that is a number",
        ),
        ({"hidden_size": float("inf")}, "has no hidden_size"),
        ({"num_hidden_layers": -4}, "has no num_hidden_layers"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types has 3 entries for 32 layers"),
        (
            {"rope_scaling": {"rope_type": "linear", "factor": -4}},
            "factor of its rope_scaling is -4",
        ),
        ({"compress_ratios": ["a"]}, "a figure of the configuration cannot be used"),
        (
            {"quantization_config": {"quant_method": "awq", "bits": "four"}},
            "weights of 'four' bits",
        ),
        ({"quantization_config": {"quant_method": "gptq", "bits": -4}}, "weights of -4 bits"),
    ],
)
def test_a_figure_that_cannot_be_is_named(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    text = rejection({"model": "Ours-8B", "config": config(tmp_path, **changed)}, estimate=True)
    assert f"{tmp_path}/config.json is not enough for an estimate: " in text
    assert words in text
    assert "Give the model a row of its own (ascend_model_tables)" in text


def test_a_file_that_would_not_end_is_not_read(tmp_path: Path) -> None:
    request = {"model": "Ours-8B", "config": str(tmp_path)}
    os.mkfifo(tmp_path / "config.json")
    assert "config.json cannot be read: it is not a file" in rejection(request)
    (tmp_path / "config.json").unlink()
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(100_000_001)
    assert "cannot be read: it has more than 100000000 bytes" in rejection(request)


def test_what_is_broken_beside_a_configuration_is_left_out(tmp_path: Path) -> None:
    request = {"model": "Ours-8B", "config": config(tmp_path)}
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": []}', encoding="utf-8")
    (tmp_path / "model-1.safetensors").symlink_to(tmp_path / "gone")
    assert spec(request, estimate=True)["provenance"]["estimate"]["weights_gib"] == 15.0


def test_a_row_goes_before_a_configuration(tmp_path: Path) -> None:
    got = spec({"model": "Qwen3-14B", "config": config(tmp_path)}, estimate=True)
    assert got["provenance"]["basis"] == "measured"


@pytest.mark.parametrize(
    "name, base, cards",
    [
        ("Qwen/Qwen3-32B-FP8", "Qwen3-32B", 1),
        ("Qwen3-32B-W8A8", "Qwen3-32B", 1),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "Qwen2.5-72B", 1),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", "Qwen2.5-72B", 1),
        ("vllm-ascend/DeepSeek-R1-W8A8", "DeepSeek-R1", 16),
        # The tutorial of gpt-oss-120b serves these on 8 cards of 64 GB.
        ("unsloth/gpt-oss-120b-BF16", "gpt-oss-120b", 8),
        ("vllm-ascend/Qwen3-30B-A3B-quantized.w4a8", "Qwen3-30B-A3B", 1),
        ("vllm-ascend/Qwen3-32B-W4A4", "Qwen3-32B", 1),
    ],
)
def test_quantised_weights_of_a_known_model(name: str, base: str, cards: int) -> None:
    got = spec(name, estimate=True)
    assert (got["model"], got["cards"]) == (name, cards)
    assert got["huggingface"] == (name if "/" in name else None)
    assert f"follows from the shape of {base} with weights of" in got["warnings"][0]
    assert "Set estimate" in rejection(name)


def test_quantised_weights_that_a_table_lists_have_the_shape_of_their_model() -> None:
    got = spec("Qwen3-32B-W8A8SC", estimate=True)
    assert (got["cards"], got["native_context"]) == (1, 40960)
    assert got["huggingface"] is None or "W8A8SC" in got["huggingface"].upper()
    assert "follows from the shape of Qwen3-32B with weights of W8A8SC" in got["warnings"][0]


def test_what_nobody_lists_is_served_on_the_requests_word(tmp_path: Path) -> None:
    request = {"model": "Foo-7B", "path": "/data/foo", "cards": 2, "max_model_len": "8K"}
    got = spec(request)
    assert (got["cards"], got["max_model_len"], got["path"]) == (2, 8192, "/data/foo")
    assert (got["gpu_memory_utilization"], got["tensor_parallel_size"]) == (0.9, 2)
    assert got["provenance"] == {"table": None, "row": None, "updated": None, "basis": "requested"}
    assert got["warnings"] == [
        "requested, listed in no table: cards and length of Foo-7B on cards of 64 GB are those of"
        " the request; nothing is known that they could be held against"
    ]
    assert spec(request, estimate=True) == got
    assert spec(got) == got
    assert spec({**request, "model": "/data/foo/Foo-7B", "path": None})["model"] == "Foo-7B"
    for key in ("path", "cards", "max_model_len"):
        assert "No table lists the model 'Foo-7B'" in rejection(
            {name: value for name, value in request.items() if name != key}
        )
    with_config = {**request, "config": config(tmp_path)}
    assert "by estimate 131072 tokens fit, from its config.json" in spec(with_config)["warnings"][0]
    too_long = {**with_config, "max_model_len": "256K"}
    assert "should carry 131072 tokens" in rejection(too_long)
    assert spec(too_long, allow_untested=True)["warnings"][0].startswith("untested: Foo-7B on 2")


@pytest.mark.parametrize(
    "name, base",
    [
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek-R1"),
        ("Kimi-K2-Instruct-0905", "Kimi-K2-Instruct"),
        ("Qwen/Qwen3-Next-80B-A3B-Thinking", "Qwen3-Next-80B-A3B-Instruct"),
        ("Qwen3-VL-8B-Thinking", "Qwen3-VL-8B-Instruct"),
        ("Qwen3.5-9B-Instruct", "Qwen3.5-9B"),
        ("vllm-ascend/DeepSeek-R1-0528-W8A8", "DeepSeek-R1"),
    ],
)
def test_another_release_of_a_known_model_has_its_shape(name: str, base: str) -> None:
    got = spec(name, estimate=True)
    assert got["model"] == name
    assert f"follows from the shape of {base}" in got["warnings"][0]
    assert got["provenance"]["basis"] == "estimated"


def weights(request: dict[str, Any], **options: Any) -> Any:
    return spec(request, estimate=True, **options)["provenance"]["estimate"]["weights_gib"]


def test_a_draft_weighs_too() -> None:
    request: dict[str, Any] = {"model": "GLM-4.6", "cards": 16}
    alone = weights(request)
    own = {"speculative-config": {"method": "mtp", "num_speculative_tokens": 1}}
    assert weights({**request, "args": own}) == pytest.approx(alone + 0.5, abs=0.2)
    other = {"speculative_config": '{"model": "Qwen3-8B", "num_speculative_tokens": 3}'}
    assert weights({**request, "args": other}) == pytest.approx(alone + 1.0, abs=0.2)
    for unknown in ("{", '{"model": "nobody/knows"}', '{"method": "ngram"}'):
        got = spec({**request, "args": {"speculative-config": unknown}}, estimate=True)
        assert got["provenance"]["estimate"]["weights_gib"] == alone
        silent = "draft model nobody/knows is not counted" not in got["warnings"][0]
        assert silent == ("nobody" not in unknown)


def test_options_of_the_engine_change_the_length() -> None:
    request: dict[str, Any] = {"model": "GLM-4.5-Air", "cards": 4}

    def length(**args: Any) -> int:
        return int(spec({**request, "args": args}, estimate=True)["max_model_len"])

    assert 1.9 < length(**{"kv-cache-dtype": "fp8"}) / length() < 2.1
    assert length(**{"max-num-batched-tokens": 16384}) < length()
    assert length(**{"max-num-batched-tokens": 2048}) == length()
