# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a difference, by what three modules have read of a host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift, drift_report

from .readings import Readings, card, found, seen, served


def test_a_host_that_is_as_wanted(host: Readings) -> None:
    comparison = host.compare()
    assert comparison.ok and comparison.state == "ok"
    assert found(comparison) == {} and comparison.notes == []
    assert drift_report.lines([drift_report.as_dict(comparison)]) == [
        "npu-01: 2 services, as wanted",
        "  RESULT   SERVICE                  CARDS   PORT   LENGTH  STATE",
        "  ok       chat                     0-1     8000    32768  ready",
        "  ok       spare                    2       8001     8192  stopped",
        "Hosts: 1 ok; services: 2 ok.",
    ]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (
            {"files": ["/etc/vllm/chat.yaml"]},
            "files",
            "not what deploy writes: /etc/vllm/chat.yaml",
        ),
        ({"action": "restart", "reason": "its process runs with other settings"}, "process", ""),
        ({"action": "start", "reason": "it was not running"}, "unit", "should run and does not"),
        ({"action": "stop", "reason": "it is to be stopped"}, "unit", "it runs"),
        ({"boot": "enable"}, "boot", "would not start at boot"),
        ({"boot": "disable"}, "boot", "would start at boot"),
    ],
)
def test_what_deploy_would_change_is_a_difference(
    host: Readings, change: dict[str, Any], code: str, words: str
) -> None:
    host.converged["services"][0].update(change)
    comparison = host.compare()
    assert not comparison.ok and comparison.state == "differs"
    assert found(comparison) == {"chat": [code]}
    assert words in comparison.services[0].findings[0].message
    assert comparison.services[0].findings[0].advice == drift.DEPLOY


def test_every_name_has_to_be_served_with_its_length(host: Readings) -> None:
    host.chat["http"] = served(("Qwen3-14B", 16384), ("other", 32768))
    comparison = host.compare()
    assert found(comparison) == {"chat": ["names", "length"]}
    assert [each.message for each in comparison.services[0].findings] == [
        "/v1/models does not list chat.",
        "it serves max_model_len 16384, and 32768 is wanted.",
    ]
    assert comparison.services[0].findings[0].advice == "Restart it: systemctl restart vllm@chat"


def test_an_answer_that_refuses_is_a_difference(host: Readings) -> None:
    host.chat["http"] = {"health": 200, "models": [], "error": "/v1/models answers 401"}
    assert found(host.compare()) == {"chat": ["http"]}


@pytest.mark.parametrize(
    ("cards", "words"), [([0, 7], "card 0, 7, and should see 0-1"), (None, "sees every card")]
)
def test_a_process_with_other_cards(host: Readings, cards: list[int] | None, words: str) -> None:
    host.chat["visible_cards"] = cards
    comparison = host.compare()
    assert found(comparison) == {"chat": ["cards"]}
    assert words in comparison.services[0].findings[0].message


def test_a_service_that_loads_is_neither_right_nor_wrong(host: Readings) -> None:
    loading = seen("chat", "starting", [0, 1], phase="weights", percent=25, elapsed=93.2)
    host.status["services"][0] = loading
    comparison = host.compare()
    assert (comparison.state, comparison.ok, found(comparison)) == ("loading", False, {})
    assert "           loading: weights 25 % for 93 s" in drift_report.lines(
        [drift_report.as_dict(comparison)]
    )
    assert host.compare(accept_loading=True).ok


def test_a_service_that_loads_and_will_fail_says_so(host: Readings) -> None:
    cause = {"cause": "the KV cache is too small.", "advice": "Set a shorter length."}
    host.status["services"][0] = seen("chat", "starting", [0, 1], cause=cause)
    comparison = host.compare(accept_loading=True)
    assert not comparison.ok
    assert comparison.services[0].findings[0].message.endswith("the KV cache is too small.")
    assert comparison.services[0].findings[0].advice == "Set a shorter length."


@pytest.mark.parametrize("state", ["failed", "restarting", "unhealthy"])
def test_a_service_that_is_down_says_why_and_once(host: Readings, state: str) -> None:
    if state == "failed":
        host.converged["services"][0].update(action="start", reason="it had failed")
    cause = {"cause": "no memory is left.", "advice": "Free it."}
    host.status["services"][0] = seen("chat", state, None if state == "failed" else [0, 1])
    host.chat["cause"] = cause
    comparison = host.compare()
    assert found(comparison) == {"chat": ["service"]}
    assert "no memory is left." in comparison.services[0].findings[0].message


def test_a_stranger_on_a_card_is_the_hosts_finding(host: Readings) -> None:
    host.facts["npu"]["cards"][1]["processes"].append(
        {"pid": 99, "name": "python", "command": "python3 train.py", "unit": "train.service"}
    )
    host.facts["npu"]["cards"][3]["processes"] = [
        {"pid": 98, "name": "x", "command": None, "unit": None}
    ]
    comparison = host.compare()
    assert found(comparison) == {"": ["tenant", "tenant"]}
    first, second = comparison.findings
    assert "the card of service chat, is in use by PID 99 python3 train.py" in first.message
    assert "systemctl stop train.service" in first.advice
    assert "a card of no service" in second.message and "kill 98" in second.advice
    assert found(host.compare(excluded=[3])) == {"": ["tenant"]}


