# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request gives the row's figures, and every refusal says the limit, its source and the way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    parse_length,
    resolve,
    resolve_terms,
    with_profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.tables import (
    Catalogue,
    load_catalogue,
    load_facts,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CATALOGUE = load_catalogue()
UNTESTED = Options(allow_untested=True)


def spec(request: object, catalogue: Catalogue = CATALOGUE, **options: Any) -> dict[str, Any]:
    return resolve(request, catalogue, Options(**options))


def refusal(request: object, catalogue: Catalogue = CATALOGUE, **options: Any) -> str:
    with pytest.raises(AscendError) as caught:
        resolve(request, catalogue, Options(**options))
    return str(caught.value)


def user_table(tmp_path: Path, rows: str) -> Catalogue:
    file = tmp_path / "mine.yml"
    file.write_text(
        "table: mine\nconditions: {gpu_memory_utilization: 0.9, card_memory_gb: 64}\nrows:\n"
        + rows,
        encoding="utf-8",
    )
    return load_catalogue([str(file)])


# -- what comes out --------------------------------------------------------------------------------


def test_a_name_gives_the_row() -> None:
    assert spec("Qwen3-14B") == {
        "name": "Qwen3-14B",
        "model": "Qwen3-14B",
        "kind": "generate",
        "cards": 1,
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "max_model_len": 32768,
        "gpu_memory_utilization": 0.95,
        "native_context": 40960,
        "huggingface": "Qwen/Qwen3-14B",
        "modelscope": "Qwen/Qwen3-14B",
        "min_cards": 1,
        "card_memory_gb": 64,
        "warnings": [],
        "args": {},
        "provenance": {
            "table": "ascend-64gb",
            "row": 29,
            "updated": "2025-11-19",
            "basis": "measured",
        },
    }


@pytest.mark.parametrize("name", ["qwen3-14b", "QWEN/QWEN3-14B", " Qwen/Qwen3-14B "])
def test_case_and_hub_ids_do_not_matter(name: str) -> None:
    assert spec(name) == spec("Qwen3-14B")


def test_every_model_that_the_table_lists_resolves() -> None:
    specs = resolve_terms(["*"], CATALOGUE, Options())
    assert len(specs) == 61
    json.dumps(specs)
    # Above the native context, suspect, or in need of remote code: the rest has no warning.
    assert [s["model"] for s in specs if s["warnings"]] == [
        "Llama3-8B",
        "Llama3-70B",
        "Qwen3-235B-A22B",
        "Qwen2.5-VL-32B",
        "InternVL2.5-26B",
        "InternVL2-Llama3-76B-AWQ",
        "InternVL3-8B",
        "InternVL3-14B",
        "InternVL3-38B",
        "InternVL3-78B",
    ]
    assert {s["model"] for s in specs if s["args"]} == {
        "Qwen3-235B-A22B",
        "Qwen3-Reranker-0.6B",
        "Qwen3-Reranker-4B",
        "Qwen3-Reranker-8B",
    }


def test_half_a_k_is_512_tokens() -> None:
    assert spec("bge-large-zh-v1.5")["max_model_len"] == 512


def test_an_id_is_served_as_asked_for_and_not_as_its_sibling() -> None:
    base = spec("Qwen/Qwen2.5-7B")
    assert (base["model"], base["huggingface"], base["modelscope"]) == (
        "Qwen2.5-7B",
        "Qwen/Qwen2.5-7B",
        "Qwen/Qwen2.5-7B",
    )
    llama = spec("meta-llama/Meta-Llama-3-8B")
    assert llama["modelscope"] == "LLM-Research/Meta-Llama-3-8B"
    assert spec({"model": "Llama3-8B", "huggingface": "us/ours"})["huggingface"] == "us/ours"


def test_every_id_has_its_twin_on_the_other_hub_or_none() -> None:
    alone = {
        hub_id
        for facts in load_facts().values()
        for hub_id in facts.huggingface + facts.modelscope
        for other in ["modelscope" if hub_id in facts.huggingface else "huggingface"]
        if spec(hub_id)[other] is None
    }
    assert alone == set()


def test_the_keys_of_a_request_pass_through() -> None:
    request = {
        "model": "Qwen2.5-72B",
        "name": "chat",
        "port": 8100,
        "env": {"OMP_NUM_THREADS": 10},
        "args": {"enable-prefix-caching": True},
        "max_model_len": "16K",
        "cards": [7, 6, 5, 4],
    }
    before = json.dumps(request)
    got = spec(request)
    assert json.dumps(request) == before
    assert {key: got[key] for key in ("name", "port", "env", "args")} == {
        "name": "chat",
        "port": 8100,
        "env": {"OMP_NUM_THREADS": 10},
        "args": {"enable-prefix-caching": True},
    }
    assert (got["max_model_len"], got["cards"], got["pinned_cards"]) == (16384, 4, [7, 6, 5, 4])
    assert (got["tensor_parallel_size"], got["pipeline_parallel_size"]) == (4, 1)


def test_a_spec_resolves_to_itself() -> None:
    for name in ("Qwen3-14B", "Qwen3-Reranker-4B", "bge-m3"):
        assert spec(spec(name)) == spec(name)


def test_more_cards_keep_the_rows_length() -> None:
    got = spec({"model": "Qwen3-14B", "cards": "2"})
    assert (got["cards"], got["max_model_len"], got["min_cards"]) == (2, 32768, 1)


def test_sizes_settle_the_cards_and_the_cards_settle_the_sizes() -> None:
    def sizes(**wish: object) -> tuple[int, int, int]:
        got = spec({"model": "Qwen2.5-72B", **wish})
        return got["cards"], got["tensor_parallel_size"], got["pipeline_parallel_size"]

    assert sizes(tensor_parallel_size=4) == (4, 4, 1)
    assert sizes(tensor_parallel_size=4, pipeline_parallel_size=2) == (8, 4, 2)
    assert sizes(cards=8, tensor_parallel_size="4") == (8, 4, 2)
    assert sizes(cards=8, pipeline_parallel_size=4) == (8, 2, 4)


def test_a_request_that_is_absent_needs_no_table() -> None:
    assert spec({"model": "gone/for-good", "state": "absent", "port": 1}) == {
        "name": "gone/for-good",
        "model": "gone/for-good",
        "state": "absent",
        "cards": 0,
    }
    assert spec({"name": "chat", "state": "absent"}) == {
        "name": "chat",
        "state": "absent",
        "cards": 0,
    }
    # By the same name as it was placed under.
    assert spec({"model": "qwen/qwen3-14b", "state": "absent"})["name"] == "Qwen3-14B"


def test_terms_are_flattened_one_level_and_may_be_none() -> None:
    terms: list[object] = ["Qwen3-8B", ["Qwen3-14B", {"model": "bge-m3"}]]
    models = [s["model"] for s in resolve_terms(terms, CATALOGUE, Options())]
    assert models == ["Qwen3-8B", "Qwen3-14B", "bge-m3"]
    assert resolve_terms([], CATALOGUE, Options()) == []


def test_star_obeys_the_options() -> None:
    low = resolve_terms(["*"], CATALOGUE, Options(card_memory_gb=32, gpu_memory_utilization="0.92"))
    assert len(low) == 9
    assert {s["gpu_memory_utilization"] for s in low} == {0.92}
    with pytest.raises(AscendError) as caught:
        resolve_terms(["*"], CATALOGUE, Options(card_memory_gb=24))
    assert str(caught.value) == (
        "No table speaks of cards of 24 GB, so that * stands for nothing. The tables speak of"
        " 32, 64 GB."
    )


def test_a_profile_gives_the_memory_unless_it_is_given() -> None:
    assert with_profile(Options(), None, "atlas-800i-a2-32g").card_memory_gb == 32
    assert with_profile(Options(), 64, "atlas-800i-a2-32g").card_memory_gb == 64
    assert with_profile(Options(), None, None).card_memory_gb == 64


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
    four = resolve({"model": "Qwen3-32B", "max_model_len": "128K"}, CATALOGUE, UNTESTED)
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
        " hf-overrides of the request say nothing of rope scaling, and nothing is added to them;"
        " the engine refuses such a length without it"
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
    got = resolve({"model": "Qwen3-32B", "max_model_len": "256K"}, CATALOGUE, UNTESTED)
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
        " 1 card at utilisation 0.95)"
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


# -- refusals by the tables ------------------------------------------------------------------------


def test_an_unknown_model() -> None:
    assert refusal("Qwen3-15B") == (
        "No table lists the model 'Qwen3-15B'. The closest are Qwen3-14B, Qwen3-1.7B, Qwen2-1.5B,"
        " Qwen3-8B. A row for a model of your own goes into a table that ascend_model_tables names."
    )
    assert refusal("zzzzzzzz") == (
        "No table lists the model 'zzzzzzzz'. A row for a model of your own goes into a table that"
        " ascend_model_tables names."
    )


def test_too_few_cards() -> None:
    problem = (
        "Qwen2.5-72B is to have 2 cards; it needs at least 4 of 64 GB (table ascend-64gb, row 24:"
        " 32768 tokens on 4 cards at utilisation 0.95)"
    )
    wish = {"model": "Qwen2.5-72B", "cards": 2}
    assert refusal(wish) == f"{problem}. Give it 4 cards, or set allow_untested to try it."
    got = resolve(wish, CATALOGUE, UNTESTED)
    assert (got["cards"], got["min_cards"]) == (2, 4)
    assert got["warnings"] == [f"untested: {problem}"]


def test_too_long_and_which_table_would_allow_it() -> None:
    problem = (
        "max_model_len of DeepSeek-R1-Distill-Llama-8B is 131072; the longest that was tested is"
        " 32768 (table ascend-64gb, row 1: 32768 tokens on 1 card at utilisation 0.95)"
    )
    wish = {"model": "DeepSeek-R1-Distill-Llama-8B", "max_model_len": "128K"}
    assert refusal(wish) == (
        f"{problem}. Set max_model_len to 32768 or less, or set allow_untested to try it. The table"
        " ascend-vllm-0.7.2 allows it (row 5: 131072 tokens on 1 card at 0.9); to prefer that"
        " table, name its file in ascend_model_tables: [ascend-vllm-0.7.2.yml]."
    )
    got = resolve(wish, CATALOGUE, UNTESTED)
    assert (got["max_model_len"], got["warnings"]) == (131072, [f"untested: {problem}"])
    preferred = spec(wish, load_catalogue(["ascend-vllm-0.7.2.yml"]))
    assert preferred["provenance"]["table"] == "ascend-vllm-0.7.2"


def test_a_utilisation_under_the_rows() -> None:
    problem = (
        "gpu_memory_utilization of Qwen3-14B is 0.9; its row (table ascend-64gb, row 29: 32768"
        " tokens on 1 card at utilisation 0.95) holds at 0.95 and above"
    )
    assert refusal("Qwen3-14B", gpu_memory_utilization=0.9) == (
        f"{problem}. Set gpu_memory_utilization to 0.95 or leave it out, or set allow_untested to"
        " try it."
    )
    got = spec("Qwen3-14B", gpu_memory_utilization=0.9, allow_untested=True)
    assert (got["gpu_memory_utilization"], got["warnings"]) == (0.9, [f"untested: {problem}"])
    request = {"model": "Qwen3-14B", "gpu_memory_utilization": 0.98}
    assert spec(request, gpu_memory_utilization=0.9)["gpu_memory_utilization"] == 0.98
    assert refusal("QwQ-32B", gpu_memory_utilization=0.9).endswith(
        " The table ascend-vllm-0.7.2 allows it (row 1: 65536 tokens on 2 cards at 0.9); to prefer"
        " that table, name its file in ascend_model_tables: [ascend-vllm-0.7.2.yml]."
    )


def test_memory_that_no_table_speaks_of() -> None:
    assert refusal("Qwen3-14B", card_memory_gb=32) == (
        "No table speaks of Qwen3-14B on cards of 32 GB; the tables list it for 64 GB. Add a row of"
        " your own (ascend_model_tables), set estimate for an estimate from the model's size, or"
        " set allow_untested to take the nearest row."
    )

    def nearest(memory: int) -> tuple[object, object]:
        got = spec("QwQ-32B", card_memory_gb=memory, allow_untested=True)
        return got["min_cards"], got["card_memory_gb"]

    assert nearest(48) == (4, 48)  # the row for 32 GB: the smaller is the safe one
    assert nearest(128) == (2, 128)
    assert nearest(24) == (4, 24)
    assert spec("QwQ-32B", card_memory_gb=48, allow_untested=True)["warnings"][0] == (
        "untested: no table speaks of QwQ-32B on cards of 48 GB; its row for 32 GB (table"
        " ascend-vllm-0.7.2, row 1: 32768 tokens on 4 cards at utilisation 0.9) is used instead"
    )


def test_what_a_table_calls_unsupported() -> None:
    problem = "Qwen2.5-VL-72B is not supported on cards of 32 GB (table ascend-vllm-0.7.2, row 3)"
    complaint = (
        f"{problem}. Use cards of 64 GB, or set allow_untested and give both cards and"
        " max_model_len to try it."
    )
    wish = {"model": "Qwen2.5-VL-72B", "cards": 8}
    assert refusal(wish, card_memory_gb=32) == complaint
    assert refusal(wish, card_memory_gb=32, allow_untested=True) == complaint
    wish["max_model_len"] = 4096
    assert refusal(wish, card_memory_gb=32) == complaint
    got = spec(wish, card_memory_gb=32, allow_untested=True)
    assert (got["cards"], got["max_model_len"], got["min_cards"]) == (8, 4096, None)
    assert got["warnings"] == [f"untested: {problem}"]


def test_heads_that_do_not_divide_are_refused_in_any_case() -> None:
    wish = {"model": "Qwen3-14B", "cards": 3}
    complaint = (
        "Qwen3-14B cannot be split over 3 cards: Total number of attention heads (40) must be"
        " divisible by tensor parallel size (3). The sizes up to 8 that work are 1, 2, 4, 8: set"
        " cards to one of them, or keep 3 cards with tensor_parallel_size 1 and"
        " pipeline_parallel_size 3."
    )
    assert refusal(wish) == complaint
    assert refusal(wish, allow_untested=True) == complaint
    # 48 heads divide by 6, 8 key/value heads do not.
    assert refusal({"model": "InternVL2.5-26B", "cards": 6}) == (
        "InternVL2.5-26B cannot be split over 6 cards: the number of key/value heads (8) must be"
        " divisible by tensor parallel size (6), or divide it. The sizes up to 12 that work are"
        " 1, 2, 4, 8: set cards to one of them, or keep 6 cards with tensor_parallel_size 2 and"
        " pipeline_parallel_size 3."
    )
    # More ranks than key/value heads: they are replicated.
    assert spec({"model": "Qwen2.5-7B", "cards": 28})["tensor_parallel_size"] == 28
    assert spec({"model": "Qwen3-14B", "cards": 3, "pipeline_parallel_size": 3})["cards"] == 3


def test_sizes_whose_product_is_not_the_cards() -> None:
    assert refusal({"model": "Qwen2.5-72B", "cards": 8, "tensor_parallel_size": 3}) == (
        "Qwen2.5-72B is to have 8 cards, tensor_parallel_size 3 and pipeline_parallel_size 1; the"
        " product of the two sizes is the number of cards. Leave the sizes out for"
        " tensor_parallel_size 8, or make the product 8."
    )


def test_limits_cannot_be_passed_through_the_arguments() -> None:
    assert refusal({"model": "Qwen3-14B", "args": {"max_model_len": 99999}}) == (
        "args of Qwen3-14B sets max_model_len, which the tables limit. Write max_model_len beside"
        " args, as a key of the request."
    )
    assert refusal({"model": "Qwen3-14B", "args": {"tensor-parallel-size": 2}}) == (
        "args of Qwen3-14B sets tensor-parallel-size, which the tables limit. Write"
        " tensor_parallel_size beside args, as a key of the request."
    )


# -- an estimate -----------------------------------------------------------------------------------


def test_an_estimate_says_that_it_is_one() -> None:
    got = spec("Qwen3-14B", card_memory_gb=32, estimate=True)
    assert (got["cards"], got["max_model_len"], got["gpu_memory_utilization"]) == (2, 40960, 0.9)
    assert got["provenance"] == {
        "table": None,
        "row": None,
        "updated": None,
        "basis": "estimated",
    }
    assert got["warnings"] == [
        "estimated, never run: cards and length of Qwen3-14B on cards of 32 GB follow from its size"
        " and a cautious overhead"
    ]
    # Where there is a row, the row counts.
    assert spec("Qwen3-14B", estimate=True) == spec("Qwen3-14B")


def test_a_wish_beyond_the_estimate() -> None:
    wish = {"model": "Qwen3-14B", "cards": 2, "max_model_len": "64K"}
    problem = (
        "Qwen3-14B on 2 cards of 32 GB should carry 40960 tokens at utilisation 0.9 by estimate;"
        " max_model_len is 65536"
    )
    assert refusal(wish, card_memory_gb=32, estimate=True) == (
        f"{problem}. Give it more cards or a shorter max_model_len, or set allow_untested to try"
        " it."
    )
    got = spec(wish, card_memory_gb=32, estimate=True, allow_untested=True)
    assert got["warnings"][0] == f"untested: {problem}"
    assert refusal({"model": "Qwen3-14B", "cards": 1}, card_memory_gb=32, estimate=True) == (
        "Qwen3-14B on 1 card of 32 GB should carry 0 tokens at utilisation 0.9 by estimate. Give"
        " it more cards or a shorter max_model_len."
    )


def test_an_estimate_without_its_ground_is_refused(tmp_path: Path) -> None:
    assert refusal("Qwen3-14B", card_memory_gb=24, estimate=True) == (
        "Qwen3-14B on cards of 24 GB cannot be estimated: how much memory the framework sees of"
        " such a card is not known. Add a row of your own (ascend_model_tables)."
    )
    catalogue = user_table(tmp_path, "  - {model: Our-7B, min_cards: 1, max_model_len_k: 4}\n")
    assert refusal("Our-7B", catalogue, card_memory_gb=32, estimate=True) == (
        "Our-7B on cards of 32 GB cannot be estimated: its weights, layers, heads or native"
        " context are not known. Add a row of your own (ascend_model_tables)."
    )


# -- malformed requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (None, "A request is None, which names no model."),
        (3, "A request is 3, which names no model."),
        (["Qwen3-14B"], "A request is a list, which names no model."),
        ("", "A request is an empty text."),
        ({}, "A request names no model."),
        (
            {"model": ["a"]},
            "A request names the model ['a'], which is no name (its keys are model).",
        ),
        ({1: 2}, "A request has the key 1, which is no text."),
        ({"state": "absent"}, "A request names no model (its keys are state)."),
    ],
)
def test_what_is_no_request(request_: object, complaint: str) -> None:
    ways = "Write a model's name, or a mapping such as {model: Qwen3-14B, cards: 2}."
    assert refusal(request_) == f"{complaint} {ways}"


