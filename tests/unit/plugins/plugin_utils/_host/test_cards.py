# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the cards of a host."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import (
    matching_profiles,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    ExistingPlacement,
)

from .facts import card, checked, codes, errors, facts, only, problems, process, report, with_card


def test_nothing_is_wrong_with_a_good_host() -> None:
    found = checked(facts(), "Qwen3-14B", "Qwen2.5-72B")
    assert found.findings == []
    assert found.unavailable == {}
    assert [c["logic_id"] for c in found.cards] == list(range(8))
    assert report(found, host="alpha") == "Preflight of alpha: nothing is wrong."


def test_an_ill_card_is_left_out_and_refused_to_who_asks_for_it() -> None:
    host = with_card(0, health="Alarm")
    found = checked(host, "Qwen3-14B")
    assert only(found).message.startswith("health Alarm (accepted: OK)")
    assert found.unavailable == {0: "health Alarm"}
    found = checked(host, {"model": "Qwen3-14B", "cards": [0]})
    assert codes(found) == [("error", "placement"), ("warning", "health")]
    assert "card 0, which is not available: health Alarm" in errors(found)[0].message
    found = checked(with_card(0, health="Warning"), accepted_health=["OK", "Warning"])
    assert found.findings == []
    found = checked(host, excluded=[0])
    assert found.findings == [], "who excluded it knows"


def test_a_card_that_others_hold_is_named_with_pid_command_and_unit() -> None:
    foreign = process(4711, 40000, "train.service", "python3 train.py")
    found = checked(with_card(3, processes=[foreign], memory_used_mb=43465))
    assert only(found).message == (
        "in use by PID 4711 python3 train.py (unit train.service); no service gets this card."
    )
    assert "systemctl stop train.service" in only(found).advice
    nobody = process(4711, 10, None, "")
    found = checked(with_card(3, processes=[nobody]))
    assert found.unavailable == {3: "in use by PID 4711 python3 (in no systemd unit)"}


def test_our_own_services_hold_no_card_of_ours() -> None:
    mine = process(99, 59311, "vllm@chat.service")
    host = with_card(0, processes=[mine], memory_used_mb=62776)
    ours = {"unit": "vllm@chat.service", "pids": [98, 99], "cards": [0], "hccl_base_port": 61000}
    stands = {"name": "chat", "cards": [0], "port": 8000}
    running = {**host, "services": [ours], "standing": [stands]}
    request = {"model": "Qwen3-14B", "name": "chat", "cards": [0]}
    assert checked(running, request).findings == []
    assert checked(running).existing == {"chat": ExistingPlacement((0,), 8000, True)}
    # The same unit without our mark is somebody else's.
    assert codes(checked(host, request)) == [("error", "placement"), ("warning", "processes")]


def test_our_service_in_a_container_that_shows_no_process() -> None:
    ours = {"unit": "vllm@chat.service", "pids": [98], "cards": [0], "hccl_base_port": 61000}
    host = {**with_card(0, memory_used_mb=62776), "services": [ours]}
    assert checked(host, {"model": "Qwen3-14B", "name": "chat"}).findings == []


def test_memory_without_a_process_makes_a_card_not_free() -> None:
    host = with_card(0, memory_used_mb=20687)
    found = checked(host, "Qwen3-14B")
    assert only(found).message == (
        "44849 of 65536 MB are free, gpu_memory_utilization 0.95 takes 59312 MB; npu-smi shows no"
        " process that uses the rest. No service gets this card."
    )
    assert list(found.unavailable) == [0]
    assert checked(host).findings == [], "no service, no need of memory"
    stopped = {"model": "Qwen3-14B", "state": "stopped"}
    assert checked(host, stopped).findings == [], "what does not run takes no memory"


def test_an_idle_card_is_free_at_the_utilization_of_the_table() -> None:
    """By what the framework sees of it: of the printed total, 0.95 would not be free."""
    assert 65536 - 3465 < 0.95 * 65536
    assert checked(facts(), "Qwen3-14B").findings == []
    # Also where the profile is not declared, or is that of another host.
    assert codes(checked(facts(), "Qwen3-14B", kind=None)) == [("warning", "profile")]
    assert 32768 - 2833 < 0.95 * 32768
    small = {"name": "910B4", "memory_total_mb": 32768, "memory_used_mb": 2833}
    found = checked(facts([card(n, **small) for n in range(8)]), "Qwen3-14B")
    assert [each.code for each in found.findings] == ["card_memory", "chip", "model"]


