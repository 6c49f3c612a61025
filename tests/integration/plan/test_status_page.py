# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a fleet's status in a real Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.targets import Target
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift, drift_report
from ansible_collections.inferops.ascend.plugins.plugin_utils._status.fleet import fleet_status
from ansible_collections.inferops.ascend.plugins.plugin_utils._status.views import page as page_of
from ansible_collections.inferops.ascend.tests.unit.plugins.plugin_utils._host.readings import (
    Readings,
)

from .chromium import Chromium
from .pages import problems, shown

LOST = {"unreachable": True, "msg": "no route to host"}


def report(name: str, **chat: Any) -> dict[str, Any]:
    host = Readings()
    host.chat.update(chat)
    return {**drift_report.as_dict(host.compare()), "host": name}


@pytest.fixture
def status(browser: Chromium, tmp_path: Path) -> Chromium:
    """Forty hosts: one with a service that failed, one that was not reached; a gateway that knows none."""
    hosts = [report(f"npu-{number:02}") for number in range(38)]
    hosts.append(report("npu-38", state="failed", cause={"cause": "<i>x</i>", "advice": "Do y."}))
    hosts.append(drift_report.as_dict(drift.compare("npu-39", [], status=LOST)))
    gateway = {"gw-01": {"running": True, "servers": []}}
    routed = {"gw-01": [Target("chat:npu-00", "chat", "npu-00", "10.0.0.1", 8000, ("chat",))]}
    data = fleet_status(hosts, {}, gateway, routed)
    path = tmp_path / "status.html"
    path.write_text(page_of(data, "2026-01-01 00:00:00Z"), encoding="utf-8")
    browser.scripts(True)
    browser.scheme("light")
    browser.size(1280)
    browser.open(path)
    return browser


def test_the_filter_shows_the_hosts_with_problems(status: Chromium) -> None:
    assert len(shown(status)) == 40
    status.evaluate(
        "const show = document.getElementById('show'); show.value = 'wrong';"
        "show.dispatchEvent(new Event('change'))"
    )
    assert shown(status) == ["npu-38", "npu-39"]


@pytest.mark.parametrize("typed", ["", "npu-00"])
def test_a_problem_leads_to_its_host_also_where_a_search_hides_it(
    status: Chromium, typed: str
) -> None:
    status.click("#q")
    status.type(typed)
    link = "a[href='#h38']"
    assert status.evaluate(f'document.querySelector("{link}").textContent') == "npu-38, chat"
    status.click(link)
    inside = (
        "new Promise(done => { const look = () => {"
        " const e = document.getElementById('h38'), r = e.getBoundingClientRect();"
        " if (e.checkVisibility() && r.top >= 0 && r.top < innerHeight) done(location.hash);"
        " else setTimeout(look, 20); }; look(); setTimeout(() => done('not shown'), 20000); })"
    )
    assert status.evaluate(inside, wait=True) == "#h38"


def test_it_names_what_is_wrong_asks_no_network_and_fits_a_phone(status: Chromium) -> None:
    assert problems(status) == []
    assert len(status.happened("Network.requestWillBeSent")) == 1
    rows = "[...document.querySelectorAll('#t-problem ~ .scroll tbody tr')].map(e => e.innerText)"
    texts = status.evaluate(rows)
    assert len(texts) == 3, json.dumps(texts)
    assert "npu-38, chat\tit failed: <i>x</i>\tDo y." in texts
    assert any("Run the playbook gateway." in text for text in texts)
    for width in (390, 320):
        status.size(width)
        assert status.evaluate("document.documentElement.scrollWidth") <= width
