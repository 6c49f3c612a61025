# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hccn_tool prints, read as data; the tool is the simulated one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ascend_sim
import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import card_network

SIMULATOR = Path(ascend_sim.__file__).parent
PROFILES = json.loads((SIMULATOR / "profiles.json").read_text())
# The simulated programs want root and a driver; here they are given both.
PROGRAM = """#!{python}
import os, sys
sys.path[:0] = [{code!r}]
import ascend_sim, {name}
ascend_sim.may_use_driver = lambda: True
os.geteuid = lambda: 0
sys.exit({name}.main())
"""
DEVICES = [{"device": number, "npu_id": number // 2, "chip_id": number % 2} for number in (2, 3)]
Make = Callable[..., card_network.Tool]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make the tools of a profile's host with fields of card 2 or of the host changed."""
    monkeypatch.setenv("ASCEND_SIM_STATE", str(tmp_path / "state.json"))
    monkeypatch.setenv("ASCEND_SIM_CLAIMS", str(tmp_path))
    tools = tmp_path / "usr/local/Ascend/driver/tools"
    tools.mkdir(parents=True)
    for path in (tools / "hccn_tool", tmp_path / "npu_smi"):
        text = PROGRAM.format(python=sys.executable, code=str(SIMULATOR), name=path.name)
        path.write_text(text)
        path.chmod(0o755)

    def tool(
        profile: str, card: dict[str, Any] | None = None, seconds: float = 60, **host: Any
    ) -> card_network.Tool:
        state = ascend_sim.profile_state(PROFILES, profile, 11)
        state["cards"][2].update(card or {})
        ascend_sim.write_state({**state, **host})
        found, searched = card_network.tool_of(tmp_path, str(tmp_path / "npu_smi"), seconds)
        assert found is not None, searched
        return found

    return tool


def test_an_a2_tells_link_health_address_and_tls(make: Make) -> None:
    found = card_network.read_network(make("a2-64g", {"link": "DOWN", "tls": 1}), DEVICES)
    assert found["2"] == {
        "link": "DOWN",
        "net_health": "Success",
        "address": "10.214.11.102",
        "tls": "1",
        "vnic": None,
        "super_pod": None,
        "problem": "",
    }
    assert (found["3"]["link"], found["3"]["tls"]) == ("UP", "0")


def test_an_a3_tells_its_super_pod_too(make: Make) -> None:
    found = card_network.read_network(make("a3", {"net_health": "Receive timeout"}), DEVICES)["2"]
    assert (found["vnic"], found["super_pod"]) == ("10.215.11.102", "0")
    assert found["net_health"] == "Receive timeout"


def test_a_card_without_an_address_is_no_fault_of_the_tool(make: Make) -> None:
    found = card_network.read_network(make("a2-64g", {"address": None}), DEVICES)["2"]
    assert (found["address"], found["problem"]) == (None, "")


def test_a_tool_that_fails_is_quoted_and_one_that_hangs_ends_in_time(make: Make) -> None:
    found = card_network.read_network(make("a2-64g", hccn_error="failed"), DEVICES)
    assert found["2"]["problem"].endswith("prints: Cmd executed failed")
    found = card_network.read_network(make("a2-64g", hccn_error="hang", seconds=0.5), DEVICES)
    assert "hccn_tool -i 2 -link -g did not end within" in found["2"]["problem"]


@pytest.mark.parametrize(
    ("profile", "kind", "good", "away"),
    [
        ("a2-64g", "ping", "10.214.12.100", "10.214.13.100"),
        ("a3", "hccs_ping", "10.215.12.100", "10.215.13.100"),
    ],
)
def test_pings_are_counted(make: Make, profile: str, kind: str, good: str, away: str) -> None:
    pings = [{"device": 2, "kind": kind, "address": address} for address in (good, away)]
    pings.append({"device": 3, "kind": kind, "address": good})
    found = card_network.ping(make(profile, unreachable=[away]), pings)
    assert [(each["device"], each["address"], each["received"]) for each in found] == [
        (2, good, 3),
        (2, away, 0),
        (3, good, 3),
    ]
    assert {each["sent"] for each in found} == {3}


def test_a_host_without_the_tool_names_where_it_was_searched_for(tmp_path: Path) -> None:
    found, searched = card_network.find_tool(tmp_path, "/nowhere")
    assert found is None
    assert searched == f"{tmp_path}/usr/local/Ascend/driver/tools/hccn_tool, /nowhere/hccn_tool"
