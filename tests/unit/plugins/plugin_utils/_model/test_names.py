# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models are found under the names that people use for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import load_facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.names import Match, Names

from .resolving import CATALOGUE, rejection, spec, user_table

FOUND = [
    ("Qwen2.5-7B-Instruct", Match("Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct")),
    ("qwen2_5-7b-instruct", Match("Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct")),
    ("qwen/QWEN2-5_7B.Instruct", Match("Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct")),
    ("Qwen2.5-7B", Match("Qwen2.5-7B")),
    ("Qwen2.5 7B", Match("Qwen2.5-7B")),
    ("gemma-3-27b-it", Match("Gemma3-27B", "google/gemma-3-27b-it")),
    ("Gemma-3-27B", Match("Gemma3-27B")),
    ("Llama-3.1-8B", Match("Llama3.1-8B")),
    ("Meta-Llama-3-8B", Match("Llama3-8B", "meta-llama/Meta-Llama-3-8B")),
    ("InternVL2_5-26B", Match("InternVL2.5-26B")),
    ("PaddleOCR-VL", Match("PaddleOCR-VL-0.9B", "PaddlePaddle/PaddleOCR-VL")),
    ("/data/models/Qwen3-8B/", Match("Qwen3-8B")),
    (
        "/root/.cache/modelscope/hub/models/Qwen/Qwen2___5-7B",
        Match("Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
    ),
    (
        "/cache/hub/models--Qwen--Qwen2.5-7B-Instruct/snapshots/a09a3545",
        Match("Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct"),
    ),
]


@pytest.mark.parametrize(("name", "match"), FOUND, ids=[each[0] for each in FOUND])
def test_a_model_is_found_by_the_names_in_use(name: str, match: Match) -> None:
    assert CATALOGUE.find(name) == match


def test_every_id_is_found_without_its_owner() -> None:
    for model, facts in load_facts().items():
        for hub_id in facts.huggingface + facts.modelscope:
            match = CATALOGUE.find(hub_id.split("/")[1])
            assert match is not None and match.model == model


@pytest.mark.parametrize(
    "name", ["InternVL-38B", "Qwen-25-7B", "Qwen3", "8B", "", "-", "/", "/srv"]
)
def test_numbers_are_not_put_together(name: str) -> None:
    assert CATALOGUE.names.meanings(name) == ()


def test_a_name_of_two_models_is_rejected_with_both(tmp_path: Path) -> None:
    catalogue = user_table(
        tmp_path,
        "  - {model: one, huggingface: us/Tiny-1B, min_cards: 1, max_model_len_k: 1}\n"
        "  - {model: two, huggingface: them/tiny_1b, min_cards: 1, max_model_len_k: 1}\n",
    )
    assert rejection("Tiny-1B", catalogue) == (
        "The model 'Tiny-1B' can mean one (us/Tiny-1B) or two (them/tiny_1b). Write one of these"
        " names."
    )
    assert spec("us/tiny.1b", catalogue)["model"] == "one"
    absent = spec({"model": "Tiny-1B", "name": "x", "state": "absent"}, catalogue)
    assert absent["model"] == "Tiny-1B"


def test_more_exact_names_go_first() -> None:
    names = Names([("A-1", ["x/b.1"]), ("a_1", ["y/A-1", "x/b.1"]), ("b-1", [])])
    assert names.meanings("a_1") == (Match("a_1"),)
    assert names.meanings("a.1") == (Match("A-1"), Match("a_1"))
    assert names.meanings("B_1") == (Match("b-1"),)
    assert names.meanings("x/B-1") == (Match("A-1", "x/b.1"),)


def test_weights_of_another_owner_are_not_taken_for_those_that_are_known() -> None:
    assert rejection("unsloth/Qwen3-8B").startswith(
        "No table lists the model 'unsloth/Qwen3-8B'. Where it has the size and shape of Qwen3-8B,"
        " write model: Qwen3-8B with its id in huggingface or modelscope. A row "
    )


def test_a_path_that_names_the_model_is_where_its_weights_are() -> None:
    found = spec("/data/models/Qwen3-8B")
    assert (found["name"], found["path"]) == ("Qwen3-8B", "/data/models/Qwen3-8B")
    assert spec({"model": "/data/Qwen3-8B", "path": "/srv/q"})["path"] == "/srv/q"
    assert "path" not in spec("Qwen3-8B")
