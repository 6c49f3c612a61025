# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where weights come from, and how a model's own configuration is held against a service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import Facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve_terms,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.jobs import (
    Wish,
    duration,
    jobs_of,
    judge,
    native_context,
    progress_line,
)

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


def job(spec: dict[str, Any] | None = None, **wish: Any) -> dict[str, Any]:
    (only,) = jobs_of([{**QWEN, **(spec or {})}], Wish(**wish))
    return only


# -- where from --------------------------------------------------------------------------------------


def test_weights_go_where_the_engine_reads_them() -> None:
    assert job()["folder"] == "/var/lib/vllm/weights/Qwen/Qwen3-14B"
    assert job({"path": "/srv/q/"})["folder"] == "/srv/q"
    assert job(weights_dir="/data/w/")["folder"] == "/data/w/Qwen/Qwen3-14B"


def test_each_hub_is_asked_for_its_own_id_into_the_same_folder() -> None:
    spec = {"huggingface": "meta/L-8B", "modelscope": "LLM/L-8B"}
    assert (job(spec, source="modelscope")["id"], job(spec, source="huggingface")["id"]) == (
        "LLM/L-8B",
        "meta/L-8B",
    )
    assert job(spec, source="modelscope")["folder"] == "/var/lib/vllm/weights/meta/L-8B"


def test_an_entry_goes_before_the_models_variable_and_that_before_the_default() -> None:
    models = {"qwen3-14b": {"source": "huggingface", "revision": "abc"}}
    assert job(source="modelscope", models=models)["source"] == "huggingface"
    assert job(source="modelscope", models=models)["revision"] == "abc"
    assert job({"weights": "modelscope"}, models=models)["source"] == "modelscope"
    # Of another source's mapping nothing is left.
    assert job({"weights": "modelscope"}, models=models)["revision"] == ""
    assert job({"weights": {"revision": "v2"}}, models=models)["revision"] == "v2"
    assert job({"weights": {"revision": "v2"}}, models=models)["source"] == "huggingface"


@pytest.mark.parametrize("key", ["Qwen3-14B", "Qwen/qwen3-14b", "chat"])
def test_the_models_variable_knows_models_services_and_ids(key: str) -> None:
    assert job({"name": "chat"}, models={key: "huggingface"})["source"] == "huggingface"


def test_a_path_of_ones_own_is_not_filled_from_a_hub_unless_it_is_said() -> None:
    assert job({"path": "/srv/tuned"}, source="modelscope")["source"] == "local"
    assert job({"path": "/srv/q", "weights": {"id": "a/b"}}, source="modelscope")["id"] == "a/b"


def test_shares_and_rsync_find_models_below_a_location() -> None:
    assert job(source="nfs", location="/mnt/models/")["location"] == "/mnt/models/Qwen/Qwen3-14B"
    assert job(source="rsync", location="store:/m")["location"] == "store:/m/Qwen/Qwen3-14B"
    own = {"weights": {"source": "nfs", "location": "/mnt/x"}}
    assert job(own, source="modelscope")["location"] == "/mnt/x"


def test_services_of_one_model_share_one_job() -> None:
    (only,) = jobs_of(
        [{**QWEN, "name": "a"}, {**QWEN, "name": "b"}, {"name": "c", "state": "absent"}], Wish()
    )
    assert only["services"] == ["a", "b"]


def test_services_that_want_different_weights_in_one_folder_are_refused() -> None:
    both = [{**QWEN, "name": "a", "weights": "modelscope"}, {**QWEN, "name": "b"}]
    with pytest.raises(
        AscendError,
        match=r"a and b share the weights .* another source each \(modelscope and local\)",
    ):
        jobs_of(both, Wish())


def test_one_folder_in_two_spellings_is_one_folder() -> None:
    both = [{**QWEN, "name": "a", "path": "//srv/q/"}, {**QWEN, "name": "b", "path": "/srv/./q"}]
    assert [(each["folder"], each["services"]) for each in jobs_of(both, Wish())] == [
        ("/srv/q", ["a", "b"])
    ]


