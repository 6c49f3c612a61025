# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row of a calibration in the user's own table, which is left as it was otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.row import with_row
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
)

TRIAL = {"cards": 2, "max_model_len": 32768, "passed": True, "start_seconds": 71.5}
ROW: dict[str, Any] = {
    "model": "our-finetune",
    "card_memory_gb": 64.0,
    "min_cards": 2,
    "max_model_len": 32768,
    "gpu_memory_utilization": 0.95,
    "basis": "calibrated",
    "kind": "generate",
    "calibration": {
        "date": "2026-11-29",
        "engine": "vllm-ascend 0.18.0",
        "trials": [{**TRIAL, "benchmark": {"completed": 4.0}}],
    },
}
TABLE = """\
# Our models.
table: our-models
conditions: {gpu_memory_utilization: 0.9, card_memory_gb: 64}   # all of them
rows:
  # measured by hand
  - {model: other, min_cards: 1, max_model_len: 4096}  # in March
  # the finetune
  - model: our-finetune
    min_cards: 4
    max_model_len: 8192

  # the last one
  - {model: third, min_cards: 1, max_model_len: 4096}
# the end
"""


def written(text: str | None) -> str:
    return with_row(text, ROW, "our-models", "our-models.yml")


def test_a_new_table_is_read_as_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "our-models.yml"
    path.write_text(written(None), encoding="utf-8")
    spec = resolve("our-finetune", load_catalogue([str(path)]), Options())
    assert (spec.cards, spec.max_model_len) == (2, 32768)
    assert spec.provenance == {
        "table": "our-models",
        "row": 1,
        "updated": None,
        "basis": "calibrated",
    }
    with pytest.raises(AscendError, match="the longest that a calibration of this kind of host"):
        resolve(
            {"model": "our-finetune", "max_model_len": 65536},
            load_catalogue([str(path)]),
            Options(),
        )


def test_the_row_of_the_same_model_and_memory_is_replaced(tmp_path: Path) -> None:
    text = written(TABLE)
    assert [row["model"] for row in yaml.safe_load(text)["rows"]] == [
        "other",
        "our-finetune",
        "third",
    ]
    assert yaml.safe_load(text)["rows"][1] == ROW
    before, after = TABLE.split("  - model: our-finetune")
    assert text.startswith(before)
    assert text.endswith("\n  # the last one\n" + after.split("# the last one\n")[1])
    path = tmp_path / "our-models.yml"
    path.write_text(text, encoding="utf-8")
    assert resolve("our-finetune", load_catalogue([str(path)]), Options()).cards == 2
    assert (
        resolve("other", load_catalogue([str(path)]), Options()).provenance["basis"] == "measured"
    )


def test_writing_it_twice_changes_nothing() -> None:
    assert written(written(TABLE)) == written(TABLE)


def test_a_row_of_other_memory_stays() -> None:
    text = TABLE.replace("    min_cards: 4\n", "    min_cards: 4\n    card_memory_gb: 32\n")
    rows = yaml.safe_load(written(text))["rows"]
    assert [row["model"] for row in rows].count("our-finetune") == 2
    assert rows[-1] == ROW
    assert written(text).endswith("# the end\n")


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_the_row_is_written_as_deep_as_the_others(indent: str) -> None:
    text = f"table: t\nrows:\n{indent}- {{model: other, min_cards: 1}}"
    rows = yaml.safe_load(written(text))["rows"]
    assert [row["model"] for row in rows] == ["other", "our-finetune"]


@pytest.mark.parametrize(
    "text", ["table: t\nrows: [{model: a}]\n", "table: t\n", "- 1\n", "rows: 7\n", "rows: [\n"]
)
def test_a_file_in_which_no_row_can_be_added_is_rejected(text: str) -> None:
    with pytest.raises(AscendError, match="The model table our-models.yml"):
        written(text)
