# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of services: placement, memory, ports, weights."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.host_cards import HostCards
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.ports import PortSettings
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import ServiceRequest

from .facts import (
    DUO,
    card,
    checked,
    codes,
    errors,
    facts,
    only,
    problems,
    process,
    report,
    serving,
    specs,
    with_card,
)


def test_a_utilization_that_no_card_can_give_is_said_with_the_one_that_it_can() -> None:
    cards = [card(n, memory_used_mb=9000) for n in range(8)]
    found = checked(facts(cards), "Qwen3-14B")
    assert codes(found) == [("error", "memory")]
    assert errors(found)[0].advice.endswith("set gpu_memory_utilization to 0.9 or less.")


def test_everything_that_cannot_be_placed_is_said_at_once() -> None:
    host = facts([card(n, health="OK" if n < 6 else "Alarm") for n in range(8)])
    found = checked(
        host,
        {"model": "Qwen3-14B", "name": "a", "cards": [6]},
        {"model": "Qwen3-14B", "name": "b", "cards": [7]},
        {"model": "Qwen2.5-72B", "name": "c", "cards": 8},
        {"model": "Qwen3-14B", "name": "d"},
    )
    assert [e.subject for e in errors(found)] == ["service a", "service b", "service c"]


def test_ports_that_others_have() -> None:
    taken = [
        {"port": 8000, "pid": 12, "command": "nginx", "unit": "nginx.service"},
        {"port": 61040, "pid": None, "command": None, "unit": None},
    ]
    found = checked(facts(ports=taken), {"model": "Qwen3-14B", "cards": 2}, "Qwen3-8B")
    assert [e.message for e in errors(found)] == [
        "port 8000 is taken: PID 12 nginx (unit nginx.service) listens there."
    ]
    pair = checked(facts(ports=taken), {"model": "Qwen3-14B", "cards": [1, 2], "port": 9000})
    assert "port 61040 of its HCCL ports 61032-61063 is taken" in errors(pair)[0].message
    ours = {"unit": "nginx.service", "pids": [12], "cards": [], "hccl_base_port": None}
    assert checked(facts(ports=taken[:1], services=[ours]), "Qwen3-14B").findings == []


def test_a_port_taken_by_which_a_cache_is_passed_on() -> None:
    transfer = {"kv_connector": "MooncakeLayerwiseConnector", "kv_role": "kv_producer"}
    taken = [{"port": 63000, "pid": None, "command": None, "unit": None}]
    request = {"model": "Qwen3-14B", "args": {"kv-transfer-config": transfer}}
    (finding,) = errors(checked(facts(ports=taken), request))
    assert "port 63000 of its KV transfer ports 63000-63000 is taken" in finding.message
    assert "another kv_port" in finding.advice


def test_hccl_ports_in_the_range_that_this_host_gives_away() -> None:
    found = checked(facts(ephemeral_ports=[1024, 65535]), "Qwen3-14B")
    assert "ephemeral range 1024-65535" in errors(found)[0].message
    assert checked(facts(ephemeral_ports=None), "Qwen3-14B").ephemeral_ports == [32768, 60999]


def test_disk_for_what_is_not_there() -> None:
    folder = "/var/lib/vllm/weights/Qwen/Qwen3-14B"
    host = facts(disk={"path": "/", "at": "/", "free_bytes": 10**9}, models={folder: False})
    assert codes(checked(host, "Qwen3-14B")) == [("warning", "disk")]
    host["models"][folder] = True
    assert checked(host, "Qwen3-14B").findings == []
    found = checked(facts(), "Qwen3-14B", checks={"weights": "warning"})
    assert only(found).subject == folder


def test_the_mask_of_a_310p() -> None:
    cards = [card(n, name="310P3", memory_total_mb=44278, memory_used_mb=1848) for n in range(4)]
    request = {"model": "Qwen3-0.6B", "max_model_len": "40K", "gpu_memory_utilization": 0.95}
    found = checked(facts(cards), request, kind=DUO, estimate=True)
    assert (
        "a mask of 40960 x 40960 x 2 bytes = 3200 MB on every card; beside gpu_memory_utilization"
        " 0.95 of 44278 MB only 2214 MB are left" in only(found).message
    )
    request["max_model_len"] = "16K"
    assert checked(facts(cards), request, kind=DUO, estimate=True).findings == []


def test_half_a_table_moves_no_service() -> None:
    stands = [{"name": "chat", "cards": [7], "port": 8000}]
    request = {"model": "Qwen3-14B", "name": "chat"}
    half = facts([card(n) for n in range(4)], standing=stands)
    for code in ("truncated", "elided", "card_not_shown", "mapping_truncated"):
        found = checked(problems(half, code), request, kind=None)
        assert [each.code for each in errors(found)].count("placement") == 1, code
        assert len(errors(found)) == 2, code
        assert "it is placed on card 7, which npu-smi does not show" in report(found)
    assert errors(checked(problems(facts(), "no_process_table"), request)) == []
    # A dead card that was excluded is still in the mapping.
    gone = problems(facts([card(n) for n in range(7)], standing=stands), "card_not_shown")
    assert errors(checked(gone, request, excluded=[7])) == []


