# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model needs to start on a version of the engine, and what cannot start there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.identify import OnHost
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.needs import load_needs
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import (
    list_of,
    load_options,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import engine_config

from .resolving import CATALOGUE, rejection, spec

RELEASES = ("0.9.1", "0.11.0", "0.13.0", "0.18.0", "0.23.0")
REMOTE_CODE = {"trust-remote-code": True}
INTERN = "upstream's support matrix has InternVL 2 to 3 as not supported"


def test_every_entry_is_well_formed_and_has_its_sources(repository: Path) -> None:
    data = yaml.safe_load((repository / "vars/model_needs.yml").read_text("utf-8"))
    schema = json.loads((repository / "vars/schemas/model_needs.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    named = {source for entry in data["needs"] for source in entry["sources"]}
    assert named == set(data["source_registry"])


@pytest.mark.parametrize("version", RELEASES)
def test_every_option_is_one_that_the_version_has(version: str) -> None:
    known = load_options()[list_of(version)]
    for row in CATALOGUE.every_row(64):
        try:
            got = resolve(row.model, CATALOGUE, Options(engine_version=version)).as_dict()
        except AscendError as error:
            assert f"{row.model} cannot start on vLLM {version}: " in str(error)
            continue
        assert set(got["args"]) <= set(known)
        # What is written is read by the rules of the version.
        engine_config({**got, "port": 8000, "cards": list(range(got["cards"]))}, version)


def test_the_rows_that_did_not_start_on_0_18_0_do_or_are_rejected() -> None:
    changed: dict[str, Any] = {}
    for row in CATALOGUE.every_row(64):
        before = spec(row.model)
        try:
            after = spec(row.model, engine_version="0.18.0")
        except AscendError as error:
            changed[row.model] = str(error).split(": ")[1][:30]
            continue
        if after != before:
            assert len(after["warnings"]) >= 1
            changed[row.model] = after["args"] or after["max_model_len"]
    assert changed == {
        "GLM-4-9B": REMOTE_CODE,
        "Llama3-8B": 8192,
        "Llama3-70B": 8192,
        "Qwen2.5-VL-32B": "over 1 card its weights take 6",
        "InternVL2.5-26B": REMOTE_CODE,
        "InternVL2-Llama3-76B-AWQ": "vllm-ascend has no kernels for",
        "InternVL3-8B": REMOTE_CODE,
        "InternVL3-14B": REMOTE_CODE,
        "InternVL3-38B": REMOTE_CODE,
        "InternVL3-78B": REMOTE_CODE,
    }


def test_a_candidate_counts_by_its_vllm() -> None:
    with_parallel = {"enable-expert-parallel": True}
    assert spec("Qwen3-30B-A3B", engine_version="0.22.1rc1")["args"] == with_parallel
    assert spec("Qwen3-30B-A3B", engine_version="0.23.0.post1")["args"] == with_parallel
    assert spec("Qwen3-30B-A3B", engine_version="0.21.0rc1")["args"] == {}
    assert spec("Qwen3-30B-A3B", engine_version="of a branch")["args"] == {}


def test_args_of_the_user_count_first() -> None:
    request = {"model": "GLM-4-9B", "args": {"trust_remote_code": False}}
    got = spec(request, engine_version="0.18.0")
    assert (got["args"], got["warnings"]) == ({"trust_remote_code": False}, [])
    got = spec({"model": "GLM-4-9B", "args": {"trust_remote_code": None}}, engine_version="0.18.0")
    assert got["args"] == {"trust_remote_code": None}
    refused = {"model": "GLM-4-9B", "args": {"no-trust-remote-code": True}}
    got = spec(refused, engine_version="0.18.0")
    assert (got["args"], got["warnings"]) == ({"no-trust-remote-code": True}, [])


def test_remote_code_is_never_run_without_a_word() -> None:
    assert spec("GLM-4-9B", engine_version="0.18.0")["warnings"] == [
        "the tokenizer of this model is Python code in its repository, which the engine runs"
        " (trust-remote-code); set it to false in args if you do not trust the weights"
    ]
    intern = spec("InternVL3-8B", engine_version="0.18.0")["warnings"]
    assert intern[0].startswith("the configuration of this model is Python code in its repository")
    assert intern[1].startswith(f"on vLLM 0.18.0: {INTERN}")
    assert len(intern) == 2


def test_what_cannot_start_is_rejected_with_the_way_out() -> None:
    assert rejection("GLM-4-9B", engine_version="0.9.1") == (
        "GLM-4-9B cannot start on vLLM 0.9.1: upstream's support matrix has ChatGLM as not"
        " supported, and its rotary kernel takes no model that rotates a part of each head. Use vLLM"
        " 0.18.0 or newer, or set allow_untested to try it."
    )
    untested = spec("GLM-4-9B", engine_version="0.9.1", allow_untested=True)
    assert untested["warnings"][-1].startswith("untested: GLM-4-9B cannot start on vLLM 0.9.1: ")
    assert "does not know the model's architecture" in rejection(
        "Qwen3-VL-8B-Instruct", engine_version="0.9.1"
    )
    assert "as not supported" in rejection("bge-reranker-v2-m3", engine_version="0.11.0")
    assert "while its release notes" in spec("bge-m3", engine_version="0.11.0")["warnings"][0]
    for version in ("0.9.1", "0.13.0", "0.18.0", "0.23.0"):
        assert spec("bge-m3", engine_version=version)["warnings"] == []


def test_quantised_weights_of_ones_own_take_the_place_of_awq() -> None:
    request = {"model": "InternVL2-Llama3-76B-AWQ", "args": {"quantization": "ascend"}}
    assert spec(request, engine_version="0.18.0")["args"] == {
        "quantization": "ascend",
        **REMOTE_CODE,
    }


def test_weights_of_modelslim_are_named_to_versions_that_do_not_see_it() -> None:
    ids = {"model": "Qwen3-14B", "modelscope": "vllm-ascend/Qwen3-14B-W8A8"}
    assert spec(ids, engine_version="0.13.0")["args"] == {"quantization": "ascend"}
    assert spec(ids, engine_version="0.18.0")["args"] == {}
    ours = {"model": "Qwen3-14B", "modelscope": "us/Qwen3-14B-w8a8"}
    got = spec(ours, engine_version="0.13.0")
    assert got["args"] == {}
    assert got["warnings"] == [
        "on vLLM 0.13.0: weights that ModelSlim quantised need args: {quantization: ascend}; those of"
        " LLM-Compressor do not"
    ]
    own = {**ours, "args": {"quantization": "ascend"}}
    assert spec(own, engine_version="0.13.0")["warnings"] == []
    # The row of a tutorial has the option itself.
    row = spec("Qwen3-30B-A3B-W8A8", engine_version="0.13.0")
    assert not [text for text in row["warnings"] if "ModelSlim" in text]


def test_a_length_without_a_scaling_is_shortened_or_rejected() -> None:
    got = spec("Llama3-8B", engine_version="0.18.0")
    assert got["max_model_len"] == 8192
    assert got["warnings"] == [
        "max_model_len is 8192 instead of the row's 32768, with which vLLM 0.18.0 does not start:"
        " the native context is 8192 tokens, and neither the model's documentation nor args give a"
        " scaling for more; for more, give the scaling that your weights were made for in args"
        " (hf-overrides)"
    ]
    asked = {"model": "Llama3-8B", "max_model_len": "32K"}
    assert rejection(asked, engine_version="0.18.0") == (
        "Llama3-8B cannot start on vLLM 0.18.0: max_model_len is 32768: the native context is 8192"
        " tokens, and neither the model's documentation nor args give a scaling for more. Set"
        " max_model_len to 8192, give the scaling that your weights were made for in args"
        " (hf-overrides), or set allow_untested to try it."
    )
    kept: tuple[dict[str, Any], ...] = (
        {"args": {"hf-overrides": {"rope_parameters": {"factor": 4}}}},
        {"args": {"rope_scaling": {"factor": 4}}},
        {"env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": 1}},
    )
    for more in kept:
        assert spec({**asked, **more}, engine_version="0.18.0")["max_model_len"] == 32768
    # The environment of all services does the same, and that of a request goes before it.
    lifted = {"engine_version": "0.18.0", "any_length": True}
    assert spec(asked, **lifted)["max_model_len"] == 32768
    assert spec("Llama3-8B", **lifted)["max_model_len"] == 32768
    checked = {"model": "Llama3-8B", "env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": 0}}
    assert spec(checked, **lifted)["max_model_len"] == 8192
    assert spec(asked, engine_version="0.18.0", allow_untested=True)["max_model_len"] == 32768
    # Weights of one's own may have been made for more: the preflight reads their configuration.
    for more in ({"path": "/data/llama"}, {"huggingface": "us/llama-3-8b-long"}):
        own = spec({**asked, **more}, engine_version="0.18.0")
        assert (own["max_model_len"], len(own["warnings"])) == (32768, 1)
    known = {"huggingface": "meta-llama/Meta-Llama-3-8B"}
    assert "cannot start" in rejection({**asked, **known}, engine_version="0.18.0")
    # YaRN of the model's documentation goes on being applied.
    assert spec("Qwen3-235B-A22B", engine_version="0.18.0")["max_model_len"] == 65536


def test_weights_that_are_larger_than_the_cards_are_rejected() -> None:
    assert rejection("Qwen2.5-VL-32B", engine_version="0.18.0") == (
        "Qwen2.5-VL-32B cannot start on vLLM 0.18.0: over 1 card its weights take 62.3 GiB of each, of"
        " which the framework sees 60.97 GiB. Give it more cards, or name quantised weights (huggingface, modelscope or path), or set allow_untested to try it."
    )
    for more in ({"cards": 2}, {"path": "/data/w8a8"}, {"args": {"quantization": "ascend"}}):
        request = {"model": "Qwen2.5-VL-32B", **more}
        assert spec(request, engine_version="0.18.0")["model"] == "Qwen2.5-VL-32B"


SHAPE = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}