def test_star_stands_alone() -> None:
    assert refusal({"model": "*"}) == (
        "A request names the model *, which only stands alone, as a term of the lookup: every row"
        " for the memory. Write it as a text, or name one model."
    )


@pytest.mark.parametrize("cards", [0, -1, True, 1.0, "two", "", {"a": 1}, "1,2"])
def test_a_number_of_cards_that_is_none(cards: object) -> None:
    assert refusal({"model": "Qwen3-14B", "cards": cards}) == (
        f"cards of Qwen3-14B is {cards!r}; it is a number of cards, at least 1, or a list of the"
        " cards themselves. Write for example 2, or [4, 5]."
    )


@pytest.mark.parametrize("cards", [[], [1, 1], [1, "1"], [-1], [True], ["a"], [[1]], [1.5]])
def test_a_list_of_cards_that_is_none(cards: object) -> None:
    assert refusal({"model": "Qwen3-14B", "cards": cards}) == (
        f"cards of Qwen3-14B is {cards!r}; a list of cards holds each card's number once, counted"
        " from 0. Write for example [4, 5], or a number of cards."
    )


@pytest.mark.parametrize("value", [0, -0.5, 1.01, 95, "90%", True, float("nan"), [0.9], "much"])
def test_a_utilisation_that_is_none(value: object) -> None:
    assert refusal({"model": "Qwen3-14B", "gpu_memory_utilization": value}) == (
        f"gpu_memory_utilization of Qwen3-14B is {value!r}; it is a share of the card's memory,"
        " above 0 and at most 1. Write for example 0.95."
    )