@pytest.mark.parametrize("cards", [1, [3]])
def test_what_serves_on_an_ill_or_shared_card_stays_there_and_nobody_joins_it(cards: Any) -> None:
    request = {"model": "Qwen3-14B", "name": "chat", "cards": cards}
    foreign = process(4711, 700, "train.service", "python3 train.py")
    for host, said in (
        (serving(3, foreign=[foreign]), "in use by PID 4711 python3 train.py (unit train.service)"),
        (serving(3, health="Warning"), "health Warning (accepted: OK)"),
    ):
        found = checked(host, request)
        assert codes(found)[0][0] == "warning", report(found)
        assert f"{said}; service chat runs here and stays, no other gets this card." in report(
            found
        )
        assert found.existing["chat"].running
        host_cards = HostCards.parse(found.cards, unavailable=found.unavailable)
        requests = [ServiceRequest.parse(spec) for spec in specs(request, "Qwen3-8B")]
        placed = place(
            requests,
            host_cards,
            PortSettings(8000, 61000, 32, 63000, 18000, 64, None),
            found.existing,
        )
        assert [service.cards for service in placed] == [(3,), (0,)]
        other = checked(host, request, {"model": "Qwen3-8B", "cards": [3]})
        assert codes(other)[0] == ("error", "placement")


def test_a_tenant_that_leaves_too_little_for_a_new_start_is_a_warning_to_what_runs() -> None:
    foreign = process(4711, 9000, "train.service")
    found = checked(serving(3, foreign=[foreign]), {"model": "Qwen3-14B", "name": "chat"})
    assert codes(found) == [("warning", "processes"), ("warning", "memory")]
    assert "would not start again" in report(found)


def test_what_a_crashed_service_has_left_moves_it_with_a_word() -> None:
    host = serving(3, runs=False, memory_used_mb=50000)
    found = checked(host, {"model": "Qwen3-14B", "name": "chat"})
    assert only(found).message.endswith("No service gets this card, service chat was placed here.")


def test_each_service_is_judged_by_its_own_utilization() -> None:
    host = with_card(0, memory_used_mb=20000)
    small = {"model": "Qwen3-0.6B", "gpu_memory_utilization": 0.5, "cards": [0]}
    requested = (small, {"model": "Qwen3-14B", "cards": [1]})
    found = checked(host, *requested, allow_untested=True)
    assert found.findings == []
    requested = ({**small, "cards": [1]}, {"model": "Qwen3-14B", "cards": [0]})
    assert codes(checked(host, *requested, allow_untested=True)) == [("error", "memory")]


def test_memory_whose_visible_share_nobody_has_published_stops_nothing() -> None:
    cards = [card(n, name="310P3", memory_total_mb=21527, memory_used_mb=1800) for n in range(2)]
    request = {"model": "Qwen3-0.6B", "max_model_len": "4K", "gpu_memory_utilization": 0.95}
    found = checked(facts(cards), request, kind="atlas-300i-duo-48g", memory=48, estimate=True)
    assert [each for each in codes(found) if each[1] == "memory"] == [("warning", "memory")]


def test_ports_are_judged_also_where_cards_are_not_to_be_seen() -> None:
    taken = [
        {"port": port, "pid": 12, "command": "nginx", "unit": "nginx.service"}
        for port in (8000, 8003, 9000)
    ]
    host = problems(facts([], ports=taken), "dcmi_8005")
    host["standing"] = [{"name": "there", "cards": [0], "port": 8003}]
    requested = (
        {"model": "Qwen3-14B", "name": "given", "port": 9000},
        {"model": "Qwen3-14B", "name": "there"},
        {"model": "Qwen3-14B", "name": "new"},
    )
    found = checked(host, *requested)
    assert [(each.code, each.subject) for each in errors(found)] == [
        ("npu_smi", "cards"),
        ("ports", "service given"),
        ("ports", "service there"),
    ]


def test_what_does_not_fit_together_hides_nothing_of_the_others() -> None:
    taken = [{"port": 9000, "pid": 12, "command": "nginx", "unit": "nginx.service"}]
    requested = (
        {"model": "Qwen3-14B", "name": "a", "cards": [0], "port": 9000},
        {"model": "Qwen3-14B", "name": "b", "cards": [0]},
        {"model": "Qwen3-14B", "name": "c", "cards": [1], "gpu_memory_utilization": 0.98},
    )
    cards = [card(n, memory_used_mb=5500) for n in range(8)]
    found = checked(facts(cards, ports=taken), *requested)
    found = [(each.code, each.subject.split(",")[0]) for each in errors(found)]
    assert ("placement", "service b") in found
    assert ("ports", "service a") in found
    assert ("memory", "service c") in found


def test_services_that_nobody_named_are_said_not_to_be_judged() -> None:
    found = checked(facts(), asked=False)
    assert only(found).message.startswith("vllm_service_instances is not defined where")
    assert checked(facts()).findings == []
