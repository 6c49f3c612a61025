# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files, read by the real argument parsers of the versions in the matrix."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
import vllm_config
import yaml
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.trial import (
    Benchmark,
    require_benchmark,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.cluster import Cluster
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import (
    load_options,
    number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.recipes import load_recipes
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.arguments import MANAGED
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import (
    check_args,
    engine_config,
)

from .parsers import Parser
from .readers import Reader

NATIVE = "model: m\n"


def placed(request: Any, memory: float = 64) -> list[dict[str, Any]]:
    """Services of the shipped tables, each alone on a host of as many cards as it needs."""
    specs = resolve_terms([request], load_catalogue(), Options(card_memory_gb=memory))
    return [place([spec.as_dict()], spec.cards)[0] for spec in specs]


def service(**args: Any) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in args.items()}
    return placed({"model": "Qwen3-14B", "name": "chat", "args": named})[0]


def test_data_parallel_ranks_are_read_as_they_were_counted(reader: Reader) -> None:
    request = {"model": "Qwen3-235B-A22B", "tensor_parallel_size": 8}
    for one in (
        placed({**request, "data_parallel_size": 2})[0],
        placed({**request, "args": {"data-parallel-size": 2}})[0],
    ):
        read = reader.values(one)
        assert (read["data_parallel_size"], read["tensor_parallel_size"]) == (2, 8)
        assert len(one["cards"]) == 16


@pytest.mark.parametrize(("memory", "rows"), [(64, 61), (32, 9)])
def test_the_file_of_every_row_says_what_was_resolved(
    reader: Reader, memory: float, rows: int
) -> None:
    services = placed("*", memory)
    assert len(services) == rows
    for one in services:
        read = reader.values(one)
        assert read["max_model_len"] == one["max_model_len"]
        assert read["tensor_parallel_size"] == one["tensor_parallel_size"]
        assert read["pipeline_parallel_size"] == one["pipeline_parallel_size"]
        assert read["data_parallel_size"] == one["data_parallel_size"]
        assert read["gpu_memory_utilization"] == one["gpu_memory_utilization"]
        assert (read["host"], read["port"]) == ("0.0.0.0", one["port"])
        model = read.get("model_tag") or read["model"]
        assert model == f"/var/lib/vllm/weights/{one['huggingface'] or one['modelscope']}"
        assert one["model"] in read["served_model_name"]
        assert read["hf_overrides"] == one["args"].get("hf-overrides", {})
        if one["kind"] in ("embed", "rerank"):
            pooling = {"embed": "embed", "rerank": "score"}[one["kind"]]
            assert (read.get("runner"), read.get("task")) in (("pooling", None), (None, pooling))


def starting_on(version: str) -> list[dict[str, Any]]:
    """The services of the table's rows that start on a version, with what they need there."""
    found = []
    for row in load_catalogue().every_row(64):
        with contextlib.suppress(AscendError):
            specs = resolve_terms([row.model], load_catalogue(), Options(engine_version=version))
            found += [place([spec.as_dict()], spec.cards)[0] for spec in specs]
    return found


def test_what_a_model_needs_is_read_by_the_version(reader: Reader) -> None:
    services = starting_on(reader.version)
    assert len(services) >= 57
    for one in services:
        read = reader.values(one)
        for option in ("trust-remote-code", "enable-expert-parallel"):
            assert read[option.replace("-", "_")] is bool(one["args"].get(option, False))
        assert read["max_model_len"] == one["max_model_len"]


# Where the name of a recipe is not the name of a model that a table lists, and needs no more.
REQUESTS: dict[str, dict[str, Any]] = {
    "Qwen3-Coder-30B-A3B": {"model": "Qwen3-Coder-30B-A3B-Instruct"},
    "InternVL3.5-38B": {
        "model": "InternVL3.5-38B",
        "path": "/w",
        "cards": 4,
        "max_model_len": 8192,
    },
}


def test_every_recipe_is_read_by_the_versions_that_get_it(reader: Reader) -> None:
    options = Options(profile="atlas-800i-a3", engine_version=reader.version)
    # The last of a purpose and of models counts for a version, also for one after those it was read for.
    served = {
        (recipe.purpose, recipe.scope.models): recipe
        for recipe in load_recipes()
        if recipe.since <= number(reader.version)
    }
    for recipe in served.values():
        for model in (each.rstrip("*") for each in recipe.scope.models if "_" not in each):
            request = {**REQUESTS.get(model, {"model": model}), "recipe": recipe.purpose}
            (spec,) = resolve_terms([request], load_catalogue(), options)
            read = reader.values(place([spec.as_dict()], spec.cards)[0])
            for option, value in recipe.args.items():
                name = option.removeprefix("no-").replace("-", "_")
                expected = not value if option.startswith("no-") else value
                assert read[name] is not None if isinstance(value, dict) else read[name] == expected


@pytest.mark.parametrize("kind", ["generate", "embed", "rerank"])
def test_the_benchmark_of_a_calibration_is_read_or_else_refused_before(
    parser: Parser, kind: str
) -> None:
    placed = {"name": "m", "port": 8000, "max_model_len": 2048, "kind": kind}
    answer = parser.benchmark(Benchmark(2, 128).words(placed, "/weights"))
    try:
        require_benchmark(kind, parser.version)
    except AscendError:
        assert answer["status"] != 0
        return
    assert answer["status"] == 0, answer["error"]
    assert answer["values"]["random_input_len"] in (2048 - 16, 2048 - 128 - 16)


def test_the_shipped_option_list_is_the_parsers_own(parser: Parser) -> None:
    real = {name.removeprefix("--"): fact for name, fact in parser.options().items()}
    shipped = load_options()[parser.version]
    assert set(real) == set(shipped)
    for name, fact in real.items():
        assert fact == shipped[name], name


# What a user may write in `args`, and how the engine is to read it.
ARGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"enable-prefix-caching": True}, {"enable_prefix_caching": True}),
    ({"enable_prefix_caching": False}, {"enable_prefix_caching": False}),
    ({"trust-remote-code": True}, {"trust_remote_code": True}),
    ({"enforce-eager": False}, {"enforce_eager": False}),
    ({"seed": 7, "max-num-seqs": 16}, {"seed": 7, "max_num_seqs": 16}),
    ({"dtype": "bfloat16"}, {"dtype": "bfloat16"}),
    ({"max-num-batched-tokens": "8K"}, {"max_num_batched_tokens": 8192}),
    ({"limit-mm-per-prompt": {"image": 2}}, {"limit_mm_per_prompt": {"image": 2}}),
    (
        {"additional-config": {"ascend_scheduler_config": {"enabled": True, "x": [1, "a b"]}}},
        {"additional_config": {"ascend_scheduler_config": {"enabled": True, "x": [1, "a b"]}}},
    ),
    (
        {"override-generation-config": {"temperature": 0.5}},
        {"override_generation_config": {"temperature": 0.5}},
    ),
    ({"allowed-origins": ["http://a", "http://b"]}, {"allowed_origins": ["http://a", "http://b"]}),
    ({"chat-template": "{{ 'ä' }}: x"}, {"chat_template": "{{ 'ä' }}: x"}),
    ({"revision": "12e4"}, {"revision": "12e4"}),
    ({"revision": "null"}, {"revision": "null"}),
]


