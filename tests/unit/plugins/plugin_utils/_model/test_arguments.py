# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that model, chip and length need, under what the user wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
)
from ansible_collections.inferops.ascend.tests.unit.plugins.plugin_utils._model.resolving import (
    CATALOGUE,
    UNTESTED,
    spec,
    user_table,
)

# -- lengths beyond the native context, and what else the engine needs -----------------------------

YARN = {
    "rope_type": "yarn",
    "factor": 2.0,
    "original_max_position_embeddings": 32768,
    "rope_theta": 1000000,
}


def test_yarn_by_the_models_documentation_is_in_the_arguments() -> None:
    got = spec("Qwen3-235B-A22B")
    assert got["max_model_len"] == 65536
    assert got["args"] == {"hf-overrides": {"rope_scaling": YARN, "rope_parameters": YARN}}
    assert got["warnings"] == [
        "max_model_len 65536 is above the native context of Qwen3-235B-A22B, 40960 tokens: it is"
        " served with YaRN, factor 2 (hf-overrides, in args), as the model's documentation"
        " describes; the scaling is static and may cost quality on short texts, so set"
        " max_model_len to 40960 if that length suffices"
    ]


def test_the_factor_suits_the_length() -> None:
    def factor(length: object) -> object:
        args = spec({"model": "Qwen3-235B-A22B", "max_model_len": length})["args"]
        return args and args["hf-overrides"]["rope_scaling"]["factor"]

    assert factor("48K") == 1.5
    assert factor(45000) == 1.38  # rounded up, so that 45000 tokens fit
    assert factor("40K") == {}
    four = resolve({"model": "Qwen3-32B", "max_model_len": "128K"}, CATALOGUE, UNTESTED).as_dict()
    assert four["args"]["hf-overrides"]["rope_parameters"]["factor"] == 4.0


def test_the_users_own_scaling_is_left_alone() -> None:
    for args in (
        {"hf-overrides": {"rope_scaling": {"factor": 3}}},
        {"hf_overrides": '{"rope_parameters": {"factor": 3}}'},
        {"rope-scaling": {"factor": 3}},
        {"rope_scaling": {"factor": 3}},
    ):
        got = spec({"model": "Qwen3-235B-A22B", "args": args})
        assert (got["args"], got["warnings"]) == (args, [])


def test_overrides_without_scaling_are_left_alone_but_not_in_silence() -> None:
    args = {"hf_overrides": {"num_experts_per_tok": 4}}
    got = spec({"model": "Qwen3-235B-A22B", "args": args})
    assert got["args"] == args
    assert got["warnings"] == [
        "max_model_len 65536 is above the native context of Qwen3-235B-A22B, 40960 tokens: the"
        " hf-overrides of the request contain no rope scaling, and nothing is added to them;"
        " the engine rejects such a length without it"
    ]


def test_a_length_without_a_documented_scaling_asks_for_one() -> None:
    got = spec("Llama3-8B")
    assert got["args"] == {}
    assert got["warnings"] == [
        "max_model_len 32768 is above the native context of Llama3-8B, 8192 tokens, and its"
        " documentation gives no rope scaling for that: the engine refuses to start with such a"
        " length. Set max_model_len to 8192, or serve a Llama 3.1 model instead, or give the"
        " scaling that your weights were made for in args (hf-overrides: {rope_scaling: ...}; from"
        " vLLM 0.13 on rope_parameters). Do not lift the check with VLLM_ALLOW_LONG_MAX_MODEL_LEN:"
        " past its native context the model answers nonsense without an error"
    ]
    assert spec({"model": "Llama3-8B", "max_model_len": "8K"})["warnings"] == []


def test_a_factor_beyond_the_documented_one_is_not_made_up() -> None:
    got = resolve({"model": "Qwen3-32B", "max_model_len": "256K"}, CATALOGUE, UNTESTED).as_dict()
    assert got["args"] == {}
    assert "its documentation gives YaRN up to factor 4 only" in got["warnings"][1]