def test_other_values_of_a_wrong_kind() -> None:
    model = {"model": "Qwen3-14B"}
    assert refusal({**model, "card_memory_gb": "big"}) == (
        "card_memory_gb is 'big'; it is the nominal memory of one card in GB. Write for example 64."
    )
    assert refusal({**model, "tensor_parallel_size": 0}) == (
        "tensor_parallel_size of Qwen3-14B is 0; it is a whole number, at least 1."
    )
    assert refusal({**model, "args": ["--x"]}) == (
        "args of Qwen3-14B is ['--x']; it is a mapping of vLLM's options. Write for example"
        " {enable-prefix-caching: true}."
    )
    assert refusal({**model, "args": {1: 2}}) == (
        "args of Qwen3-14B has the key 1, which is no text. Write the names of vLLM's options."
    )
    assert refusal({**model, "kind": "chat"}) == (
        "kind of Qwen3-14B is 'chat', which is none of generate, multimodal, embed, rerank."
    )
    assert refusal({**model, "name": 7}) == (
        "A request has the name 7, which is no name for a service. Write a text, or leave it out:"
        " the model's name is the default."
    )


# -- lengths ---------------------------------------------------------------------------------------

LENGTH_WAYS = "Write whole tokens (16384), or K or M of 1024 (16K, 0.5K, 1M)."


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(512, 512), ("16384", 16384), ("16K", 16384), (" 0.5K", 512), ("1.5K", 1536), ("1M", 1048576)],
)
def test_lengths(value: object, tokens: int) -> None:
    assert parse_length(value) == tokens


