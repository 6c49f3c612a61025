# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated network of the cards, in the words of Huawei's hccn_tool and npu-smi."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ascend_sim
import hccn_tool
import npu_smi
import pytest

from .hosts import PROFILES

Change = Callable[..., None]


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Make the state of a profile's host, with fields of card 2 or of the host changed."""
    monkeypatch.setenv("ASCEND_SIM_STATE", str(tmp_path / "state.json"))
    monkeypatch.setenv("ASCEND_SIM_CLAIMS", str(tmp_path))
    monkeypatch.setattr(ascend_sim, "may_use_driver", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def make(profile: str, card: dict[str, Any] | None = None, **host: Any) -> None:
        state = ascend_sim.profile_state(PROFILES, profile, 11)
        state["cards"][2].update(card or {})
        ascend_sim.write_state({**state, **host})

    return make


def tool(words: str) -> tuple[str, int]:
    return hccn_tool.run(f"-i 2 {words}".split())


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("-ip -g", "ipaddr:10.214.11.102\nnetmask:255.255.0.0\n"),
        ("-link -g", "link status: UP\n"),
        ("-net_health -g", "net health status: Success\n"),
        ("-netdetect -g", "netdetect address: 10.214.0.1\n"),
        ("-gateway -g", "default gateway:10.214.0.1, Iface:eth2\n"),
        (
            "-tls -g",
            "dev_id:2, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, "
            "1:preset), tls alarm time threshold[60]days\n",
        ),
        (
            "-ping -g address 10.214.12.100",
            "device 2 PING 10.214.12.100\nrecv seq=0,time=0.104000ms\nrecv seq=1,time=0.114000ms\n"
            "recv seq=2,time=0.124000ms\n3 packets transmitted, 3 received, 0.00% packet loss\n",
        ),
    ],
)
def test_a_card_that_is_connected(change: Change, words: str, printed: str) -> None:
    change("a2-64g")
    assert tool(words) == (printed, 0)


@pytest.mark.parametrize(
    ("words", "card", "host", "printed"),
    [
        ("-link -g", {"link": "DOWN"}, {}, "link status: DOWN"),
        ("-net_health -g", {"net_health": "Fault"}, {}, "net health status: Fault"),
        ("-tls -g", {"tls": 1}, {}, "tls switch[1]"),
        ("-ip -g", {"address": None}, {}, "because no ip was preset there!"),
        ("-gateway -g", {"address": None}, {}, "because no gateway was preset there!"),
        ("-ip -g", {}, {"hccn_error": "failed"}, "Cmd executed failed"),
        ("-ip -g", {"missing": True}, {}, "The device is not exist!"),
        ("-vnic -g", {}, {}, "not supported on this product"),
    ],
)
def test_a_card_that_is_not(
    change: Change, words: str, card: dict[str, Any], host: dict[str, Any], printed: str
) -> None:
    change("a2-64g", card, **host)
    assert printed in tool(words)[0]


@pytest.mark.parametrize(
    ("card", "host"),
    [
        ({"link": "DOWN"}, {}),
        ({}, {"unreachable": ["10.214.12.100"]}),
        ({"address": "10.9.9.9"}, {}),
    ],
)
def test_a_ping_without_an_answer_loses_every_packet(
    change: Change, card: dict[str, Any], host: dict[str, Any]
) -> None:
    change("a2-64g", card, **host)
    printed = tool("-ping -g address 10.214.12.100")[0]
    assert "recv time out seq=0\n" in printed
    assert "3 packets transmitted, 0 received, 100.00% packet loss\n" in printed


def test_cards_of_a_super_pod_reach_each_other_though_every_link_is_down(change: Change) -> None:
    change("a3", {"link": "DOWN", "net_health": "Init"})
    assert tool("-link -g")[0] == "link status: DOWN\n"
    assert tool("-vnic -g")[0].splitlines() == [
        "vnic link status: UP",
        "vnic ipaddr: 10.215.11.102",
        "vnic netmask: 255.255.0.0",
    ]
    printed = tool("-hccs_ping -g address 10.215.12.100")[0]
    assert printed.count("This pkt ping success!") == 3
    assert "3 packets transmitted, 3 received, 0.00% packets loss" in printed
    change("a3", unreachable=["10.215.12.100"])
    assert "ping success" not in tool("-hccs_ping -g address 10.215.12.100")[0]


def test_the_super_pod_of_a_device(change: Change) -> None:
    change("a3", super_pod_id=3, server_index=9)
    rows = [
        line.split(":")
        for line in npu_smi.run(["info", "-t", "spod-info", "-i", "1", "-c", "1"])[0].split("\n")
    ]
    found = {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}
    assert found == {
        "SDID": str((9 << 22) + (1 << 18) + (1 << 16) + 3),
        "Super Pod Size": "384",
        "Super Pod ID": "3",
        "Server Index": "9",
    }
    change("a2-64g")
    assert npu_smi.run(["info", "-t", "spod-info", "-i", "1", "-c", "0"])[0] == (
        "This device does not support querying spod-info.\n"
    )


def test_hccn_conf_has_the_addresses_that_are_set(change: Change) -> None:
    change("a2-64g", {"address": None})
    lines = hccn_tool.conf(ascend_sim.load_state()).splitlines()
    assert lines[:4] == [
        "address_0=10.214.11.100",
        "netmask_0=255.255.0.0",
        "netdetect_0=10.214.0.1",
        "gateway_0=10.214.0.1",
    ]
    assert not [line for line in lines if "_2=" in line]
    assert len(lines) == 7 * 4
