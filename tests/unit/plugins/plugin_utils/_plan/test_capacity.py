# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What models take on a kind of host, and what that rests on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity import (
    ESTIMATES_ARE_OFF,
    LONGER_BY_ESTIMATE,
    NOT_MEASURED,
    Row,
    agreement,
    as_file,
    rows_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity_hosts import (
    HostKind,
    named_profiles,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

A2, A2_32G, DUO = "atlas-800i-a2-64g", "atlas-800i-a2-32g", "atlas-300i-duo-96g"


def kind(name: str = A2, **variables: Any) -> HostKind:
    return named_profiles([name], Settings(variables.get))[0]


def rows(*models: Any, on: HostKind | None = None) -> list[Row]:
    return rows_of(models, on or kind(), load_catalogue())


def row(model: Any, on: HostKind | None = None) -> Row:
    return rows(model, on=on)[0]


def test_a_star_is_every_measured_row_beside_its_estimate(repository: Path) -> None:
    lines = (repository / "tests/unit/data/ascend-64gb.tsv").read_text("utf-8").splitlines()
    published = [line.split("\t") for line in lines if not line.startswith("#")]
    found = rows("*")
    assert [(r.row, r.model, r.cards, r.max_model_len) for r in found] == [
        (int(number), model, int(cards), int(float(k) * 1024))
        for number, model, cards, k in published
    ]
    assert {(r.basis, r.table) for r in found} == {("measured", "ascend-64gb")}
    assert all(r.estimate is not None for r in found)
    same, measured = agreement(found)
    # The two others are those that the table itself warns of.
    assert (same >= 59, measured) == (True, 61)


def test_a_measured_row_says_what_the_estimate_says_of_its_cards_and_length() -> None:
    found = row("qwen3-14b")
    assert (found.model, found.cards, found.max_model_len, found.basis) == (
        "Qwen3-14B",
        1,
        32768,
        "measured",
    )
    assert found.estimate is not None
    assert (found.estimate.cards, found.estimate.max_model_len) == (1, 40960)
    assert found.change == (LONGER_BY_ESTIMATE,)


def test_an_estimate_has_its_band_and_says_that_a_deploy_does_not_take_it() -> None:
    found = row("Qwen3-8B", kind(A2_32G))
    assert (found.basis, found.table, found.borderline) == ("estimated", None, False)
    assert found.estimate is not None
    assert found.max_model_len == found.estimate.max_model_len
    assert found.estimate.limited_by == "native context"
    assert ESTIMATES_ARE_OFF in found.change
    assert NOT_MEASURED in found.change
    allowed = row("Qwen3-8B", kind(A2_32G, vllm_service_estimate=True))
    assert ESTIMATES_ARE_OFF not in allowed.change


def test_what_a_careful_and_a_generous_estimate_disagree_about_is_borderline() -> None:
    found = row("DeepSeek-V3.2", kind(A2_32G))
    assert (found.basis, found.borderline) == ("estimated", True)
    assert found.estimate is not None
    low, high = found.estimate.low, found.estimate.high
    assert low is not None
    assert high is not None
    assert low < (found.max_model_len or 0) <= high
    # A row's own figures are borderline by the estimate beside them.
    assert row("MiniMax-M3").borderline is True
    assert row("Qwen3-14B").borderline is False
    assert row("Qwen2.5-VL-32B").borderline is None


def test_what_only_documents_state_has_their_basis() -> None:
    found = row("DeepSeek-V3.1-W8A8")
    assert (found.basis, found.cards, found.table) == ("documented", 16, "vllm-ascend-tutorials")
    assert NOT_MEASURED in found.change
    # It was documented for some version, which need not be this one.
    assert found.starts == "unknown"


def test_a_model_that_nobody_knows_has_the_reason_in_its_row() -> None:
    first, second = rows("no-such-model", "Qwen3-14B")
    assert (first.asked, first.model, first.cards, first.basis) == ("no-such-model",) + (None,) * 3
    assert first.reason is not None
    assert "no-such-model" in first.reason
    assert second.cards == 1


def test_a_star_where_no_table_lists_the_memory_says_so() -> None:
    (only,) = rows("*", on=kind(DUO))
    assert only.reason == (
        "No table lists cards of 48 GB, so * matches nothing. The tables list 32, 64 GB."
    )


def test_a_length_that_the_engine_refuses_is_called_so_with_the_one_that_starts() -> None:
    found = row("Llama3-8B")
    # The table's own figures stay in sight.
    assert (found.cards, found.max_model_len, found.starts) == (1, 32768, "no")
    assert found.starts_reason is not None
    assert "the native context is 8192 tokens" in found.starts_reason
    assert "it starts with max_model_len 8192, which a deploy takes" in found.change
    asked = row({"model": "Llama3-8B", "max_model_len": "16K"})
    assert asked.starts == "no"
    assert asked.starts_reason is not None
    assert "max_model_len is 16384: the native context is 8192 tokens" in asked.starts_reason
    # What is served with YaRN is not refused.
    assert row("Qwen3-235B-A22B").starts == "yes"


def test_what_a_version_of_the_engine_does_not_start_names_the_way_out() -> None:
    def on(version: str, model: str) -> Row:
        return row(model, kind(vllm_service_engine_version=version))

    assert on("0.18.0", "bge-reranker-v2-m3").starts == "yes"
    older = on("0.11.0", "bge-reranker-v2-m3")
    assert (older.starts, older.cards) == ("no", 1)
    assert older.starts_reason is not None
    assert "Use vLLM 0.13.0 or newer" in older.starts_reason
    # What is only likely is no answer, and neither is a version that nobody knows.
    doubted = on("0.11.0", "bge-m3")
    assert doubted.starts == "unknown"
    assert doubted.starts_reason is not None
    assert "support matrix" in doubted.starts_reason
    assert on("9.9.9", "Qwen3-14B").starts == "unknown"
    # So is what ran on chips with other kernels.
    assert row("Qwen3-14B", kind(DUO)).starts == "unknown"


def test_a_star_lists_also_what_does_not_start() -> None:
    found = rows("*", on=kind(vllm_service_engine_version="0.11.0"))
    assert len(found) == 61
    assert "no" in {each.starts for each in found}


def test_what_a_host_is_too_small_for_names_the_number_of_hosts() -> None:
    found = row("Qwen3-Coder-480B-A35B")
    assert found.change[0] == "it takes 4 hosts: one of this kind has 8 cards for services"
    assert not [text for text in row("Qwen3-14B").change if "hosts" in text]
    none = row("Qwen3-14B", replace(kind(), cards=0))
    assert none.change[0] == "a host of this kind has no cards for services"


def test_the_cards_for_the_native_context_are_named_where_the_row_is_shorter() -> None:
    assert (
        "its native context of 131072 tokens takes 4 cards by estimate" in row("Gemma3-27B").change
    )


def test_models_that_no_table_knows_are_estimated_or_taken_on_the_requests_word(
    tmp_path: Path,
) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    ours = row({"model": "ours", "config": str(tmp_path)})
    assert (ours.model, ours.basis, ours.cards, ours.max_model_len) == (
        "ours",
        "estimated",
        4,
        131072,
    )
    shorter = row({"model": "ours", "config": str(tmp_path), "max_model_len": "8K"})
    assert shorter.max_model_len == 8192
    assert LONGER_BY_ESTIMATE not in shorter.change
    word = {"model": "theirs", "path": "/data/theirs", "cards": 2, "max_model_len": "8K"}
    requested = row(word)
    assert (requested.basis, requested.cards, requested.max_model_len) == ("requested", 2, 8192)
    assert requested.estimate is not None
    assert requested.estimate.cards is None
    assert "theirs" in (requested.estimate.reason or "")
    # Its configuration tells that it does not fit.
    few = row({**word, "config": str(tmp_path)})
    assert few.reason is not None
    assert "theirs on 2 cards of 64 GB should carry 0 tokens" in few.reason
    assert row({**word, "config": str(tmp_path), "cards": 8}).basis == "estimated"
    assert row("foo/Qwen3-32B-W8A8").basis == "estimated"


def test_what_is_absent_takes_nothing() -> None:
    found = row({"model": "Qwen3-14B", "state": "absent"})
    assert (found.cards, found.reason) == (
        None,
        "its state is absent, for which there is nothing to serve",
    )


def test_a_malformed_request_has_the_reason_in_its_row() -> None:
    found = row({"cards": 2})
    assert found.reason is not None
    assert "names no model" in found.reason


def test_the_file_is_as_its_schema_describes_it(repository: Path) -> None:
    schema = json.loads((repository / "vars/schemas/capacity.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    kinds = named_profiles([A2, A2_32G, DUO], Settings(lambda name: None))
    asked = ["*", "Qwen3-8B", "DeepSeek-V3.1-W8A8", "no-such-model", {"cards": 1}]
    found = [each for one in kinds for each in rows(*asked, on=one)]
    data = json.loads(json.dumps(as_file(kinds, found, {"npu-9": "it showed no cards"})))
    jsonschema.Draft202012Validator(schema).validate(data)
    assert {entry["profile"] for entry in data["rows"]} == {A2, A2_32G, DUO}
    assert data["left_out"] == [{"host": "npu-9", "reason": "it showed no cards"}]