@pytest.mark.parametrize(("args", "expected"), ARGS, ids="-".join)
def test_what_a_user_writes_is_what_the_engine_reads(
    reader: Reader, args: dict[str, Any], expected: dict[str, Any]
) -> None:
    read = reader.values(service(**args))
    assert {name: read[name] for name in expected} == expected


@pytest.mark.parametrize("role", ["kv_producer", "kv_consumer"])
def test_a_service_that_passes_its_cache_on_gets_its_port(reader: Reader, role: str) -> None:
    sizes = {side: {"dp_size": 1, "tp_size": 1} for side in ("decode", "prefill")}
    config: dict[str, Any] = {
        "kv_connector": "MooncakeConnectorV1",
        "kv_role": role,
        "kv_connector_extra_config": sizes,
    }
    for port, expected in ((None, 63000), ("28100", 28100)):
        config = {**config, "kv_port": port} if port else config
        one = service(kv_transfer_config=json.dumps(config) if port else config)
        read = reader.values(one)["kv_transfer_config"]
        for words in (f"kv_role='{role}'", f"kv_port={expected},", f"{sizes}"):
            assert words in read, read


@pytest.mark.parametrize(
    "args",
    [
        {"no-such-option": 3},
        {"block-size": "seven"},
        {"block-size": 1.5},
        {"dtype": "float99"},
        {"trust-remote-code": "true"},
        {"max-num-seqs": [1, 2]},
        {"additional-config": "{not json}"},
        {"max-num-batched-tokens": "0.5K"},
        {"num-gpu-blocks-override": "many"},
        {"kv-transfer-config": "{not json}"},
        {"compilation-config": [1]},
        {"lora-modules": "adapter"},
    ],
    ids="-".join,
)
def test_what_is_refused_at_plan_time_the_engine_refuses_too(
    reader: Reader, args: dict[str, Any]
) -> None:
    with pytest.raises(AscendError):
        engine_config(service(**args), reader.version)
    # The model in the words: with one in the file, a stray value is taken for the model.
    answer = reader.read(yaml.safe_dump(args), "m --config FILE")
    assert answer["status"] != 0


# Refused by the engine for what is missing inside them, which no option list says.
DEEPER = {"lora-modules", "prompt-adapters"}


