# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recipe sets, under what the user writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import (
    list_of,
    load_options,
    number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import load_profiles
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.recipes import load_recipes
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import engine_config

from .resolving import rejection, spec

A2 = {"profile": "atlas-800i-a2-64g", "engine_version": "0.18.0"}
A3 = {"profile": "atlas-800i-a3", "engine_version": "0.23.0"}
DENSE = {"model": "Qwen3-32B", "cards": 4, "recipe": "throughput"}


def test_every_recipe_is_well_formed(repository: Path) -> None:
    data = yaml.safe_load((repository / "vars/recipes.yml").read_text("utf-8"))
    schema = json.loads((repository / "vars/schemas/recipes.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    known = {chip for each in load_profiles().values() for chip in each.chips}
    for recipe in load_recipes():
        assert set(recipe.scope.chips) <= known
        assert "docs/source/tutorials/" in recipe.source


@pytest.mark.parametrize("recipe", load_recipes(), ids=lambda each: each.where)
def test_every_option_is_one_that_each_of_its_versions_reads(recipe: Any) -> None:
    service = {
        "name": "a",
        "model": recipe.scope.models[0].rstrip("*"),
        "path": "/weights",
        "port": 8000,
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.9,
        "tensor_parallel_size": 4,
        "args": dict(recipe.args),
    }
    # Of a version without an option list of its own, those before and after it.
    lists = [name for name in load_options() if not name.startswith("_")]
    after = min(each for each in map(number, lists) if each >= number(recipe.scope.through))
    versions = {list_of(recipe.scope.since), *(n for n in lists if number(n) == after)}
    for version in sorted(versions):
        known = load_options()[version]
        assert {name.removeprefix("no-") for name in recipe.args} <= set(known)
        assert set(recipe.args) <= set(engine_config(service, version))


def test_a_recipe_sets_options_and_environment_and_says_so() -> None:
    plain = spec({**DENSE, "recipe": "none"}, **A2)
    got = spec(DENSE, **A2)
    assert got["recipe"] == "throughput"
    assert got["args"] == {
        "async-scheduling": True,
        "max-num-batched-tokens": 40960,
        "block-size": 128,
        "compilation-config": {"cudagraph_mode": "FULL_DECODE_ONLY"},
        "additional-config": {
            "pa_shape_list": [48, 64, 72, 80],
            "weight_prefetch_config": {"enabled": True},
        },
    }
    assert got["recipe_env"] == {
        "TASK_QUEUE_ENABLE": "1",
        "HCCL_OP_EXPANSION_MODE": "AIV",
        "VLLM_ASCEND_ENABLE_FLASHCOMM1": "1",
    }
    assert got["warnings"] == [
        "recipe throughput sets async-scheduling, max-num-batched-tokens, block-size,"
        " compilation-config, additional-config, TASK_QUEUE_ENABLE, HCCL_OP_EXPANSION_MODE,"
        " VLLM_ASCEND_ENABLE_FLASHCOMM1 as in vllm-ascend v0.18.0"
        " docs/source/tutorials/models/Qwen3-Dense.md:153 (A3; A2 the same, :110), written for"
        " Qwen3-32B-W8A8, tensor parallel 4, 5500 tokens, 3.5K in and 1.5K out; the length of the"
        " row was not measured with it"
    ]
    for key in ("args", "warnings", "recipe", "recipe_env"):
        plain.pop(key, None)
        got.pop(key)
    assert got == plain


def test_without_a_recipe_nothing_is_different() -> None:
    request = {"model": "Qwen3-32B", "cards": 4}
    assert spec(request, **A2) == spec(request)
    none = spec({**request, "recipe": "none"}, **A2)
    assert none.pop("recipe") == "none"
    assert none == spec(request)


def test_args_of_the_user_count_before_a_recipe() -> None:
    own = {"max_num_batched_tokens": 8192, "async-scheduling": None}
    got = spec({**DENSE, "args": own}, **A2)["args"]
    assert (got["max_num_batched_tokens"], got["async-scheduling"]) == (8192, None)
    assert "max-num-batched-tokens" not in got
    assert got["block-size"] == 128
    got = spec({**DENSE, "args": {"no_async_scheduling": True}}, **A2)["args"]
    assert [key for key in got if "async" in key] == ["no_async_scheduling"]


def test_the_memory_of_the_allocator_is_set_where_the_tutorial_sets_it() -> None:
    for purpose in ("throughput", "latency"):
        got = spec({"model": "Qwen3-30B-A3B", "cards": 4, "recipe": purpose}, **A3)
        assert got["recipe_env"]["PYTORCH_NPU_ALLOC_CONF"] == "expandable_segments:True"


def test_a_recipe_that_no_tutorial_has_is_rejected() -> None:
    assert rejection({**DENSE, "recipe": "latency"}, **A2) == (
        "recipe of Qwen3-32B is latency: no tutorial that was read has one for it on vLLM 0.18.0 and"
        " 910B1, 910B2, 910B3, 910B4-1. There is throughput on vLLM 0.18.0 for 910B1, 910B2, 910B3,"
        " 910B4, 910B4-1, Ascend910; throughput on vLLM 0.23.0 for Ascend910; throughput on vLLM 0.24.0"
        " to 0.26.0 for Ascend910; latency on vLLM 0.23.0 to 0.26.0 for Ascend910; throughput on vLLM"
        " 0.27.1 to 0.30.0 for Ascend910; latency on vLLM 0.27.1 to 0.30.0 for Ascend910. Leave recipe"
        " out, or write args and env yourself."
    )
    assert "There is none for this model." in rejection(
        {"model": "QwQ-32B", "recipe": "throughput"}, **A2
    )
    assert "a host without a hardware profile" in rejection(DENSE, engine_version="0.18.0")
    assert rejection({**DENSE, "recipe": "fast"}) == (
        "recipe of Qwen3-32B is 'fast', which is none of throughput, latency, none."
    )
    # The lookup alone does not know what serves.
    assert "recipe_env" not in spec(DENSE)


def test_a_version_whose_tutorial_was_not_read_gets_the_nearest_older_recipe() -> None:
    def served(version: str) -> dict[str, Any]:
        return spec(DENSE, **{**A3, "engine_version": version})

    def note(version: str, older: str) -> str:
        return (
            f"no tutorial of vLLM {version} was read for recipe throughput: it is that of vLLM {older},"
            " the nearest older one"
        )

    assert note("0.33.0", "0.30.0") in served("0.33.0")["warnings"]
    assert served("0.33.0")["args"] == served("0.30.0")["args"]
    assert note("0.20.2", "0.18.0") in served("0.20.2")["warnings"]
    # FlashComm 1 is in no recipe for an engine that has it no more.
    assert "enable_flashcomm1" in served("0.26.0rc1")["args"]["additional-config"]
    for version in ("0.27.1rc1", "0.30.0rc2"):
        assert "enable_flashcomm1" not in served(version)["args"]["additional-config"]
    for version in ("0.18.0", "0.23.0.post1", "0.25.1rc1", "0.30.0rc2"):
        assert not any("no tutorial" in text for text in served(version)["warnings"])
    # Nothing older was read.
    assert "no tutorial" in rejection(DENSE, **{**A3, "engine_version": "0.13.0"})
    # The newer tutorials have none for an A2, and an older one is not taken instead.
    for version in ("0.23.0", "0.31.0"):
        assert "no tutorial" in rejection(DENSE, **{**A2, "engine_version": version})
