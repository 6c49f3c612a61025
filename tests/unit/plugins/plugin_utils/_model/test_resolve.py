# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request gives the row's figures, and every rejection names the limit, its source and the way out."""

from __future__ import annotations

import json

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import load_facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
    with_profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms
from ansible_collections.inferops.ascend.tests.unit.plugins.plugin_utils._model.resolving import (
    CATALOGUE,
    UNTESTED,
    rejection,
    spec,
)

# -- what comes out --------------------------------------------------------------------------------


def test_a_name_gives_the_row() -> None:
    assert spec("Qwen3-14B") == {
        "name": "Qwen3-14B",
        "model": "Qwen3-14B",
        "kind": "generate",
        "cards": 1,
        "tensor_parallel_size": 1,
        "data_parallel_size": 1,
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
    specs = [each.as_dict() for each in resolve_terms(["*"], CATALOGUE, Options())]
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
        for facts in [load_facts()[row.model] for row in CATALOGUE.every_row(64)]
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
    models = [s.model for s in resolve_terms(terms, CATALOGUE, Options())]
    assert models == ["Qwen3-8B", "Qwen3-14B", "bge-m3"]
    assert resolve_terms([], CATALOGUE, Options()) == []


def test_star_obeys_the_options() -> None:
    low = resolve_terms(["*"], CATALOGUE, Options(card_memory_gb=32, gpu_memory_utilization=0.92))
    assert len(low) == 9
    assert {s.gpu_memory_utilization for s in low} == {0.92}
    with pytest.raises(AscendError) as caught:
        resolve_terms(["*"], CATALOGUE, Options(card_memory_gb=24))
    assert str(caught.value) == (
        "No table lists cards of 24 GB, so * matches nothing. The tables list 32, 64 GB."
    )


def test_a_profile_gives_the_memory_unless_it_is_given() -> None:
    assert with_profile(Options(), None, "atlas-800i-a2-32g").card_memory_gb == 32
    assert with_profile(Options(), 64, "atlas-800i-a2-32g").card_memory_gb == 64
    assert with_profile(Options(), None, None).card_memory_gb == 64


# -- rejections by the tables ------------------------------------------------------------------------


def test_an_unknown_model() -> None:
    ways = (
        "A row for a model of your own goes into a table that ascend_model_tables names; for an"
        " estimate set estimate and name its config.json in config, or its hub in hub"
        " (vllm_service_estimate_hub), or deploy it with path, the directory of its weights on the"
        " host; to serve it on your own word give path (or huggingface or modelscope), cards and"
        " max_model_len."
    )
    assert rejection("Qwen3-15B") == (
        "No table lists the model 'Qwen3-15B'. The closest are Qwen3-14B, Qwen3-1.7B, Qwen2-1.5B,"
        f" Qwen3-8B. {ways}"
    )
    assert rejection("zzzzzzzz") == f"No table lists the model 'zzzzzzzz'. {ways}"


def test_too_few_cards() -> None:
    problem = (
        "Qwen2.5-72B requests 2 cards; it needs at least 4 of 64 GB (table ascend-64gb, row 24:"
        " 32768 tokens on 4 cards at utilization 0.95)"
    )
    wanted = {"model": "Qwen2.5-72B", "cards": 2}
    assert rejection(wanted) == f"{problem}. Give it 4 cards, or set allow_untested to try it."
    got = resolve(wanted, CATALOGUE, UNTESTED).as_dict()
    assert (got["cards"], got["min_cards"]) == (2, 4)
    assert got["warnings"] == [f"untested: {problem}"]


def test_too_long_and_which_table_would_allow_it() -> None:
    problem = (
        "max_model_len of DeepSeek-R1-Distill-Llama-8B is 131072; the longest that was tested is"
        " 32768 (table ascend-64gb, row 1: 32768 tokens on 1 card at utilization 0.95)"
    )
    wanted = {"model": "DeepSeek-R1-Distill-Llama-8B", "max_model_len": "128K"}
    assert rejection(wanted) == (
        f"{problem}. Set max_model_len to 32768 or less, or set allow_untested to try it. The table"
        " ascend-vllm-0.7.2 allows it (row 5: 131072 tokens on 1 card at 0.9); to prefer that"
        " table, name its file in ascend_model_tables: [ascend-vllm-0.7.2.yml]."
    )
    got = resolve(wanted, CATALOGUE, UNTESTED).as_dict()
    assert (got["max_model_len"], got["warnings"]) == (131072, [f"untested: {problem}"])
    preferred = spec(wanted, load_catalogue(["ascend-vllm-0.7.2.yml"]))
    assert preferred["provenance"]["table"] == "ascend-vllm-0.7.2"


def test_a_utilization_under_the_rows() -> None:
    problem = (
        "gpu_memory_utilization of Qwen3-14B is 0.9; its row (table ascend-64gb, row 29: 32768"
        " tokens on 1 card at utilization 0.95) is valid at 0.95 and above"
    )
    assert rejection("Qwen3-14B", gpu_memory_utilization=0.9) == (
        f"{problem}. Set gpu_memory_utilization to 0.95 or leave it out, write share: true for an"
        " estimate of what it has beside other services on the card, or set allow_untested to try it."
    )
    got = spec("Qwen3-14B", gpu_memory_utilization=0.9, allow_untested=True)
    assert (got["gpu_memory_utilization"], got["warnings"]) == (0.9, [f"untested: {problem}"])
    request = {"model": "Qwen3-14B", "gpu_memory_utilization": 0.98}
    assert spec(request, gpu_memory_utilization=0.9)["gpu_memory_utilization"] == 0.98
    assert rejection("QwQ-32B", gpu_memory_utilization=0.9).endswith(
        " The table ascend-vllm-0.7.2 allows it (row 1: 65536 tokens on 2 cards at 0.9); to prefer"
        " that table, name its file in ascend_model_tables: [ascend-vllm-0.7.2.yml]."
    )


def test_memory_that_no_table_speaks_of() -> None:
    assert rejection("Qwen3-14B", card_memory_gb=32) == (
        "No table lists Qwen3-14B on cards of 32 GB; the tables list it for 64 GB. Add a row of"
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
        "untested: no table lists QwQ-32B on cards of 48 GB; its row for 32 GB (table"
        " ascend-vllm-0.7.2, row 1: 32768 tokens on 4 cards at utilization 0.9) is used instead"
    )


def test_what_a_table_calls_unsupported() -> None:
    problem = "Qwen2.5-VL-72B is not supported on cards of 32 GB (table ascend-vllm-0.7.2, row 3)"
    complaint = (
        f"{problem}. Use cards of 64 GB, or set allow_untested and give both cards and"
        " max_model_len to try it."
    )
    wanted = {"model": "Qwen2.5-VL-72B", "cards": 8}
    assert rejection(wanted, card_memory_gb=32) == complaint
    assert rejection(wanted, card_memory_gb=32, allow_untested=True) == complaint
    wanted["max_model_len"] = 4096
    assert rejection(wanted, card_memory_gb=32) == complaint
    got = spec(wanted, card_memory_gb=32, allow_untested=True)
    assert (got["cards"], got["max_model_len"], got["min_cards"]) == (8, 4096, None)
    assert got["warnings"] == [f"untested: {problem}"]


def test_limits_cannot_be_passed_through_the_arguments() -> None:
    assert rejection({"model": "Qwen3-14B", "args": {"max_model_len": 99999}}) == (
        "args of Qwen3-14B sets max_model_len, which the tables limit. Write max_model_len beside"
        " args, as a key of the request."
    )
    assert rejection({"model": "Qwen3-14B", "args": {"tensor-parallel-size": 2}}) == (
        "args of Qwen3-14B sets tensor-parallel-size, which the tables limit. Write"
        " tensor_parallel_size beside args, as a key of the request."
    )