def ours(tmp_path: Path, **config: Any) -> dict[str, Any]:
    """A request for weights of one's own, with their configuration on the controller."""
    (tmp_path / "config.json").write_text(json.dumps({**SHAPE, **config}), encoding="utf-8")
    return {"model": "Ours-8B", "path": "/data/ours", "config": str(tmp_path)}


@pytest.mark.parametrize(
    ("method", "version", "starts"),
    [
        ("awq", "0.23.0", False),
        ("gptq_marlin", "0.18.0", False),
        ("mxfp4", "0.23.0", False),
        ("fp8", "0.18.0", False),
        ("fp8", "0.22.1rc1", True),
        ("compressed-tensors", "0.18.0", True),
    ],
)
def test_the_quantization_of_a_configuration_decides(
    tmp_path: Path, method: str, version: str, starts: bool
) -> None:
    request = ours(tmp_path, quantization_config={"quant_method": method, "bits": 4})
    options: dict[str, Any] = {"estimate": True, "engine_version": version}
    if starts:
        assert "quantization" not in spec(request, **options)["args"]
    else:
        assert "its platform rejects the method" in rejection(request, **options)
        asked = {**request, "args": {"quantization": "ascend"}}
        assert spec(asked, **options)["args"] == {"quantization": "ascend"}


