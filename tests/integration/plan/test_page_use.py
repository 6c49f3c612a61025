# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a plan in a real Chromium: search, filters, keys, and a thousand hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from .chromium import Chromium
from .pages import HOSTS, focused, marked, shown, visible


@pytest.mark.parametrize(
    "typed, hosts, services",
    [
        ("chat", HOSTS[:2], ["chat", "chat"]),
        ("NPU-03", ["npu-03"], []),
        ("qwen3-235b-a22b", ["npu-a3"], ["qwen3-235b"]),
        ("rack-7 chat", [HOSTS[1]], ["chat"]),
        ("npu-a3 chat", [], []),
        ("atlas-800i-a3", ["npu-a3"], []),
    ],
)
def test_search_narrows_to_services_models_and_hosts(
    page: Chromium, typed: str, hosts: list[str], services: list[str]
) -> None:
    page.click("#q")
    page.type(typed)
    assert shown(page) == hosts
    assert marked(page) == services
    assert page.evaluate("document.getElementById('found').textContent").startswith(
        f"{len(hosts)} of 4 hosts"
    )
    assert visible(page, "#none") is (not hosts)


@pytest.mark.parametrize(
    "value, hosts",
    [
        ("changed", HOSTS[:3]),
        ("free", HOSTS[1:3]),
        ("out", HOSTS[:1]),
        ("estimated", HOSTS[1:2]),
        ("off", ["npu-03"]),
        ("hand", ["npu-03"]),
        ("", HOSTS),
    ],
)
def test_filters(page: Chromium, value: str, hosts: list[str]) -> None:
    page.evaluate(
        f"const show = document.getElementById('show'); show.value = '{value}';"
        "show.dispatchEvent(new Event('change'))"
    )
    assert shown(page) == hosts


def test_a_model_of_the_legend_filters(page: Chromium) -> None:
    button = "#models li:nth-child(3) button"
    assert page.evaluate(f"document.querySelector('{button} b').textContent") == "Qwen2.5-72B"
    page.click(button)
    assert shown(page) == HOSTS[:2]
    assert marked(page) == ["chat", "chat"]
    assert page.evaluate(f"document.querySelector('{button}').ariaPressed") == "true"
    page.click(button)
    assert shown(page) == HOSTS


def test_a_click_on_a_service_finds_all_of_it_and_a_change_leads_to_a_hidden_host(
    page: Chromium,
) -> None:
    page.click("#hosts li li b")
    assert shown(page) == HOSTS[:2]
    page.evaluate("document.querySelector('a[href=\"#h2\"]').click()")
    page.evaluate("new Promise(done => setTimeout(done, 100))", wait=True)
    assert shown(page) == HOSTS


def test_keys_search_walk_and_clear(page: Chromium) -> None:
    page.press("/")
    assert focused(page) == "q"
    page.type("chat")
    assert shown(page) == HOSTS[:2]
    page.press("Tab")
    assert focused(page).startswith("all hosts")
    page.press("Tab")
    assert "chat" in focused(page)
    page.press("ArrowRight")
    assert "coder" in focused(page)
    page.press("ArrowDown")
    assert "qwen3-14b" in focused(page)
    page.press("ArrowDown")  # the last that the search shows
    assert "qwen3-14b" in focused(page)
    page.press("Enter")
    assert page.evaluate("document.getElementById('q').value") == "qwen3-14b"
    assert shown(page) == [HOSTS[1]]
    page.press("Escape")
    assert shown(page) == HOSTS
    assert page.evaluate("document.getElementById('q').value") == ""
    page.press("End")
    assert "qwen3-235b" in focused(page)
    page.press("Home")
    assert "chat" in focused(page)
    # A slash that is typed into the field stays a slash.
    page.press("/")
    page.press("/")
    assert page.evaluate("document.getElementById('q').value") == "/"


def test_the_tab_key_stops_where_something_can_be_done_and_shows_it(page: Chromium) -> None:
    stops = []
    for _unused in range(40):
        page.press("Tab")
        stop = page.evaluate(
            "(() => { const e = document.activeElement; if (e === document.body) return null;"
            "const ring = getComputedStyle(e.id === 'detail' ? e.closest('label') : e);"
            "const box = e.getBoundingClientRect();"
            "return {what: e.id || e.className || e.tagName, ring: ring.outlineStyle === 'solid' &&"
            " parseFloat(ring.outlineWidth) >= 2, onScreen: box.top >= 0 && box.bottom <= innerHeight + 1}; })()"
        )
        if stop is None:
            break
        stops.append(stop)
    names = [stop["what"] for stop in stops]
    assert names[0] == "skip"
    assert names[-4:-1] == ["detail", "q", "show"]
    assert len(names) < 30, names
    assert [stop for stop in stops if not stop["ring"]] == []
    assert [stop for stop in stops if not stop["onScreen"]] == []


def test_the_overview_tells_what_is_focused(page: Chromium) -> None:
    page.click("label:has(#overview)")
    page.press("/")
    page.press("Tab")
    page.press("Tab")
    page.press("ArrowRight")
    told = page.evaluate("document.getElementById('at').innerText")
    assert told.startswith("npu-01 \u00b7 cards 4-5 \u00b7 coder \u00b7 moved \u00b7 32768")


def test_a_thousand_hosts_load_and_answer_at_once(page: Chromium, files: dict[str, Path]) -> None:
    assert files["thousand"].stat().st_size < 800_000
    page.open(files["thousand"])
    assert len(shown(page)) == 1000
    for width in (1280, 390):
        page.size(width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.press("/")
    page.type("npu-0123")
    assert shown(page) == ["npu-0123"]
    page.press("Escape")
    # All of a search, layout included; alone on two cores it takes a tenth of a second.
    spent = page.evaluate(
        "(() => { const start = performance.now(); const q = document.getElementById('q'); q.value = 'glm';"
        "q.dispatchEvent(new Event('input')); document.body.offsetHeight; return performance.now() - start; })()"
    )
    assert spent < 3000
    assert 0 < len(shown(page)) < 1000
    assert set(marked(page)) == {"glm-4-9b"}