def test_a_hand_made_unit_is_a_stranger(host: Readings) -> None:
    host.facts["npu"]["cards"][3] = card(3, (77, "vllm@hand.service"))
    assert found(host.compare()) == {"": ["tenant"]}


def test_a_service_on_the_card_of_another(host: Readings) -> None:
    host.facts["npu"]["cards"][2] = card(2, (9, "vllm@chat.service"))
    comparison = host.compare()
    assert found(comparison) == {"chat": ["cards"]}
    assert "card 2, which is not one of its cards" in comparison.services[0].findings[0].message


def test_who_answers_without_its_cards_is_noticed(host: Readings) -> None:
    host.facts["npu"]["cards"][1]["processes"] = []
    comparison = host.compare()
    assert found(comparison) == {"chat": ["cards"]}
    assert "no process of it on card 1" in comparison.services[0].findings[0].message


def test_a_process_table_that_is_not_shown_is_a_note_and_no_fault(host: Readings) -> None:
    for each in host.facts["npu"]["cards"]:
        each["processes"] = []
    comparison = host.compare()
    assert comparison.ok
    assert comparison.notes == [
        "npu-smi does not show whose processes are on the cards; that was not compared."
    ]


def test_an_instance_that_is_not_listed(host: Readings) -> None:
    host.converged["removed"] = ["old"]
    host.status["services"].append(seen("old", "ready", [3]))
    host.facts["npu"]["cards"][3] = card(3, (70, "vllm@old.service"))
    host.facts["services"].append({"unit": "vllm@old.service", "pids": [70], "cards": [3]})
    comparison = host.compare()
    assert found(comparison) == {"old": ["unlisted"]}, "its process is no stranger besides"
    assert "on card 3" in comparison.services[2].findings[0].message


def test_what_deploy_refuses_is_compared_all_the_same(host: Readings) -> None:
    text = "vllm@chat.service is masked: somebody has switched it off."
    host.converged["refused"] = [{"name": "chat", "message": text}]
    host.converged["services"][0].update(action="start", boot="enable")
    host.status["services"][0] = seen("chat", "stopped", None)
    comparison = host.compare(problem=text)
    assert comparison.state == "differs"
    assert found(comparison) == {"chat": ["refused", "unit"]}
    assert [each.advice for each in comparison.services[0].findings] == ["", "Then run deploy."]


def test_shared_files_account_and_a_missing_reload_are_the_hosts(host: Readings) -> None:
    host.converged["account"] = True
    host.converged["files"] = ["/etc/systemd/system/vllm@.service"]
    assert found(host.compare()) == {"": ["files", "account"]}
    host.converged.update(account=False, files=[], reloaded=True)
    assert found(host.compare()) == {"": ["reload"]}


def test_a_drop_in_of_somebody_elses_is_a_note(host: Readings) -> None:
    host.converged["services"][0]["other_files"] = [
        "/etc/systemd/system/vllm@chat.service.d/z.conf"
    ]
    comparison = host.compare()
    assert comparison.ok
    assert "z.conf, which this collection did not write" in comparison.notes[0]


def test_what_preflight_says_counts_but_for_processes(host: Readings) -> None:
    def finding(severity: str, code: str) -> dict[str, str]:
        return {
            "severity": severity,
            "code": code,
            "subject": "card 0",
            "message": "health Alarm",
            "advice": "See to it.",
        }

    every = [
        finding("error", "driver"),
        finding("warning", "health"),
        finding("error", "processes"),
    ]
    comparison = host.compare(preflight={"findings": every})
    assert found(comparison) == {"": ["preflight_driver"]}
    assert comparison.notes == ["card 0: health Alarm"]


def test_a_host_that_could_not_be_compared_shows_what_is_there(host: Readings) -> None:
    comparison = drift.compare(
        "npu-01", [], status=host.status, facts=host.facts, problem="service a finds no card."
    )
    assert (comparison.state, comparison.ok) == ("failed", False)
    assert [service.result for service in comparison.services] == ["unknown", "unknown"]
    assert found(comparison) == {"": ["compare"]}, "services of ours are no strangers"


def test_a_host_that_was_lost_on_the_way_is_unreachable(host: Readings) -> None:
    host.status = {"unreachable": True, "msg": "Failed to connect to the host via ssh"}
    comparison = host.compare()
    assert (comparison.state, comparison.ok) == ("unreachable", False)
    assert "Failed to connect" in comparison.findings[0].message


@pytest.mark.parametrize(
    "text",
    [
        "Task failed: Finalization of task args for 'ansible.builtin.set_fact' failed: Error while"
        " resolving value for 'x': The filter plugin 'inferops.ascend.place' failed: card 5 is gone",
        "An unhandled exception occurred while running the lookup plugin 'inferops.ascend.model'."
        " Error was a <class 'x'>, original message: card 5 is gone",
        "Task failed: card 5 is gone",
        "card 5 is gone",
    ],
)
def test_ansibles_wrapping_is_taken_off(text: str) -> None:
    assert drift.reason(text) == "card 5 is gone"


def test_a_service_of_which_nothing_was_read_is_no_right_one(host: Readings) -> None:
    host.status["services"] = host.status["services"][1:]
    host.converged["services"] = host.converged["services"][1:]
    comparison = host.compare()
    assert (comparison.state, comparison.ok) == ("failed", False)
    assert comparison.services[0].result == "unknown"
