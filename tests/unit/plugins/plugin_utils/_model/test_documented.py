# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine's tutorials state answers where no measured table does, and is named as such."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.tables import Row
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import check_args

from .resolving import CATALOGUE, rejection, spec


def test_the_documented_table_has_every_count_that_the_tutorials_state(shared: Path) -> None:
    stated = yaml.safe_load((shared / "facts/documented_minima.yml").read_text(encoding="utf-8"))
    table = CATALOGUE.tables[2]
    assert (table.name, table.basis) == ("vllm-ascend-tutorials", "documented")
    assert {row.updated for row in table.rows} == {stated["source"]["date"]}
    rows = {(row.model.lower(), row.card_memory_gb): row for row in table.rows}
    plain = {"bf16", "fp16", "int4/bf16"}

    def least(value: int | list[int]) -> int:
        return value[0] if isinstance(value, list) else value

    expected: dict[tuple[str, float], int] = {}
    for entry in stated["rows"]:
        name = {"Qwen3-Omni-30B-A3B": "Qwen3-Omni-30B-A3B-Thinking"}.get(
            entry["name"], entry["name"]
        )
        if entry["weights"] not in plain:
            name += (
                "-"
                + entry["weights"].removesuffix("sc-310")
                + ("sc" if entry["weights"].endswith("sc-310") else "")
            )
        devices = [least(entry[k]) for k in ("a2_cards", "a3_dies", "dies") if k in entry]
        if devices:
            expected[name.lower(), 64] = max(devices)
        if "duo_chips" in entry:
            expected[name.lower(), 48] = entry["duo_chips"]
    expected["glm-5.1", 64] = expected["glm-5", 64]  # "5.1 alike"
    assert {key: row.min_cards for key, row in rows.items()} == expected


@pytest.mark.parametrize("name", ["DeepSeek-V3.1-W8A8", "Eco-Tech/DeepSeek-V3.1-w8a8-mtp-QuaRot"])
def test_a_model_that_only_the_tutorials_have_is_answered_from_them(name: str) -> None:
    got = spec(name)
    assert (got["model"], got["cards"], got["max_model_len"]) == ("DeepSeek-V3.1-W8A8", 16, 16384)
    assert got["gpu_memory_utilization"] == 0.92
    assert got["args"] == {"quantization": "ascend", "enable-expert-parallel": True}
    assert (got["huggingface"], got["modelscope"]) == (
        None,
        "Eco-Tech/DeepSeek-V3.1-w8a8-mtp-QuaRot",
    )
    assert got["provenance"] == {
        "table": "vllm-ascend-tutorials",
        "row": 21,
        "updated": "2026-08-22",
        "basis": "documented",
    }


def test_a_measured_row_goes_before_a_documented_one() -> None:
    assert spec("Qwen3-30B-A3B")["provenance"]["table"] == "ascend-64gb"
    preferred = load_catalogue(["vllm-ascend-tutorials.yml"])
    got = spec("Qwen3-30B-A3B", preferred)
    assert got["provenance"]["basis"] == "documented"
    assert got["warnings"] == [
        "the tutorial states 2 to 4 cards, and gives its command of 40960 tokens for 4 (table"
        " vllm-ascend-tutorials, row 1: 40960 tokens on 2 cards at utilization 0.95)"
    ]
    assert spec({"model": "Qwen3-30B-A3B", "cards": 4}, preferred)["warnings"] == []


def test_more_than_the_tutorial_has_is_rejected_in_its_words() -> None:
    assert rejection({"model": "Kimi-K2.5-W4A8", "max_model_len": "64K"}) == (
        "max_model_len of Kimi-K2.5-W4A8 is 65536; the longest that the engine's documentation gives"
        " is 32768 (table vllm-ascend-tutorials, row 24: 32768 tokens on 16 cards at utilization"
        " 0.9). Set max_model_len to 32768 or less, or set allow_untested to try it."
    )


@pytest.mark.parametrize(
    "row", CATALOGUE.tables[2].rows, ids=lambda row: f"{row.model}-{row.card_memory_gb:g}"
)
@pytest.mark.parametrize("version", ["0.18.0", "0.23.0"])
def test_every_row_resolves_and_the_engine_reads_its_options(row: Row, version: str) -> None:
    catalogue = load_catalogue(["vllm-ascend-tutorials.yml"])
    got = spec(row.model, catalogue, card_memory_gb=row.card_memory_gb)
    assert (got["cards"], got["max_model_len"]) == (row.min_cards, row.max_model_len)
    assert got["tensor_parallel_size"] == row.min_cards
    assert got["provenance"]["basis"] == "documented"
    assert got["huggingface"] or got["modelscope"]
    check_args(got, version)