def test_ids_that_are_not_known() -> None:
    problem = {"code": "mapping_missing", "message": "no logic id.", "advice": "Look."}
    host = facts([card(n) if n else card(None, None, npu_id=0) for n in range(8)])
    host["npu"]["problems"] = [problem]
    found = checked(host, "Qwen3-14B")
    assert codes(found) == [("warning", "ids")]
    assert [c["logic_id"] for c in found.cards] == list(range(1, 8))
    host = facts([card(None, None, npu_id=n) for n in range(8)])
    host["npu"]["problems"] = [{**problem, "code": "mapping_failed"}]
    assert codes(checked(host))[0] == ("error", "ids")
    found = checked(facts([card(n, None if n == 3 else n) for n in range(8)]))
    assert found.unavailable == {3: "its physical id is not known"}
    found = checked(with_card(3, device=None))
    assert found.unavailable == {3: "it has no /dev/davinci3"}


def test_a_host_that_does_not_answer_is_judged_for_the_rest_all_the_same() -> None:
    host = facts([])
    host["npu"]["problems"] = [
        {"code": "dcmi_8005", "message": "cannot talk to the driver.", "advice": "Reboot."}
    ]
    host["driver"]["install_status"] = None
    host["files"] = {}
    found = checked(host, "Qwen3-14B")
    assert [each.code for each in found.findings] == ["npu_smi", "driver", "cann", "engine"]
    assert len(errors(found)) == 4


def test_a_host_that_is_not_what_was_declared() -> None:
    small = [card(n, name="910B4", memory_total_mb=32768) for n in range(8)]
    found = checked(facts(small), "Qwen3-14B")
    assert [each.code for each in found.findings][:3] == ["card_memory", "chip", "model"]
    assert "Set ascend_host_profile to what the host is; the cards fit atlas-800i-a2-32g." in (
        errors(found)[0].advice
    )
    found = checked(facts([card(n) for n in range(7)]))
    assert codes(found) == [("error", "count")]
    assert "shows 7 cards, the profile has 8" in errors(found)[0].message
    found = checked(facts([card(n) for n in range(7)]), excluded=[7])
    assert codes(found) == [("warning", "excluded")], "a dead card that was excluded is no error"
    found = checked(facts(), kind=None)
    assert "the cards fit atlas-800i-a2-64g or atlas-800t-a2-64g" in only(found).advice


def test_a_first_generation_chip_is_an_error() -> None:
    """vllm-ascend issues 8 and 3010: npu-smi prints 910B, and only 910B with a digit is an A2."""
    found = checked(facts([card(n, name="910B") for n in range(8)]))
    assert codes(found) == [("error", "chip")]
    assert "the chip is 910B, a first-generation Ascend 910" in errors(found)[0].message


@pytest.mark.parametrize(
    ("name", "total", "count", "fit"),
    [
        ("910B4-1", 65536, 8, ["atlas-800i-a2-64g", "atlas-800t-a2-64g"]),
        ("910B4", 32768, 8, ["atlas-800i-a2-32g"]),
        ("Ascend910", 65536, 16, ["atlas-800i-a3", "atlas-800t-a3"]),
        ("310P3", 44278, 8, ["atlas-300i-duo-96g"]),
        ("310P3", 21527, 2, ["atlas-300i-duo-48g"]),
        ("910B4", 65536, 8, []),
    ],
)
def test_cards_tell_their_profile(name: str, total: int, count: int, fit: list[str]) -> None:
    cards = [card(n, name=name, memory_total_mb=total) for n in range(count)]
    assert [each.name for each in matching_profiles(cards)] == fit


def test_an_npu_id_among_the_excluded_cards() -> None:
    cards = [card(n, npu_id=24 + n) for n in range(8)]
    found = checked(facts(cards), excluded=[26])
    assert only(found).message.endswith("logic ids 0-7. NPU 26 has the logic id 2.")
    found = checked(facts(cards), excluded=[24])
    assert only(found).message.endswith("logic ids 0-7. NPU 24 has the logic id 0.")
    found = checked(facts([card(None, None, npu_id=24), *cards[1:]]), excluded=[24])
    said = {each.code: each.message for each in found.findings}
    assert said["excluded"].endswith("this host has the logic ids 1-7.")


def test_a_host_without_a_card_to_place_on_cannot_be_let_through() -> None:
    """Else its services would be given cards that nobody has seen."""
    lenient = {"npu_smi": "ignore", "ids": "warning", "placement": "warning"}
    silent = problems(facts([]), "dcmi_8005")
    assert codes(checked(silent, "Qwen3-14B", checks=lenient)) == [("error", "npu_smi")]
    assert checked(silent, checks=lenient).findings == [], "nothing is requested of it"
    nameless = problems(facts([card(None, None, npu_id=n) for n in range(8)]), "mapping_failed")
    found = checked(nameless, "Qwen3-14B", {"model": "Qwen3-8B", "cards": [3]}, checks=lenient)
    assert codes(found) == [("error", "ids")], "that there is no card for them goes without saying"
