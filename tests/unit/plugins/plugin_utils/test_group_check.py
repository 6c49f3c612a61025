# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each host of a service is asked in turn, and what its leader makes of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils.group_check import GroupCheck, held
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

from ._host.facts import card, facts
from ._host.test_across import device

HOSTS = ["h1", "h2"]
PORT = 18000 + 64 * 4
REQUESTS = [{"model": "a"}, {"model": "b", "env": {"HCCL_LOGIC_SUPERPOD_ID": 7}}]
SETTINGS = Settings({"vllm_service_instances": REQUESTS}.get)


def deployment(rank: int, address: str = "", **changed: Any) -> dict[str, Any]:
    cluster = {"leader": "h1", "rank": rank, "hosts": HOSTS}
    service = {"name": "big", "cards": [4, 5], "engine": "native", "state": "started"}
    service = {**service, "path": "/m", "cluster": cluster, **changed}
    address = address or f"192.0.2.{rank + 1}"
    return {
        "services": [{"name": "alone", "cards": [0], "state": "started"}, service],
        "origins": [0, 1],
        "group_address": {"address": address, "interface": "eth0", "port_base": 18000},
        # Physical ids are others than logic ids.
        "host": facts([card(number, (number + 4) % 8) for number in range(8)]),
    }


class Run:
    """A run of the three steps over both hosts, with what the module answers on each."""

    def __init__(self, known: Mapping[str, Any], **variables: Any) -> None:
        settings = Settings({"vllm_service_instances": REQUESTS, **variables}.get)
        self.checks = {host: GroupCheck(host, settings, known.get) for host in HOSTS}
        self.read = {
            host: check.reading(self.answer(host), 100.0, 103.0)
            for host, check in self.checks.items()
        }
        self.asked = {host: check.to_reach(self.read.get) for host, check in self.checks.items()}
        self.reached = {
            host: asked.results(
                {
                    "connections": ["open"] * len(asked.connections),
                    "pings": [{**each, "sent": 3, "received": 3, "problem": ""} for each in pings],
                }
            )
            for host, asked in self.asked.items()
            for pings in [asked.arguments["pings"]]
        }

    def answer(self, host: str) -> dict[str, Any]:
        number = HOSTS.index(host) + 1
        return {
            "clock": {"began": 101.0, "ended": 102.0},
            "weights": {"/m": {"config.json": "2 bytes"}},
            "taken": [],
            "searched": "",
            "devices": {str(each): device(each, number) for each in (0, 1)},
            "listener": {"token": f"of {host}", "ports": {str(PORT): ""}, "free_port": 40000},
        }

    def reports(self, host: str = "h1") -> dict[str, dict[str, Any]]:
        return self.checks[host].reports(self.read.get, self.reached.get)


def both(**changed: Any) -> dict[str, Any]:
    return {"h1": deployment(0), "h2": deployment(1, **changed)}


def test_a_host_is_asked_for_what_its_services_over_several_hosts_need() -> None:
    asked = Run(both()).checks["h1"].to_read(batches=3)
    assert asked["weights"] == ["/m"]
    assert asked["ports"] == [PORT, PORT + 1], "a leader listens at both"
    assert [each["device"] for each in asked["devices"]] == [0, 1], "physical ids"
    assert asked["listen"] == {
        "address": "192.0.2.1",
        "ports": {str(PORT): ["192.0.2.2"]},
        "seconds": 360.0,
    }
    assert Run(both()).checks["h2"].to_read(batches=1)["ports"] == []


def test_a_host_connects_to_the_others_and_knows_who_has_to_answer() -> None:
    run = Run(both())
    assert run.asked["h2"].arguments["connect"] == [
        {"address": "192.0.2.1", "port": 40000, "token": "of h1"},
        {"address": "192.0.2.1", "port": PORT, "token": "of h1"},
    ]
    assert run.asked["h2"].arguments["source"] == "192.0.2.2"
    run.read["h1"]["listener"]["ports"] = {str(PORT): "taken"}
    again = run.checks["h2"].to_reach(run.read.get).arguments["connect"]
    assert [each["token"] for each in again] == ["of h1", ""], "the guard itself may listen"


def test_ports_of_services_that_run_here_are_free_for_another_one() -> None:
    """A service that gets another name has the ports of the one that it replaces."""
    known = both()
    known["h1"]["host"]["services"] = [{"unit": "vllm@old.service"}]
    run = Run(known)
    entry = {"port": PORT, "pid": 7, "command": "python3"}
    taken = [{**entry, "unit": unit} for unit in ("vllm@old.service", "vllm@other.service", None)]
    again = run.checks["h1"].reading({**run.answer("h1"), "taken": taken}, 100.0, 103.0)
    assert again["services"]["big"]["taken"] == taken[1:]


def test_the_leader_alone_reports_and_nothing_is_wrong_with_equal_hosts() -> None:
    run = Run(both())
    assert run.reports("h2") == {}
    report = run.reports()["big"]
    assert report["report"] == "Preflight of service big over h1, h2: nothing is wrong."
    assert held(run.reports()) == {}


def test_an_error_holds_the_service_with_its_reason_and_a_warning_does_not() -> None:
    run = Run(both())
    run.read["h2"]["versions"]["driver"] = "24.1"
    run.read["h2"]["clock"] = [900.0, 901.0]
    reports = run.reports()
    assert (reports["big"]["errors"], reports["big"]["warnings"]) == (1, 1)
    assert held(reports)["big"].startswith(
        "cluster_versions, service big: its hosts have different"
    )
    run = Run(both(), ascend_host_checks={"cluster_versions": "ignore"})
    run.read["h2"]["versions"]["driver"] = "24.1"
    assert held(run.reports()) == {}


def test_hosts_whose_variables_do_not_agree_are_in_the_report_too() -> None:
    run = Run(both(address="192.0.2.1"))
    assert run.asked["h1"].arguments["connect"] == []
    assert "both have the address 192.0.2.1" in held(run.reports())["big"]


def test_a_host_still_listens_where_another_did_not_get_through() -> None:
    run = Run(both())
    check = run.checks["h1"]
    assert not check.is_still_listening(run.read.get, run.reached.get)
    run.reached["h2"]["connections"][0]["result"] = "silent"
    assert check.is_still_listening(run.read.get, run.reached.get)
    del run.reached["h2"]
    assert check.is_still_listening(run.read.get, run.reached.get)


def test_nothing_is_asked_for_a_service_that_is_stopped_or_has_lost_a_host() -> None:
    stopped = {"h1": deployment(0, state="stopped"), "h2": deployment(1, state="stopped")}
    for known in (stopped, {"h1": deployment(0)}):
        assert "listen" not in GroupCheck("h1", SETTINGS, known.get).to_read(1)


def test_the_logic_super_pod_is_that_of_the_service_on_this_host() -> None:
    assert Run(both()).read["h1"]["services"]["big"]["logic_pod"] == "7"