def test_secrets_of_an_address_are_not_in_the_message() -> None:
    both = [
        {**QWEN, "name": name, "weights": {"source": "archive", "location": location}}
        for name, location in (
            ("a", "https://me:hidden@x/q.tar?sig=hidden"),
            ("b", "https://x/p.tar"),
        )
    ]
    with pytest.raises(AscendError) as caught:
        jobs_of(both, Wish())
    assert "https://x/q.tar" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_requests_that_were_not_resolved_are_told_apart() -> None:
    with pytest.raises(AscendError, match=r"a service is a string, not one that the lookup gave"):
        jobs_of(["Qwen3-14B"], Wish())  # type: ignore[list-item]


@pytest.mark.parametrize(("given", "meant"), [(True, True), ("False", False), ("yes", True)])
def test_verify_may_come_from_a_template(given: object, meant: bool) -> None:
    assert job({"weights": {"source": "modelscope", "verify": given}})["verify"] is meant


@pytest.mark.parametrize(("written", "says"), [("Weights", "Write weights"), ("weigths", None)])
def test_a_slip_of_the_pen_in_the_key_is_noticed(written: str, says: str | None) -> None:
    request = [{"model": "Qwen3-14B", written: "modelscope"}]
    if says:
        with pytest.raises(AscendError, match=says):
            resolve_terms(request, load_catalogue(), Options())
        return
    spec = resolve_terms(request, load_catalogue(), Options())[0].as_dict()
    assert any("is weights meant?" in warning for warning in spec["warnings"])


