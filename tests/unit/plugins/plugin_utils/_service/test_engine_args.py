# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a version of vLLM could not read of `args` is refused before a host is chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import load_options
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import (
    check_args,
)

VERSIONS = [version for version in load_options() if not version.startswith("_")]


def refusal(version: str, **args: Any) -> str:
    with pytest.raises(AscendError) as caught:
        check_args({"model": "Qwen3-14B", "args": args}, version)
    return str(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["no-such-option", "no_such_option"])
def test_an_option_that_no_version_has(version: str, name: str) -> None:
    assert refusal(version, **{name: 3}).startswith(
        f"service Qwen3-14B: args have the option '{name}', which vLLM {version} does not have"
    )


@pytest.mark.parametrize("spelling", ["swap-space", "swap_space"])
def test_an_option_that_other_versions_have(spelling: str) -> None:
    assert "0.9.1, 0.11.0, 0.13.0 have it" in refusal("0.18.0", **{spelling: 4})
    check_args({"model": "m", "args": {spelling: 4}}, "0.13.0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        # The engine reads these as `None or a number`, `None or JSON`.
        ("num-gpu-blocks-override", "many", "an integer is needed"),
        ("num-gpu-blocks-override", 1.5, "an integer is needed"),
        ("num-gpu-blocks-override", {"a": 1}, "a number is needed"),
        ("kv-transfer-config", "{not json}", "is not JSON"),
        ("limit-mm-per-prompt", "{not json}", "is not JSON"),
        ("hf-overrides", "{not json}", "is not JSON"),
        ("kv-transfer-config", [1], "a mapping is needed"),
        ("compilation-config", "fast", "mapping"),
        ("dtype", {"type": "half"}, "it can be"),
        ("quantization", ["awq", "gptq"], "takes one value"),
        ("lora-modules", "adapter", "NAME=PATH"),
        ("lora-modules", "{not json}", "NAME=PATH"),
    ],
)
def test_a_value_that_the_option_does_not_take(
    version: str, name: str, value: Any, words: str
) -> None:
    message = refusal(version, **{name: value})
    assert f"service Qwen3-14B, args, {name} is" in message
    assert words in message


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "args",
    [
        {"num_gpu_blocks_override": 1000, "num-lookahead-slots": None, "kv_transfer_config": None},
        {"num-gpu-blocks-override": "1000", "revision": "None", "quantization": "awq"},
        {"kv-transfer-config": {"kv_connector": "x", "kv_role": "kv_producer"}},
        {"kv-transfer-config": '{"kv_connector": "x", "kv_role": "kv_producer"}'},
        {"no-enable-prefix-caching": True},
        {"lora-modules": "adapter=/srv/a"},
        {"lora-modules": {"name": "adapter", "path": "/srv/a"}},
    ],
)
def test_values_that_it_takes(version: str, args: dict[str, Any]) -> None:
    args = {
        name: value
        for name, value in args.items()
        if value is not None or name.replace("_", "-") in load_options()[version]
    }
    check_args({"model": "m", "args": args}, version)


def test_the_old_ways_of_the_oldest_version() -> None:
    old = {"limit-mm-per-prompt": "image=2", "compilation-config": 3}
    check_args({"model": "m", "args": old}, "0.9.1")
    for name, value in old.items():
        refusal("0.11.0", **{name: value})


def test_a_list_for_an_option_of_json_is_json() -> None:
    check_args({"model": "m", "args": {"allowed-origins": ["http://a", "http://b"]}}, "0.18.0")


def test_what_has_no_args_or_is_to_go_is_left_alone() -> None:
    check_args({"model": "m"}, "0.18.0")
    check_args({"model": "m", "args": None}, "0.18.0")
    check_args({"model": "m", "state": "absent", "args": {"no-such-option": 3}}, "0.18.0")


def test_a_request_without_its_kind_may_say_what_it_serves() -> None:
    check_args({"model": "m", "args": {"runner": "pooling"}}, "0.23.0")


def test_a_key_that_is_no_text() -> None:
    with pytest.raises(AscendError, match="1"):
        check_args({"model": "m", "args": {1: 2}}, "0.18.0")


def test_a_version_without_a_list_is_served_by_the_nearest_older_one() -> None:
    check_args({"model": "m", "args": {"nnodes": 1}}, "0.14.0rc1")  # from 0.13.0 on
    with pytest.raises(AscendError, match="Use hf-overrides instead"):
        check_args({"model": "m", "args": {"rope-theta": 1e6}}, "0.22.1rc1")
    check_args({"model": "m", "args": {"rope-theta": 1e6}}, "0.10.1rc1")


def test_the_option_lists_hold_to_their_schema(repository: Path) -> None:
    schema = json.loads((repository / "vars/schemas/vllm_options.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(load_options())


def test_every_option_list_is_of_a_version_that_can_be_installed(repository: Path) -> None:
    matrix = yaml.safe_load((repository / "vars/version_matrix.yml").read_text())
    rows = [*matrix["versions"], *matrix["cpu_versions"]]
    assert {row["vllm"] for row in rows} >= set(VERSIONS)