@pytest.mark.parametrize(
    "value",
    [0, -1, True, 16.0, 0.5, float("nan"), "0", "0K", "abc", "", "auto", "K", "16 K", "-1K", "1e3",
     "16.5", "٣K", [16], {"a": 1}, 10**13],
)  # fmt: skip
def test_what_is_no_length(value: object) -> None:
    with pytest.raises(AscendError) as caught:
        parse_length(value)
    assert str(caught.value) == f"max_model_len is {value!r}, which is no length. {LENGTH_WAYS}"


def test_a_small_k_means_something_else_to_the_engine() -> None:
    assert refusal({"model": "Qwen3-14B", "max_model_len": "16k"}) == (
        "max_model_len of Qwen3-14B is '16k': to vLLM a small k is a power of 1000, to the"
        " published table K is 1024. Write 16K, or whole tokens."
    )
    with pytest.raises(AscendError) as caught:
        parse_length("0.3K")
    assert str(caught.value) == (
        f"max_model_len is '0.3K', which is no whole number of tokens. {LENGTH_WAYS}"
    )


@given(st.integers(1, 10**6), st.sampled_from(["", "K", "M"]))
def test_units_are_powers_of_1024(number: int, unit: str) -> None:
    assert parse_length(f"{number}{unit}") == number * {"": 1, "K": 1024, "M": 1024**2}[unit]


