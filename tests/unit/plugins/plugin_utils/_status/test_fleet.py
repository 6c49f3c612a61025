# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fleet is, from what its hosts and gateways answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.targets import Target
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift, drift_report
from ansible_collections.inferops.ascend.plugins.plugin_utils._status.fleet import (
    fleet_status as status_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._status.views import lines, page

from .._host.readings import Readings

TARGET = Target("chat:npu-01", "chat", "npu-01", "10.0.0.1", 8000, ("chat",))
RECORD = {"state": "begun", "action": "upgrade", "before": "0.18.0", "after": "0.23.0"}


def server(
    host: str, *, up: bool = True, drained: bool = False, health: str = "UP"
) -> dict[str, Any]:
    return {
        "backend": "model-chat",
        "name": f"chat:{host}",
        "address": "10.0.0.1:8000",
        "up": up,
        "drained": drained,
        "health": health,
        "sessions": 3 if drained else 0,
    }


def fleet_status(
    reports: list[Any], records: dict[str, Any], gateways: dict[str, Any], *routed: Target
) -> dict[str, Any]:
    """Of gateways that all route to the same."""
    return status_of(reports, records, gateways, dict.fromkeys(gateways, routed))


def report(host: Readings) -> dict[str, Any]:
    return drift_report.as_dict(host.compare())


def unreachable(name: str) -> dict[str, Any]:
    return drift_report.as_dict(
        drift.compare(name, [], status={"unreachable": True, "msg": "no route to host"})
    )


def messages(status: dict[str, Any], part: str = "problems") -> list[str]:
    return [f"{each['host']} {each['service']}: {each['message']}" for each in status[part]]


@pytest.fixture
def host() -> Readings:
    return Readings()


def test_a_fleet_on_which_all_is_well_says_so_first(host: Readings) -> None:
    gateway = {"running": True, "servers": [server("npu-01"), server("npu-02")]}
    status = fleet_status([report(host)], {}, {"gw-01": gateway})
    text = lines(status)
    assert text[0] == "All is as wanted."
    assert "npu-01  AAB.   A chat  B spare (stopped)" in text
    assert "- gw-01: ok; model-chat 2 of 2 up" in text
    assert status["summary"]["cards"] == {"used": 3, "free": 1}


def test_what_is_wrong_comes_first_with_what_to_do(host: Readings) -> None:
    host.chat.update(state="failed", cause={"cause": "out of memory", "advice": "Give it 4 cards."})
    text = lines(fleet_status([report(host), unreachable("npu-02")], {}, {}))
    assert text[0] == "2 problems:"
    assert "no route to host" in " ".join(text[1:3])
    assert "- npu-01, chat: it failed: out of memory" in text
    assert text.index("  > Give it 4 cards.") < text.index("host    0123   services")
    assert "npu-01  AAB.   A chat (failed; DIFFERS)  B spare (stopped)" in text


def test_cards_that_are_unhealthy_or_of_others_are_told_apart(host: Readings) -> None:
    cards = host.facts["npu"]["cards"]
    cards[1]["health"], cards[2]["health"] = "Alarm", "Warning"
    cards[3]["processes"] = [{"pid": 9, "name": "train", "command": "train", "unit": None}]
    status = fleet_status([report(host)], {}, {})
    uses = [card["use"] for card in status["hosts"][0]["cards"]]
    assert uses == ["used", "unhealthy", "unhealthy", "foreign"]
    assert any("card 1 Alarm" in line for line in lines(status))


def test_a_gateway_is_asked_for_what_it_can_still_answer(host: Readings) -> None:
    down = server("npu-02", up=False, health="DOWN")
    gateways: dict[str, Any] = {
        "gw-01": {"running": True, "servers": [server("npu-01"), down]},
        "gw-02": {"running": True, "servers": [down]},
        "gw-03": {"running": False},
        "gw-04": {"unreachable": True, "msg": "timed out"},
        # As `failed_when: false` leaves it.
        "gw-05": {"failed": False, "msg": "Missing sudo password"},
    }
    assert messages(fleet_status([report(host)], {}, gateways)) == [
        "gw-01 model-chat: chat:npu-02 of model-chat gets no requests: DOWN.",
        "gw-02 model-chat: no server of model-chat takes requests: chat:npu-02 DOWN.",
        "gw-03 : no gateway runs here.",
        "gw-04 : the gateway was not reached: timed out",
        "gw-05 : the gateway could not be asked: Missing sudo password",
    ]


def test_what_is_under_way_waits_and_is_not_wrong(host: Readings) -> None:
    host.chat.update(state="starting", phase="weights", percent=25)
    drained = server("npu-01", up=False, drained=True)
    gateway = {"running": True, "servers": [drained, server("npu-02")]}
    status = fleet_status([report(host)], {"npu-01": RECORD}, {"gw-01": gateway})
    assert status["problems"] == []
    assert messages(status, "waiting") == [
        "npu-01 chat: loading: weights 25 %",
        "npu-01 : upgrade 0.18.0 -> 0.23.0 began and has not ended",
        "gw-01 model-chat: chat:npu-01 is drained, 3 requests left",
    ]
    assert lines(status)[0] == "Nothing is wrong; not everything serves yet."


def test_a_server_is_down_while_its_service_loads(host: Readings) -> None:
    host.chat.update(state="starting", phase="weights", percent=25)
    down = server("npu-01", up=False, health="DOWN")
    for others, expected in (
        ([], []),
        ([server("npu-02")], []),
        (
            [server("npu-02", up=False, health="DOWN")],
            ["gw-01 model-chat: no server of model-chat takes requests: chat:npu-01 DOWN, chat:npu-02 DOWN."],
        ),
    ):  # fmt: skip
        gateway = {"running": True, "servers": [down, *others]}
        status = fleet_status([report(host)], {}, {"gw-01": gateway}, TARGET)
        assert messages(status) == expected
        assert messages(status, "waiting") == ["npu-01 chat: loading: weights 25 %"]


def test_a_server_whose_name_does_not_resolve_is_not_taken_for_a_drained_one(
    host: Readings,
) -> None:
    lost = server("npu-02", up=False, drained=True, health="MAINT (resolution)")
    gateway = {"running": True, "servers": [server("npu-01"), lost]}
    status = fleet_status([report(host)], {}, {"gw-01": gateway})
    assert messages(status) == [
        "gw-01 model-chat: chat:npu-02 of model-chat gets no requests: its address does not resolve here."
    ]
    assert status["waiting"] == []


def test_a_gateway_that_does_not_know_what_serves_is_outdated(host: Readings) -> None:
    moved = {**server("npu-01"), "address": "10.0.0.1:8010"}
    for servers in ([server("npu-02")], [server("npu-02"), moved]):
        gateway = {"running": True, "servers": servers}
        status = fleet_status([report(host)], {}, {"gw-01": gateway}, TARGET)
        assert messages(status) == [
            "gw-01 : this gateway was set up before chat:npu-01 served, and sends no requests there."
        ]
        assert status["problems"][0]["advice"] == "Run the playbook gateway."
    known = {"gw-01": {"running": True, "servers": [server("npu-01")]}}
    assert fleet_status([report(host)], {}, known, TARGET)["problems"] == []
    # What does not serve yet gets no requests by any configuration.
    host.chat.update(state="starting")
    gateway = {"running": True, "servers": [server("npu-02")]}
    assert fleet_status([report(host)], {}, {"gw-01": gateway}, TARGET)["problems"] == []


def test_the_data_is_as_its_schema_describes_it(host: Readings, repository: Path) -> None:
    schema = json.loads((repository / "vars/schemas/status.schema.json").read_text("utf-8"))
    gateways = {
        "gw-01": {"running": True, "servers": [server("npu-01")]},
        "gw-02": {"msg": "no"},
    }
    for records in ({}, {"npu-01": RECORD}):
        status = fleet_status([report(host), unreachable("npu-02")], records, gateways)
        jsonschema.validate({"moment": "2026-01-01 00:00:00Z", **status}, schema)


def test_the_page_escapes_and_names_what_is_wrong(host: Readings) -> None:
    host.chat.update(state="failed", cause={"cause": "<b>x</b>", "advice": "Do y."})
    text = page(fleet_status([report(host)], {"npu-01": RECORD}, {}), "2026-01-01 00:00:00Z")
    assert "<title>Fleet status: 1 host</title>" in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text and "<b>x</b>" not in text
    assert '<a href="#h0">npu-01, chat</a>' in text
    assert "upgrade 0.18.0 -&gt; 0.23.0: begun (npu-01)" in text