def test_a_configuration_that_was_read_on_the_host_decides_as_well() -> None:
    quantized = {**SHAPE, "quantization_config": {"quant_method": "awq", "bits": 4}}
    read = OnHost("/data/ours", {"config": quantized, "weight_bytes": None})
    problem = rejection("/data/ours", estimate=True, engine_version="0.18.0", on_host=read)
    assert "its platform rejects the method" in problem


def test_weights_that_modelslim_describes_are_named_to_versions_that_do_not_see_it(
    tmp_path: Path,
) -> None:
    request = ours(tmp_path)
    description = {"model_quant_type": "W8A8", "model.layers.0.mlp.up_proj.weight": "W8A8"}
    file = tmp_path / "quant_model_description.json"
    file.write_text(json.dumps(description), encoding="utf-8")
    for version, args in (("0.13.0", {"quantization": "ascend"}), ("0.18.0", {})):
        assert spec(request, estimate=True, engine_version=version)["args"] == args


def test_code_that_a_configuration_names_is_said(tmp_path: Path) -> None:
    request = ours(tmp_path, auto_map={"AutoConfig": "configuration_ours.OursConfig"})
    options: dict[str, Any] = {"estimate": True, "engine_version": "0.18.0"}
    said = [each for each in spec(request, **options)["warnings"] if "auto_map" in each]
    assert len(said) == 1 and "asks for args: {trust-remote-code: true}" in said[0]
    for value in (True, False):
        asked = {**request, "args": {"trust-remote-code": value}}
        assert not any("auto_map" in each for each in spec(asked, **options)["warnings"])