def test_a_reranker_is_told_to_classify() -> None:
    overrides = {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    }
    assert spec("Qwen3-Reranker-4B")["args"] == {"hf-overrides": overrides}
    for own in ({"use_cache": False}, '{"use_cache": false}'):
        got = spec({"model": "Qwen3-Reranker-4B", "args": {"hf_overrides": own}})
        assert got["args"] == {"hf_overrides": {**overrides, "use_cache": False}}


def test_scaling_joins_what_the_row_needs(tmp_path: Path) -> None:
    catalogue = user_table(
        tmp_path,
        "  - {model: Qwen3-8B, min_cards: 1, max_model_len_k: 64,"
        " args: {hf-overrides: {a: 1}, enforce-eager: true}}\n",
    )
    assert spec({"model": "Qwen3-8B", "args": {"enforce_eager": False}}, catalogue)["args"] == {
        "hf-overrides": {"a": 1, "rope_scaling": YARN, "rope_parameters": YARN},
        "enforce_eager": False,
    }


def test_a_suspect_row_says_so_until_more_cards_mend_it() -> None:
    assert spec("Qwen2.5-VL-32B")["warnings"] == [
        "the published row is suspect: the BF16 weights of this model are 62.3 GiB, more than one"
        " 64 GB card shows (60.97 GiB), so it can only hold for a quantised checkpoint; give the"
        " service two cards or a quantised model (table ascend-64gb, row 46: 32768 tokens on"
        " 1 card at utilization 0.95)"
    ]
    assert spec({"model": "Qwen2.5-VL-32B", "cards": 2})["warnings"] == []


def test_remote_code_is_asked_for_and_never_assumed() -> None:
    got = spec("InternVL3-8B")
    assert got["args"] == {}
    assert got["warnings"] == [
        "vLLM serves this model with trust-remote-code in its own example; if you trust the"
        " repository, add args: {trust-remote-code: true}"
    ]
    assert spec({"model": "InternVL3-8B", "args": {"trust_remote_code": True}})["warnings"] == []


# -- what a chip needs -----------------------------------------------------------------------------

DUO = Options(card_memory_gb=48, estimate=True, profile="atlas-300i-duo-96g")


def duo_args(**args: Any) -> Any:
    return resolve({"model": "Qwen3-0.6B", "args": args}, CATALOGUE, DUO).as_dict()["args"]


def test_a_310p_gets_the_options_that_it_needs_and_no_other_chip_does() -> None:
    assert duo_args() == {"dtype": "float16", "enforce-eager": True}
    assert duo_args(dtype="half", max_num_seqs=8) == {
        "dtype": "half",
        "max_num_seqs": 8,
        "enforce-eager": True,
    }
    assert "dtype" not in spec("Qwen3-14B", profile="atlas-800i-a2-64g")["args"]


def test_the_graph_mode_that_a_310p_has_takes_the_place_of_eager() -> None:
    graphs = {"cudagraph_mode": "FULL_DECODE_ONLY"}
    for written in (graphs, json.dumps(graphs)):
        args = duo_args(compilation_config=written)
        assert args == {"dtype": "float16", "compilation_config": written}
    assert (
        duo_args(**{"compilation-config": graphs, "enforce-eager": False})["enforce-eager"] is False
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"dtype": "bfloat16"}, "sets dtype to 'bfloat16' on atlas-300i-duo-96g"),
        ({"dtype": None}, "sets dtype to None"),
        ({"enforce_eager": False}, "sets enforce-eager to False"),
        ({"no-enforce-eager": True}, "sets enforce-eager to False"),
        (
            {"compilation-config": {"cudagraph_mode": "PIECEWISE"}},
            "sets cudagraph_mode of compilation-config to 'PIECEWISE'",
        ),
    ],
)
def test_what_a_310p_cannot_do_is_rejected(args: dict[str, Any], words: str) -> None:
    with pytest.raises(AscendError) as caught:
        duo_args(**args)
    assert words in str(caught.value)
    assert "Leave it out" in str(caught.value)