# -- nothing that a user can write raises anything else --------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = (
    "name", "state", "cards", "max_model_len", "gpu_memory_utilization", "card_memory_gb", "kind",
    "tensor_parallel_size", "pipeline_parallel_size", "args", "huggingface", "other",
)  # fmt: skip
LIKELY = st.one_of(
    st.integers(-1, 70),
    st.sampled_from(["16K", "0.9", "absent", 0.95, 65536, {"hf-overrides": "["}, [0, 1]]),
    JSON,
)


# How long an example takes says how busy the machine is, nothing of the code.
any_pace = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@any_pace
@given(
    st.sampled_from(["Qwen3-235B-A22B", "QwQ-32B", "bge-m3", "internvl2.5-38B", "?"]),
    st.dictionaries(st.sampled_from(KEYS), LIKELY, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_a_request_of_any_json_is_resolved_or_refused(
    model: str, rest: dict[str, Any], estimate: bool, untested: bool
) -> None:
    options = Options(estimate=estimate, allow_untested=untested)
    try:
        got = resolve({"model": model, **rest}, CATALOGUE, options)
    except AscendError as error:
        assert str(error).endswith(".")
        return
    if got.get("state") != "absent":
        assert got["tensor_parallel_size"] * got["pipeline_parallel_size"] == got["cards"] >= 1
        assert got["max_model_len"] >= 1
        if not untested and not estimate:
            assert got["cards"] >= got["min_cards"]


@any_pace
@given(JSON)
def test_any_json_is_resolved_or_refused(request: object) -> None:
    with pytest.raises(AscendError):
        resolve(request, CATALOGUE, Options())


# -- what a chip needs -----------------------------------------------------------------------------

DUO = Options(card_memory_gb=48, estimate=True, profile="atlas-300i-duo-96g")


def duo_args(**args: Any) -> Any:
    return resolve({"model": "Qwen3-0.6B", "args": args}, CATALOGUE, DUO)["args"]


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
def test_what_a_310p_cannot_do_is_refused(args: dict[str, Any], words: str) -> None:
    with pytest.raises(AscendError) as caught:
        duo_args(**args)
    assert words in str(caught.value)
    assert "Leave it out" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("max-model-len", "Write max_model_len."),
        ("Max_Model_Len", "Write max_model_len."),
        ("apiKey", "Write api_key."),
        ("dtype", "Write it into args: {dtype: ...}."),
        ("enable_prefix_caching", "Write it into args: {enable-prefix-caching: ...}."),
    ],
)
def test_a_key_in_another_spelling_is_refused(key: str, words: str) -> None:
    with pytest.raises(AscendError, match=re.escape(words)) as caught:
        resolve({"model": "Qwen3-14B", key: "hush"}, load_catalogue(), Options())
    assert "hush" not in str(caught.value)


