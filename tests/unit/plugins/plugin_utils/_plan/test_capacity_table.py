# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The capacity of models as a terminal shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import WIDTH
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity import (
    LONGER_BY_ESTIMATE,
    Estimate,
    Row,
    rows_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity_hosts import HostKind
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity_table import (
    capacity_table,
    length,
)

KIND = HostKind(
    name="a2",
    hosts=("npu-01", "npu-02"),
    cards=8,
    options=Options(),
    tables=(),
    engine_version="0.18.0",
)


def row(**values: Any) -> Row:
    figures = {"model": "M", "cards": 1, "max_model_len": 32768, "basis": "measured", **values}
    return Row(asked="m", profile="a2", engine_version="0.18.0", card_memory_gb=64, **figures)


def test_a_row_shows_figures_basis_estimate_and_whether_it_starts() -> None:
    rows = [
        row(
            model="Qwen3-235B-A22B-Thinking-2507",
            cards=16,
            max_model_len=65536,
            estimate=Estimate(16, 262144),
            starts="yes",
            change=(LONGER_BY_ESTIMATE, "it takes 2 hosts"),
        ),
        row(
            estimate=Estimate(2, None, reason="too few cards"),
            starts="no",
            starts_reason="too long",
        ),
        row(
            basis="estimated",
            max_model_len=512,
            borderline=True,
            estimate=Estimate(1, 512, low=0, high=131072),
        ),
        row(basis="estimated", borderline=True, estimate=Estimate(1, 32768, low=32768, high=32768)),
        row(basis="documented", estimate=Estimate(reason="not known")),
        row(model=None, cards=None, max_model_len=None, basis=None, reason="Nobody knows it"),
    ]
    text = capacity_table([KIND], rows, {"npu-03": "it showed no cards"})
    assert text == [
        "a2: 2 hosts (npu-01, npu-02), 8 cards of 64 GB, engine 0.18.0",
        "MODEL                         CARDS LENGTH BASIS      ESTIMATE STARTS",
        "Qwen3-235B-A22B-Thinking-2507    16    64K measured   16/256K  yes",
        "    it takes 2 hosts",
        "M                                 1    32K measured   2/-      no",
        "    too long.",
        "M                                 1   0.5K estimated  ~        ?",
        "    borderline: 0 tokens by a careful calculation, 128K by a generous",
        "    one",
        "M                                 1    32K estimated  ~        ?",
        "    borderline: a careful and a generous calculation ask for",
        "    different numbers of cards",
        "M                                 1    32K documented -        ?",
        "m                                 -      - none",
        "    Nobody knows it.",
        "",
        "npu-03 is left out: it showed no cards.",
        "",
        "- ESTIMATE: the least cards for the length, and the longest on the",
        "  row's cards.",
        "- The estimate has the same number of cards as 1 of 2 measured rows.",
        "- ~: borderline, within the error of the estimate; try it before",
        "  relying on it.",
        "- STARTS ?: whether this version of the engine starts it is not",
        "  known.",
        "- STARTS yes: it was run, and nothing is known against this version.",
        "- By estimate these cards carry a longer max_model_len: the playbook",
        "  calibrate tries it on a host, and writes a row of your own",
        "  (ascend_model_tables).",
    ]


def test_each_kind_has_a_table_of_its_own_and_a_legend_only_of_what_is_there() -> None:
    other = replace(KIND, name="duo", hosts=(), cards=None, contacted=True)
    rows = [row(starts="yes", basis="calibrated"), replace(row(starts="yes"), profile="duo")]
    rows[1] = replace(rows[1], basis="calibrated")
    assert capacity_table([KIND, other], rows, {}) == [
        "a2: 2 hosts (npu-01, npu-02), 8 cards of 64 GB, engine 0.18.0",
        "MODEL CARDS LENGTH BASIS      ESTIMATE STARTS",
        "M         1    32K calibrated          yes",
        "",
        "duo: cards of 64 GB, engine 0.18.0, read from the host",
        "MODEL CARDS LENGTH BASIS      ESTIMATE STARTS",
        "M         1    32K calibrated          yes",
        "",
        "- STARTS yes: it was run, and nothing is known against this version.",
    ]


def test_the_published_table_fits_a_terminal_of_80_columns() -> None:
    lines = capacity_table([KIND], rows_of(["*"], KIND, load_catalogue()), {})
    assert max(map(len, lines)) <= WIDTH
    assert sum(" measured " in line and not line.startswith("-") for line in lines) == 61


@pytest.mark.parametrize(
    ("tokens", "text"), [(512, "0.5K"), (32768, "32K"), (128000, "125K"), (1000, "1000"), (0, "0")]
)
def test_lengths_are_in_k_as_in_the_published_table(tokens: int, text: str) -> None:
    assert length(tokens) == text