def test_releases_in_fp8_are_rejected_where_the_engine_does_not_read_it() -> None:
    options: dict[str, Any] = {"estimate": True, "engine_version": "0.18.0"}
    for name in ("DeepSeek-V3", "deepseek-ai/DeepSeek-R1-0528", "MiniMax-M2"):
        assert "reads FP8 weights from 0.22.1rc1 on" in rejection(name, **options)
        assert spec(name, estimate=True, engine_version="0.23.0")["model"] == name
    # Other weights of the same model are not in FP8.
    for request in (
        "unsloth/DeepSeek-V3.1-BF16",
        "vllm-ascend/DeepSeek-R1-W8A8",
        {"model": "DeepSeek-V3", "path": "/data/DeepSeek-V3-w8a8"},
        {"model": "DeepSeek-V3", "huggingface": "us/DeepSeek-V3-w8a8"},
    ):
        assert spec(request, **options)["cards"] >= 16


@pytest.mark.parametrize(
    ("model", "version", "trusted"),
    [
        ("MiniMax-M1-80k", "0.23.0", True),
        ("PaddleOCR-VL-0.9B", "0.18.0", True),
        # From transformers 5 on, which it takes, the engine needs no code of the repository.
        ("PaddleOCR-VL-0.9B", "0.23.0", False),
        ("Hunyuan-A13B-Instruct", "0.18.0", True),
        ("DeepSeek-OCR", "0.18.0", False),
    ],
)
def test_code_of_the_repository_where_the_engine_has_none(
    model: str, version: str, trusted: bool
) -> None:
    got = spec(model, estimate=True, engine_version=version)
    assert ("trust-remote-code" in got["args"]) is trusted
    assert any("(trust-remote-code)" in each for each in got["warnings"]) is trusted


def test_models_are_newer_than_some_versions() -> None:
    for model, version in (
        ("DeepSeek-OCR", "0.11.0"),
        ("deepseek-ai/DeepSeek-OCR-2", "0.13.0"),
        ("MiniMax-M1-80k", "0.9.1"),
        ("Kimi-K2.7-Code", "0.13.0"),
    ):
        problem = rejection(model, estimate=True, engine_version=version)
        assert "does not know the model's architecture" in problem
    problem = rejection("GLM-4.7-Flash", estimate=True, engine_version="0.18.0")
    assert "transformers below 5" in problem


DUO = {"profile": "atlas-300i-duo-96g", "card_memory_gb": 48.0, "estimate": True}


def test_what_a_300i_duo_does_not_compute_is_rejected() -> None:
    for model, version, why in (
        ("bge-m3", "0.18.0", "pooling"),
        ("Gemma3-27B", "0.23.0", "float16"),
    ):
        request = {"model": model, "cards": 2}
        assert why in rejection(request, engine_version=version, **DUO)
    assert spec("bge-m3", engine_version="0.23.0", **DUO)["kind"] == "embed"
    mixture = spec({"model": "Qwen3-30B-A3B", "cards": 4}, engine_version="0.23.0", **DUO)
    assert "enable-expert-parallel" not in mixture["args"]


def test_a_need_is_found_by_its_name_alone() -> None:
    patterns = {pattern for need in load_needs() for pattern in need.models}
    assert {"GLM-4-9B", "*-AWQ", "Kimi-K2*"} <= patterns
    assert spec("Kimi-K2-Thinking", engine_version="0.23.0")["args"]["trust-remote-code"] is True
