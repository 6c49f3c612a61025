# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file from which a run that was cut off goes on, and the chart."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.chart import chart
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.outcome import Ended
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.record import (
    read_record,
    write_record,
    write_row,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.search import (
    Search,
    Step,
    lengths_up_to,
)

CONDITIONS = {"model": "m", "engine": "vLLM 0.18.0", "prompts": 4}
TRIALS = [
    Ended(Step(1, 131072), False, 60.0, 30_000, "kv-cache", "no room <here>"),
    Ended(Step(1, 24576), True, 70.0, figures={"completed": 4.0, "output_throughput": 100.0}),
]


def test_trials_are_kept_under_their_conditions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.json"
    assert read_record(path, CONDITIONS) == ([], [])
    write_record(path, CONDITIONS, TRIALS)
    assert read_record(path, CONDITIONS) == (TRIALS, [])
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_trials_of_other_conditions_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_record(path, CONDITIONS, TRIALS)
    assert read_record(path, {**CONDITIONS, "prompts": 8, "driver": "25.2"}) == (
        [],
        ["driver", "prompts"],
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"conditions": {}, "trials": [{}]}'])
def test_another_file_is_rejected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(AscendError, match="is not the state of a calibration"):
        read_record(path, CONDITIONS)


FORK = multiprocessing.get_context("fork")


def write_rows(table: Path, name: str, together: Barrier) -> None:
    together.wait(60)
    for number in range(20):
        row = {"model": f"{name}-{number}", "card_memory_gb": 64.0}
        write_row(table, row, True, lambda _text: None)


def test_hosts_that_are_calibrated_at_once_lose_none_of_their_rows(tmp_path: Path) -> None:
    together = FORK.Barrier(2)
    both = [
        FORK.Process(target=write_rows, args=(tmp_path / "ours.yml", name, together), daemon=True)
        for name in ("a", "b")
    ]
    for each in both:
        each.start()
    for each in both:
        each.join(120)
    assert [each.exitcode for each in both] == [0, 0]
    rows = yaml.safe_load((tmp_path / "ours.yml").read_text())["rows"]
    assert {each["model"] for each in rows} == {f"{n}-{i}" for n in "ab" for i in range(20)}
    assert os.listdir(tmp_path) == ["ours.yml"]


def test_the_chart_shows_every_trial_and_the_result() -> None:
    search = Search((1, 2), lengths_up_to(131072))
    text = chart("Calibration of <m>", "64 GB", search, TRIALS, Step(1, 24576))
    root = ElementTree.fromstring(text)
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Calibration of <m>" in words
    assert "result: 24K on 1 card" in words
    assert {"1 card", "2 cards", "0.5K", "128K", "100 tokens/s"} <= set(words)
    # One dot with a ring around it, one cross; each once more in the legend.
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 3
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 2


def test_a_chart_of_a_single_length_is_drawn() -> None:
    search = Search((1,), (512,))
    assert "result: none" in chart("c", "s", search, [], None)
