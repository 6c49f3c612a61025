# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reaches vLLM: each test reads the written file back by vLLM's own rules."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import load_options
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import (
    check_args,
    engine_config,
    engine_yaml,
)
from hypothesis import given, settings
from hypothesis import strategies as st

VERSIONS = [version for version in load_options() if not version.startswith("_")]


def service(**more: Any) -> dict[str, Any]:
    return {
        "name": "chat",
        "model": "Qwen3-14B",
        "kind": "generate",
        "huggingface": "Qwen/Qwen3-14B",
        "cards": [0, 1],
        "port": 8000,
        "max_model_len": 32768,
        "gpu_memory_utilization": 0.95,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        **more,
    }


def with_args(**args: Any) -> dict[str, Any]:
    return service(args={key.replace("_", "-"): value for key, value in args.items()})


class Parser(argparse.ArgumentParser):
    """`vllm serve` of a version: its options with argparse's own rules."""

    def __init__(self, version: str) -> None:
        super().__init__(exit_on_error=False, add_help=False)
        for name, fact in load_options()[version].items():
            opts = fact["opts"] or [name]
            if fact["action"] == "BooleanOptionalAction":
                opts = [text for text in opts if not text.startswith("--no-")]
                self.add_argument(*opts, action=argparse.BooleanOptionalAction)
            elif fact["action"] == "_StoreTrueAction":
                self.add_argument(*opts, action="store_true")
            else:
                kind = {"int": int, "float": float}.get(fact.get("type", ""), str)
                self.add_argument(*opts, type=kind, nargs=fact.get("nargs"))

    def error(self, message: str) -> Any:
        raise AssertionError(message)

    def read(self, text: str, version: str) -> argparse.Namespace:
        """Tokens as vLLM makes them of a file, parsed."""
        tokens: list[str] = []
        for key, value in yaml.safe_load(text).items():
            if isinstance(value, bool):
                tokens += [f"--{key}"] if value else []
            elif isinstance(value, list) and version != "0.9.1":
                tokens += [f"--{key}", *map(str, value)]
            else:
                assert not isinstance(value, dict)
                tokens += [f"--{key}", str(value)]
        return self.parse_args(tokens)


PARSERS = {version: Parser(version) for version in VERSIONS}


def arrives(one: dict[str, Any], version: str) -> argparse.Namespace:
    return PARSERS[version].read(engine_yaml(engine_config(one, version)), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plain_service_in_every_version(version: str) -> None:
    got = arrives(service(), version)
    assert got.model == "/var/lib/vllm/weights/Qwen/Qwen3-14B"
    assert (got.host, got.port, got.tensor_parallel_size) == ("0.0.0.0", 8000, 2)
    assert got.max_model_len == "32768"
    assert got.gpu_memory_utilization == 0.95
    names = ["Qwen3-14B"] if version == "0.9.1" else ["Qwen3-14B", "chat"]
    assert got.served_model_name == names
    if version in ("0.18.0", "0.23.0", "0.32.0"):
        assert got.shutdown_timeout == 60
    else:
        assert "shutdown-timeout" not in engine_yaml(engine_config(service(), version))


@pytest.mark.parametrize(
    ("kind", "version", "runner"),
    [
        ("embed", "0.9.1", {"task": "embed"}),
        ("rerank", "0.9.1", {"task": "score"}),
        ("embed", "0.11.0", {"runner": "pooling"}),
        ("rerank", "0.23.0", {"runner": "pooling"}),
        ("generate", "0.23.0", {}),
        ("multimodal", "0.9.1", {}),
    ],
)
def test_the_runner_follows_the_kind(kind: str, version: str, runner: dict[str, str]) -> None:
    config = engine_config(service(kind=kind), version)
    assert {key: config[key] for key in ("runner", "task", "convert") if key in config} == runner


@pytest.mark.parametrize(
    ("args", "older", "newer"),
    [
        ({"task": "embed"}, {"task": "embed"}, {"runner": "pooling", "convert": "embed"}),
        ({"task": "score"}, {"task": "score"}, {"runner": "pooling"}),
        ({"task": "generate"}, {"task": "generate"}, {"runner": "generate"}),
        ({"task": None}, {}, {}),
        ({"runner": "pooling"}, {"task": "score"}, {"runner": "pooling"}),
        ({"convert": "classify"}, {"task": "classify"}, {"convert": "classify"}),
        ({"runner": "generate"}, {"task": "generate"}, {"runner": "generate"}),
        ({"runner": None}, {}, {}),
    ],
)
def test_a_task_and_a_runner_are_written_as_each_version_reads_them(
    args: dict[str, Any], older: dict[str, str], newer: dict[str, str]
) -> None:
    for version, wanted in (("0.9.1", older), ("0.13.0", newer), ("0.23.0", newer)):
        config = engine_config(service(kind="rerank", args=args), version)
        found = {key: config[key] for key in ("task", "runner", "convert") if key in config}
        assert found == wanted, version


def test_a_request_whose_kind_is_not_known_yet_is_not_refused_for_it() -> None:
    check_args({"name": "chat", "args": {"runner": "pooling"}}, "0.9.1")


@pytest.mark.parametrize(
    "args",
    [
        {"rope-scaling": {"type": "yarn", "factor": 4.0, "rope_theta": 1000000}},
        {"rope_scaling": '{"rope_type":"yarn","factor":4.0}', "rope-theta": 1000000},
    ],
)
def test_a_scaling_moves_into_the_overrides_where_the_option_is_gone(args: dict[str, Any]) -> None:
    assert "rope-scaling" in engine_config(service(args=args), "0.11.0")
    given = service(args={**args, "hf_overrides": {"architectures": ["X"]}})
    config = engine_config(given, "0.18.0")
    assert not {"rope-scaling", "rope-theta"} & set(config)
    scaling = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1000000}
    assert json.loads(str(config["hf-overrides"])) == {
        "architectures": ["X"],
        "rope_scaling": scaling,
        "rope_parameters": scaling,
    }