@pytest.mark.parametrize(
    ("spec", "wish", "says"),
    [
        ({"weights": "hugginface"}, {}, "there is no source 'hugginface'"),
        ({"weights": {"sorce": "nfs"}}, {}, "key 'sorce', which nothing reads. Write source."),
        ({"weights": ["nfs"]}, {}, "is a list; a source"),
        (
            {"weights": {"source": "huggingface", "revision": 12}},
            {},
            "revision is a number: put it between quotes",
        ),
        (
            {"weights": {"revision": "v1"}},
            {},
            "vllm_weights_source is local, so nothing is fetched",
        ),
        (
            {"weights": {"source": "huggingface", "id": "a/../../b"}},
            {},
            "hub id 'a/../../b' is not one",
        ),
        (
            {"weights": "modelscope", "modelscope": None},
            {},
            "no id of Qwen3-14B on modelscope is known",
        ),
        ({"huggingface": None, "modelscope": None}, {}, "no hub id is known for Qwen3-14B"),
        ({"path": "models/q"}, {}, "is no absolute path"),
        ({}, {"source": "rsync"}, "Set vllm_weights_location"),
        ({}, {"source": "nfs", "location": "store:/m"}, "use rsync for another machine"),
        ({}, {"source": "archive"}, "which is another one for each model"),
        ({"weights": "archive"}, {}, "needs either location"),
        ({"weights": {"location": "q.tar", "source": "archive"}}, {}, "given by src"),
        ({"weights": {"src": "q.tar", "sha256": "abc"}}, {}, "64 hexadecimal digits"),
        ({"weights": {"src": "q.zip"}}, {}, "a zip is not unpacked here"),
        (
            {"weights": {"source": "archive", "location": "https://x/q.tar.zst?sig=1"}},
            {},
            "a zst is not unpacked here",
        ),
        (
            {"weights": {"source": "nfs", "location": "/m", "revision": "v1"}},
            {},
            "come from nfs, which has no use for revision",
        ),
        (
            {"weights": {"source": "archive", "src": "q.tar", "skip": "*.txt"}},
            {},
            "come from archive, which has no use for skip",
        ),
        ({"weights": {"source": "modelscope", "skip": [1]}}, {}, "skip has to be a list"),
        ({"weights": {"source": "modelscope", "verify": "maybe"}}, {}, "Write true or false"),
        ({"path": "/"}, {}, "cannot be the root folder"),
        ({}, {"endpoints": {"hf": "https://x"}}, "vllm_weights_endpoints has hf"),
        ({}, {"endpoints": {"huggingface": "hf-mirror.com"}}, "an address such as"),
        ({}, {"checks": {"context": "off"}}, "vllm_weights_checks has context: 'off'"),
        (
            {"weights": {"source": "rsync", "location": "-e sh x:/y"}},
            {},
            "nothing that rsync could read",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    spec: dict[str, Any], wish: dict[str, Any], says: str
) -> None:
    with pytest.raises(AscendError) as caught:
        job(spec, **wish)
    assert says in str(caught.value)


def test_the_example_of_the_documentation_means_what_it_says(repository: Path) -> None:
    text = (repository / "docs" / "weights.md").read_text(encoding="utf-8")
    values = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    specs = [
        each.as_dict()
        for each in resolve_terms(values["vllm_service_instances"], load_catalogue(), Options())
    ]
    jobs = jobs_of(
        specs, Wish(source=values["vllm_weights_source"], models=values["vllm_weights_models"])
    )
    assert [each["source"] for each in jobs] == [
        "modelscope",
        "nfs",
        "huggingface",
        "archive",
        "local",
    ]
    assert not any(spec["warnings"] for spec in specs)


# -- whether they fit --------------------------------------------------------------------------------


def found(
    spec: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    facts: Facts | None = None,
    wish: Wish | None = None,
    **weights: Any,
) -> list[tuple[str, str]]:
    record = {"config": {**CONFIG, **(config or {})}, **weights}
    results = judge({**QWEN, **(spec or {})}, record, facts, wish or Wish())
    return [(each.severity, each.code) for each in results]


def message(spec: dict[str, Any], config: dict[str, Any]) -> str:
    (only,) = judge({**QWEN, **spec}, {"config": {**CONFIG, **config}}, None, Wish())
    return only.message


def test_weights_that_fit_say_nothing() -> None:
    assert found() == []


def test_heads_that_do_not_divide_are_said_with_the_sizes_that_do() -> None:
    words = message({"tensor_parallel_size": 16}, {})
    assert (
        "Total number of attention heads (40) must be divisible by tensor parallel size (16)"
        in words
    )
    assert "Sizes that do are 1, 2, 4, 8, 40" in words


def test_sizes_are_named_where_only_key_value_heads_are_known() -> None:
    said = message(
        {"tensor_parallel_size": 3},
        {"num_attention_heads": None, "num_key_value_heads": 8},
    )
    assert "Sizes that do are 1, 2, 4, 8, 16" in said


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
    assert found(long, wish=Wish(env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"})) == [
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
    assert found(long, wish=Wish(checks={"context": "warning"})) == [("warning", "context")]
    assert found(long, wish=Wish(checks={"context": "ignore"})) == []


@pytest.mark.parametrize(
    "config", [None, [], {"num_attention_heads": "x", "max_position_embeddings": None}]
)
def test_an_odd_configuration_breaks_nothing(config: Any) -> None:
    assert judge(QWEN, {"config": config}, None, Wish()) == []


# -- words -------------------------------------------------------------------------------------------


def test_progress_in_words() -> None:
    state = {
        "model": "Qwen3-14B",
        "phase": "fetching",
        "done": 11 * 10**9,
        "total": 29_540_067_328,
        "error": "",
    }
    assert progress_line(state, 112.3e6) == (
        "Qwen3-14B: fetching 37 % (11.0 GB of 29.5 GB), 112.3 MB/s, 3 min left"
    )
    assert (
        progress_line({**state, "phase": "failed", "error": "no room"}, None)
        == "Qwen3-14B: failed: no room"
    )
    assert progress_line({**state, "phase": "waiting"}, None) == "Qwen3-14B: waiting"


def test_durations_in_words() -> None:
    assert [duration(each) for each in (45.2, 100, 5399, 12_000)] == [
        "45 s",
        "2 min",
        "90 min",
        "3 h 20 min",
    ]