@pytest.mark.parametrize("value", ["seven", 7, 1.5, "8K", "", "{not json}", [1, 2], {}], ids=repr)
def test_each_option_is_refused_at_plan_time_or_read(reader: Reader, value: Any) -> None:
    """One value for every option; what is not refused goes into one file, which the engine reads."""
    passed: dict[str, Any] = {}
    names = load_options()[reader.version].keys() - MANAGED.keys() - {"model_tag"}
    for name in sorted(names):
        try:
            check_args({"name": name, "args": {name: value}}, reader.version)
            Cluster().check_args({name: value}, False, name)
        except AscendError:
            continue
        if not name.startswith("data-parallel-") and not (value == {} and name in DEEPER):
            passed[name] = value
    assert passed, "everything is refused"
    reader.values(service(**passed))


def test_renamed_options_are_offered_under_a_name_that_the_version_has(reader: Reader) -> None:
    """The way out of a refusal, taken, leads to a file that the engine reads."""
    old = {"task": "embed", "rope-scaling": {"rope_type": "yarn", "factor": 2.0}}
    new = {
        "task": {"runner": "pooling"},
        "rope-scaling": {"hf-overrides": {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}},
    }
    for name, value in old.items():
        try:
            reader.values(service(**{name: value}))
        except AscendError as error:
            assert next(iter(new[name])) in str(error)
            reader.values(service(**new[name]))


# Files and command lines, and the options to compare: the traps of the engine's own loader.
CASES: list[tuple[str, str, list[str]]] = [
    (NATIVE + "max-model-len: 16384\ntensor_parallel_size: 4\nport: 8100\n", "", ["port"]),
    (NATIVE + "port: 8100\n", "m --config=FILE", ["port"]),
    (NATIVE + "port: 8100\n", "--port 1 --config FILE", ["port"]),
    (NATIVE + "port: 8100\n", "--config FILE --port 1", ["port"]),
    (NATIVE + "trust-remote-code: true\n", "", ["trust_remote_code"]),
    (NATIVE + "no-trust-remote-code: true\n", "", ["trust_remote_code"]),
    (NATIVE + "enable-prefix-caching: false\n", "", ["enable_prefix_caching"]),
    (NATIVE + 'trust-remote-code: "true"\n', "m --config FILE", []),
    (NATIVE + "hf-overrides:\n  rope: {factor: 4.0}\n", "", ["hf_overrides"]),
    (NATIVE + 'hf-overrides: \'{"rope": {"factor": 4.0}}\'\n', "", ["hf_overrides"]),
    (NATIVE + "served-model-name: [a, b]\n", "", ["served_model_name"]),
    (NATIVE + "revision: null\ngeneration-config: null\n", "", ["revision", "generation_config"]),
    (NATIVE + "max-model: 4096\n", "", ["max_model_len"]),
    (NATIVE + "no-such-flag: 3\n", "m --config FILE", []),
    (NATIVE + "no-such-flag: 3\n", "", []),
    (NATIVE + "max-model-len: 32k\n", "", ["max_model_len"]),
    (NATIVE + "max-model-len: 32K\n", "", ["max_model_len"]),
    (NATIVE + "max-model-len: 25.6k\n", "", ["max_model_len"]),
    (NATIVE + "max-model-len: 0.5K\n", "", []),
    (NATIVE + "max-model-len: auto\n", "", ["max_model_len"]),
    (NATIVE + "block-size: x\n", "", []),
    (NATIVE + "num-gpu-blocks-override: x\n", "", []),
    (NATIVE + "num-gpu-blocks-override: 7\n", "", ["num_gpu_blocks_override"]),
    (NATIVE + "quantization: awq\n", "", ["quantization"]),
    (NATIVE + "mm-processor-kwargs: '{not json}'\n", "", []),
    (NATIVE + 'trust-remote-code: "true"\n', "", ["model_tag", "trust_remote_code"]),
    ("model_tag: m\n", "", []),
    ("", "m --config FILE", []),
    (NATIVE, "--config FILE --hf_overrides.rope_x.factor 4.0", ["hf_overrides"]),
]


@pytest.mark.parametrize(("text", "words", "names"), CASES)
def test_the_stand_in_reads_a_file_as_the_real_parser_does(
    reader: Reader,
    text: str,
    words: str,
    names: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = words or "--config FILE"
    real = reader.read(text, words)
    table = load_options()[reader.version]
    path = reader.folder / "a.yaml"
    line = ["serve", *(word.replace("FILE", str(path)) for word in words.split())]
    try:
        read = vllm_config.parser(reader.version, table).parse_args(line)
    except SystemExit as end:
        assert real["status"] == end.code, real["error"]
        said = capsys.readouterr().err.strip().splitlines()[-1]
        # The engine adds how Python prints the converter.
        heard = re.sub(r" to <.*>\.$", ".", real["error"].strip().splitlines()[-1])
        assert heard == said
    except (ValueError, AttributeError) as error:
        assert real["status"] == 1
        assert type(error).__name__ in real["error"]
    else:
        assert real["status"] == 0, real["error"]
        for name in names:
            ours = json.loads(json.dumps(getattr(read, name)))
            assert ours == real["values"][name], name