@pytest.mark.parametrize("args", [{"runner": "generate"}, {"runner": None}, {"convert": "embed"}])
def test_the_users_own_runner_wins(args: dict[str, Any]) -> None:
    config = engine_config(service(kind="embed", args=args), "0.23.0")
    expected = {key: value for key, value in args.items() if value is not None}
    assert {key: config[key] for key in ("runner", "convert") if key in config} == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_switches_go_on_and_off(version: str) -> None:
    assert arrives(with_args(enable_prefix_caching=True), version).enable_prefix_caching is True
    assert arrives(with_args(enable_prefix_caching=False), version).enable_prefix_caching is False
    off = arrives(with_args(no_enable_prefix_caching=True), version)
    assert off.enable_prefix_caching is False
    text = engine_yaml(engine_config(with_args(disable_uvicorn_access_log=False), version))
    assert "false" not in text and PARSERS[version].read(text, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_mapping_arrives_as_json(version: str) -> None:
    value = {"rope_scaling": {"factor": 4.0, "type": "yarn", "x": [1, None, True, 'é"']}}
    assert json.loads(arrives(with_args(hf_overrides=value), version).hf_overrides) == value


def test_a_list_for_a_json_option_is_json() -> None:
    got = arrives(with_args(allowed_origins=["https://a", "https://b"]), "0.18.0")
    assert json.loads(got.allowed_origins) == ["https://a", "https://b"]


def test_a_list_of_mappings_is_a_list_of_json_texts() -> None:
    modules = [{"name": "a", "path": "/a"}, {"name": "b", "path": "/b"}]
    got = arrives(with_args(lora_modules=modules), "0.23.0")
    assert [json.loads(text) for text in got.lora_modules] == modules


def test_served_names_of_a_request() -> None:
    assert arrives(service(served_model_name="x"), "0.9.1").served_model_name == ["x"]
    assert arrives(service(served_model_name=["x", "y"]), "0.23.0").served_model_name == ["x", "y"]
    args = {"served-model-name": "z"}
    assert arrives(service(args=args), "0.23.0").served_model_name == ["z"]


def test_the_model_is_the_path_or_the_folder_of_weights() -> None:
    config = engine_config(service(path="/srv/my model"), "0.18.0", weights_dir="/w/")
    assert config["model"] == "/srv/my model"
    config = engine_config(
        service(huggingface=None, modelscope="Qwen/Q"), "0.18.0", weights_dir="/w/"
    )
    assert config["model"] == "/w/Qwen/Q"


def test_stages_stand_there_when_there_are_several() -> None:
    one = service(tensor_parallel_size=1, pipeline_parallel_size=2)
    assert engine_config(one, "0.18.0")["pipeline-parallel-size"] == 2
    assert "pipeline-parallel-size" not in engine_config(service(), "0.18.0")


@pytest.mark.parametrize("version", VERSIONS)
def test_data_parallel_ranks(version: str) -> None:
    one = service(cards=[0, 1, 2, 3], data_parallel_size=2)
    assert engine_config(one, version)["data-parallel-size"] == 2
    assert "data-parallel-size" not in engine_config(service(data_parallel_size=1), version)


def test_vllm_ascends_own_quantisation_is_a_choice() -> None:
    assert engine_config(with_args(quantization="ascend"), "0.9.1")["quantization"] == "ascend"


def test_a_rebuilt_release_has_its_releases_options() -> None:
    assert engine_yaml(engine_config(service(), "0.23.0.post1+empty")) == engine_yaml(
        engine_config(service(), "v0.23.0")
    )


def test_numbers_may_come_as_text_from_a_template() -> None:
    config = engine_config(with_args(max_num_seqs="16", cpu_offload_gb="1.5", seed=-1), "0.23.0")
    assert (config["max-num-seqs"], config["cpu-offload-gb"], config["seed"]) == (16, 1.5, -1)


@pytest.mark.parametrize(
    ("version", "args", "words"),
    [
        ("0.13.0", {"task": "embde"}, ["task is 'embde'", "embed, "]),
        ("0.13.0", {"task": "embed", "runner": "pooling"}, ["task and runner", "Leave one out"]),
        ("0.18.0", {"task": "reward"}, ["convert is 'reward'"]),
        ("0.13.0", {"rope-scaling": {"factor": 2}}, ["hf-overrides", "rope_theta", "config.json"]),
        ("0.13.0", {"rope-scaling": "yarn"}, ["a mapping is needed"]),
        (
            "0.13.0",
            {"rope-scaling": {"rope_theta": 1}, "hf-overrides": {"rope_scaling": {}}},
            ["leave rope-scaling out"],
        ),
        ("0.13.0", {"rope-theta": 1000000}, ["Use hf-overrides", "rope_parameters"]),
        ("0.9.1", {"runner": "pooling"}, ["reads a task instead", "embed, classify"]),
        ("0.9.1", {"runner": "pooling", "task": "embed"}, ["Leave one out"]),
        ("0.9.1", {"runner": "generate", "convert": "embed"}, ["reads a task instead"]),
        ("0.18.0", {"disable-log-requests": True}, ["enable-log-requests"]),
        ("0.18.0", {"swap-space": 4}, ["swap-space", "0.9.1, 0.11.0, 0.13.0 have it"]),
        ("0.18.0", {"max-num-seq": 4}, ["Did you mean max-num-seqs"]),
        ("0.18.0", {"enable-prefix": True}, ["Did you mean enable-prefix-caching"]),
        ("0.18.0", {"q": "awq"}, ["long name: quantization"]),
        ("0.18.0", {"-q": "awq"}, ["long name: quantization"]),
        ("0.18.0", {"--max-num-seqs": 4}, ["without dashes before it: max-num-seqs"]),
        ("0.18.0", {"compilation-config.level": 3}, ["compilation-config: {level: ...}"]),
        ("0.18.0", {"model": "x"}, ["may not set model", "`path`"]),
        ("0.18.0", {"model_tag": "x"}, ["model_tag", "Did you mean model"]),
        ("0.18.0", {"port": 1}, ["may not set port", "`port`"]),
        ("0.18.0", {"host": "::"}, ["may not set host", "vllm_service_host"]),
        ("0.18.0", {"tensor_parallel_size": 1}, ["`tensor_parallel_size`"]),
        ("0.18.0", {"pipeline-parallel-size": 1}, ["`pipeline_parallel_size`"]),
        ("0.18.0", {"max-model-len": "auto"}, ["`max_model_len`"]),
        ("0.18.0", {"gpu-memory-utilization": 0.9}, ["`gpu_memory_utilization`"]),
        ("0.18.0", {"api-key": "hush-hush"}, ["`api_key`"]),
        ("0.18.0", {"config": "/x"}, ["may not set config"]),
        ("0.18.0", {"shutdown-timeout": 1}, ["vllm_service_shutdown_timeout"]),
        ("0.18.0", {"hf-token": "hush-hush"}, ["HF_TOKEN", "`secret_env`"]),
        ("0.18.0", {"enable-prefix-caching": "true"}, ["a switch", "without quotes", "| bool"]),
        ("0.18.0", {"dtype": "bf16"}, ["dtype is 'bf16'", "bfloat16"]),
        ("0.18.0", {"dtype": True}, ["a boolean", "takes a value"]),
        ("0.18.0", {"max-num-seqs": 1.5}, ["an integer"]),
        ("0.18.0", {"cpu-offload-gb": "lots"}, ["a number is needed"]),
        ("0.18.0", {"cpu-offload-gb": "nan"}, ["a number is needed"]),
        ("0.18.0", {"cpu-offload-gb": "-inf"}, ["a number is needed"]),
        ("0.18.0", {"max-num-batched-tokens": "8 k"}, ["suffix"]),
        ("0.18.0", {"middleware": ["a", "b"]}, ["takes one value"]),
        ("0.18.0", {"lora-modules": []}, ["empty list", "null"]),
        ("0.18.0", {"allowed-origins": "*"}, ["not JSON"]),
        ("0.18.0", {"chat-template": "--x"}, ["begins with a dash"]),
        ("0.18.0", {"seed": "-1.5"}, ["an integer"]),
        ("0.18.0", {"chat-template": "a\rb"}, ["U+000D"]),
        ("0.18.0", {"chat-template": "a\ud800"}, ["U+D800"]),
        ("0.18.0", {"max_num_seqs": 1, "max-num-seqs": 2}, ["twice"]),
        ("0.18.0", {"async-scheduling": True, "no-async-scheduling": True}, ["twice"]),
        ("0.9.1", {"ignore-patterns": ["a", "b"]}, ["0.9.1 makes one text", "0.11.0 or newer"]),
        ("0.18.0", ["a"], ["args is a list"]),
        ("newest", {}, ["'newest' (vllm_service_engine_version)", "not a version", "0.18.0"]),
        ("0.19.1", {"no-such-one": 1}, ["vLLM 0.18.0 does not have", "0.19.1 has no option list"]),
    ],
)
def test_refused(version: str, args: Any, words: list[str]) -> None:
    with pytest.raises(AscendError) as caught:
        engine_yaml(engine_config(service(args=args), version))
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert "hush-hush" not in message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"path": "weights/x"}, ["absolute path"]),
        ({"huggingface": None}, ["no hub id", "path:"]),
        ({"huggingface": "../../etc"}, ["hub id"]),
        ({"served_model_name": "a", "args": {"served-model-name": "b"}}, ["Leave one out"]),
    ],
)
def test_a_service_that_cannot_be_written_is_refused(
    wrong: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(AscendError) as caught:
        engine_yaml(engine_config(service(**wrong), "0.18.0"))
    assert [word for word in [*words, "chat"] if word not in str(caught.value)] == []


AWKWARD = st.text() | st.text(st.sampled_from("aé'\"%$#:{}[]\\\n\t -_.0=!&*?|>@`\u2028\x85"))


@settings(max_examples=200, deadline=None)
@given(AWKWARD, st.sampled_from(VERSIONS))
def test_any_text_arrives_or_is_refused(text: str, version: str) -> None:
    if text and not set(text) & set("{}\n"):
        text += "{}"  # a template; without such a character it is a path
    one = with_args(chat_template=text)
    try:
        written = engine_yaml(engine_config(one, version))
    except AscendError:
        unfit = [c for c in text if not c.isprintable() and c not in "\n\t"]
        assert text.startswith("-") or unfit
        return
    assert written.isascii()
    assert yaml.safe_load(written) == engine_config(one, version)
    assert PARSERS[version].read(written, version).chat_template == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=3), st.sampled_from(VERSIONS))
