# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service over several hosts is one service in each view of the plan."""

from __future__ import annotations

import re

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.html import html
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.markdown import markdown
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.terminal import card_map

from .test_views import BIG, BIG_1, NASTY, host, plan, service

HOW = {"engine": "data_parallel", "sizes": [2, 8, 1], "model": "Qwen3-235B-A22B"}
FLEET = plan(
    host("a", {**BIG, **HOW}), host("b", {**BIG_1, **HOW}), host("c", service("chat", 0, 1))
)


def test_a_terminal_has_a_line_for_it() -> None:
    lines = card_map(FLEET)
    assert "big over a, b: data parallel, data 2 x tensor 8" in lines
    assert any(line.endswith("2 services.") for line in lines)
    assert not any("chat over" in line for line in lines)


def test_markdown_has_a_row_with_hosts_by_rank() -> None:
    (row,) = (line for line in markdown(FLEET).splitlines() if "<br>" in line)
    assert row == (
        "| `big` | `Qwen3-235B-A22B` | `a` 0-7<br>`b` 0-7 | data parallel | data 2 x tensor 8 |"
    )
    assert "over several hosts" not in markdown(plan(host("c", service("chat", 0))))


def test_a_page_has_a_row_whose_hosts_are_links() -> None:
    page = html(FLEET)
    row = re.search(r"<tr><td><b>big</b>.*", page)
    assert row and row.group() == (
        '<tr><td><b>big</b><td><a href="#h0">a</a> <span class="ids">0-7</span>, <a href="#h1">b</a>'
        ' <span class="ids">0-7</span><td>data parallel<td>data 2 x tensor 8'
    )
    assert "t-spanning" not in html(plan(host("c", service("chat", 0))))


def test_a_host_without_its_part_and_names_that_are_markup_are_shown_as_they_are() -> None:
    cluster = {"leader": "a", "rank": 0, "hosts": ["a", NASTY]}
    fleet = plan(host("a", {**BIG, **HOW, "cluster": cluster}))
    assert "\x1b" not in "".join(card_map(fleet))
    for text in (markdown(fleet), html(fleet)):
        assert "<script>alert" not in text and "\x1b" not in text
    assert "`a` 0-7<br><code>" in markdown(fleet)