def test_a_key_that_looks_like_a_slip_warns_and_any_other_passes() -> None:
    spec = resolve(
        {"model": "Qwen3-14B", "stat": "stopped", "team": 7}, load_catalogue(), Options()
    )
    assert spec["warnings"] == ["nothing here reads the key 'stat'; is state meant?"]
    assert (spec["stat"], spec["team"]) == ("stopped", 7)


def test_a_request_without_a_model_does_not_show_its_values() -> None:
    with pytest.raises(AscendError) as caught:
        resolve({"name": "chat", "api_key": "hush"}, load_catalogue(), Options())
    assert str(caught.value).startswith(
        "The request 'chat' names no model (its keys are api_key, name)"
    )
    with pytest.raises(AscendError) as caught:
        resolve([{"api_key": "hush"}], load_catalogue(), Options())
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "sizes", "expected"),
    [
        ("Qwen3-235B-A22B", {"pipeline_parallel_size": 2}, (16, 8, 2)),
        ("Qwen3-235B-A22B", {"tensor_parallel_size": 8}, (16, 8, 2)),
        ("Qwen3-14B", {"tensor_parallel_size": 2}, (2, 2, 1)),
        ("Qwen3-14B", {"pipeline_parallel_size": 2}, (2, 1, 2)),
        ("Qwen2.5-72B", {"tensor_parallel_size": 4, "pipeline_parallel_size": 2}, (8, 4, 2)),
    ],
)
def test_one_size_alone_takes_the_rows_cards_in_whole_groups(
    model: str, sizes: dict[str, int], expected: tuple[int, int, int]
) -> None:
    spec = resolve({"model": model, **sizes}, load_catalogue(), Options())
    keys = ("cards", "tensor_parallel_size", "pipeline_parallel_size")
    assert tuple(spec[key] for key in keys) == expected