def test_any_mapping_arrives_as_it_is(value: dict[str, Any], version: str) -> None:
    got = arrives(with_args(additional_config=value), version).additional_config
    assert json.loads(got) == value


def test_the_option_list_is_what_its_tool_makes_of_the_dump(
    shared: Path, repository: Path, tmp_path: Path
) -> None:
    dump = shared / "facts" / "vllm_serve_options.json"
    tool = repository / "tests" / "tools" / "vllm_options.py"
    made = tmp_path / "options.json"
    subprocess.run([sys.executable, str(tool), str(dump), str(made)], check=True)
    before, after = json.loads(dump.read_text()), json.loads(made.read_text())
    assert [v for v in after if not v.startswith("_")] == list(before)
    # A dump made elsewhere, of fewer versions and without the inner converters; tests/real holds all
    # of it against the parsers.
    shipped = json.loads((repository / "vars" / "vllm_options.json").read_text())
    for options in shipped.values():
        for option in options.values() if isinstance(options, dict) else ():
            option.pop("of", None)
    assert after == {version: shipped[version] for version in after}
    for version, options in before.items():
        facts = sorted(json.dumps(fact, sort_keys=True) for fact in options.values())
        kept = sorted(json.dumps(fact, sort_keys=True) for fact in after[version].values())
        assert kept == facts
