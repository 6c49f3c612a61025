# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of one service compared with each other: what is an error, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import across, across_cards
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.across import MemberReading
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.report import CheckReport

from .facts import card, facts

Check = Callable[[CheckReport, str, Sequence[MemberReading]], None]


def device(number: int, host: int, **changes: Any) -> dict[str, Any]:
    return {
        "link": "UP",
        "net_health": "Success",
        "address": f"10.214.{host}.{number}",
        "tls": "0",
        "vnic": None,
        "super_pod": None,
        "problem": "",
        **changes,
    }


def member(host: int, changed: dict[str, Any] | None = None, **more: Any) -> MemberReading:
    """A host with two cards that has nothing wrong; `changed` are fields of its devices."""
    values: dict[str, Any] = {
        "host": f"h{host}",
        "address": f"192.0.2.{host}",
        "versions": {"driver": "25.5.2"},
        "clock": (-0.5, 0.5),
        "weights": {"big": {"config.json": "2 bytes", "model.safetensors": "10 bytes"}},
        "taken": [],
        "cards": [{"logic": 4, "device": 0}, {"logic": 5, "device": 1}],
        "devices": {str(n): device(n, host, **(changed or {})) for n in (0, 1)},
        "searched": "/usr/bin",
        "logic_pod": None,
        "listener": {"18000": ""},
    }
    return MemberReading(**{**values, **more})


def pinged(here: MemberReading, *others: MemberReading, received: int = 3) -> MemberReading:
    pings = across_cards.pings_of(here, others)
    answers = [{**each, "sent": 3, "received": received, "problem": ""} for each in pings]
    return MemberReading(**{**vars(here), "pings": answers})


def found(check: Check, *members: MemberReading, **severities: str) -> list[str]:
    checks = CheckReport(severities)
    check(checks, "big", members)
    return [f"{each.severity} {each.subject}: {each.message}" for each in checks.findings]


ALL = (
    across.check_versions,
    across.check_weights,
    across.check_clocks,
    across.check_ports,
    across.check_reach,
    across_cards.check_cards,
)


def test_hosts_that_are_equal_have_no_findings() -> None:
    members = [pinged(member(1), member(2)), pinged(member(2), member(1))]
    assert [found(check, *members) for check in ALL] == [[]] * len(ALL)


def test_every_finding_can_be_turned_off() -> None:
    off = {"cluster_versions": "ignore"}
    assert found(across.check_versions, member(1, versions={"driver": "1"}), member(2), **off) == []


def test_versions_are_read_of_the_host_and_of_its_engine() -> None:
    host = facts([card(0), card(1, name="910B4")])
    host["engine"] = {"vllm": "0.18.0", "vllm_ascend": None, "torch_npu": None, "python": "3.11.9"}
    assert across.version_row(host, engine=True) == {
        "chip": "910B3 and 910B4",
        "driver": "25.5.2",
        "CANN": "8.5.1",
        "vLLM": "0.18.0",
        "Python": "3.11",
    }
    assert set(across.version_row(host, engine=False)) == {"chip", "driver"}


def test_versions_that_differ_are_named_with_their_hosts() -> None:
    members = [member(n, versions={"driver": "24" if n == 2 else "25"}) for n in (1, 2, 3)]
    assert found(across.check_versions, *members) == [
        "error service big: its hosts have different versions of driver: 25 on h1 and h3, 24 on h2."
    ]
    assert found(across.check_versions, member(1), member(2, versions={})) == [], "not known"


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"big": None}, "h2 has no weights for it, and h1 has."),
        (
            {"big": {"config.json": "3 bytes", "model.safetensors": "10 bytes"}},
            "the weights of h1 and h2 differ: config.json (2 bytes on h1, 3 bytes on h2).",
        ),
        (
            {"big": {"config.json": "2 bytes", **{f"{n}.bin": "1 bytes" for n in range(4)}}},
            "differ: 0.bin (missing on h1, 1 bytes on h2), 1.bin (missing on h1, 1 bytes on h2),"
            " 2.bin (missing on h1, 1 bytes on h2), and 2 more files.",
        ),
    ],
)
def test_weights_that_differ_are_an_error(weights: dict[str, Any], words: str) -> None:
    (text,) = found(across.check_weights, member(1), member(2, weights=weights))
    assert text.startswith("error service big: ")
    assert words in text


def test_weights_that_no_host_has_yet_or_that_have_no_directory_are_not_compared() -> None:
    for weights in ({"big": None}, {}):
        members = [member(n, weights=weights) for n in (1, 2)]
        assert found(across.check_weights, *members) == []


def test_clocks_count_as_apart_when_no_delay_of_the_reading_explains_it() -> None:
    slow = member(2, clock=(-30.0, 0.2))  # its reading took half a minute
    assert found(across.check_clocks, member(1), slow) == []
    (text,) = found(across.check_clocks, member(1), member(2, clock=(-41.0, -40.0)))
    assert text.startswith("warning service big: the clock of h1 is at least 40 s ahead of that of")


def test_who_has_a_port_that_the_service_needs_is_named() -> None:
    entry = {"port": 18000, "pid": 7, "command": "python3 train.py", "unit": "train.service"}
    (text,) = found(across.check_ports, member(1), member(2, taken=[entry]))
    assert text.startswith("error service big, h2: port 18000")
    assert text.endswith("PID 7 python3 train.py (unit train.service) listens there.")


@pytest.mark.parametrize(
    ("results", "words", "advice"),
    [
        (("silent", "silent"), "port 18000: nothing comes back, port 40000: nothing", "A firewall"),
        (("open", "silent"), "port 40000: nothing comes back.", "Single ports are not enough"),
        (("other", "other"), "port 18000: somebody else answers", "Another machine may have"),
        (("No route to host",) * 2, "port 18000: No route to host", "Check the route"),
    ],
)
def test_a_host_that_is_not_reached_is_named_in_its_direction(
    results: tuple[str, str], words: str, advice: str
) -> None:
    pairs = zip(("big", ""), (18000, 40000), results, strict=True)
    tried = [
        {"service": service, "host": "h1", "port": port, "result": result}
        for service, port, result in pairs
    ]
    tried.append({"service": "small", "host": "h1", "port": 18064, "result": "silent"})
    checks = CheckReport({})
    across.check_reach(checks, "big", [member(1), member(2, connections=tried)])
    (finding,) = checks.findings
    assert finding.message.startswith("h2 (192.0.2.2) does not reach h1 (192.0.2.1): ")
    assert words in finding.message
    assert "18064" not in finding.message, "a port of another service"
    assert finding.advice.startswith(advice)


def test_a_host_that_cannot_listen_has_a_wrong_address_unless_the_port_is_taken() -> None:
    assert found(across.check_reach, member(1, listener={"18000": "taken"}), member(2)) == []
    bad = member(1, listener={"18000": "Cannot assign requested address"})
    (text,) = found(across.check_reach, bad, member(2))
    assert "h1: it cannot listen at 192.0.2.1, port 18000: Cannot assign" in text
