# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked about services, and what the operator reads of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.status import (
    duration,
    module_arguments,
    not_serving,
    report,
    services_of,
    status_line,
)


def status(name: str = "chat", state: str = "starting", **given: Any) -> dict[str, Any]:
    unit = {"n_restarts": given.pop("restarts", 0), "unit_file_state": "enabled"}
    return {"name": name, "state": state, "unit": unit, "http": {}, "log": [], **given}


def cause(name: str, retry: bool = True, start: str = "current", **given: Any) -> dict[str, Any]:
    texts = {"cause": f"It is {name}.", "advice": f"Fix {name}.", "lines": [f"line of {name}"]}
    return {"id": name, "retry": retry, "start": start, "served": False, **texts, **given}


# --- what is asked -----------------------------------------------------------------------------


def test_names_specs_and_placed_services_are_asked_about_by_their_names() -> None:
    placed = {
        "name": "chat",
        "model": "Qwen3-14B",
        "port": 8000,
        "api_key": "s3cret",
        "cards": [0],
        "env": {"A": "b"},
    }
    assert services_of([{"name": "a", "port": "8000"}]) == [{"name": "a", "port": 8000}]
    spec = {"name": "Qwen2.5-VL-7B", "model": "Qwen2.5-VL-7B"}
    asked = services_of(["other", placed, spec])
    assert asked == [{"name": "other"}, {"name": "chat", "port": 8000}, {"name": "qwen2.5-vl-7b"}]


def test_services_that_are_not_to_run_are_not_waited_for() -> None:
    services = [
        {"name": "a", "state": "stopped"},
        {"name": "b", "state": "absent"},
        {"name": "c", "state": "started"},
        {"name": "d"},
    ]
    assert [each["name"] for each in services_of(services, True)] == ["c", "d"]
    assert len(services_of(services)) == 4


@pytest.mark.parametrize(
    ("services", "words"),
    [
        (None, "services is null; write a list"),
        ("chat", "services is a string; write a list"),
        ([3], "services, item 1 is a number without a name"),
        (["a", {"port": 1}], "services, item 2 is a mapping without a name"),
        (["a", {"name": "a"}], "service a is listed twice"),
        (["../chat"], "service name '../chat' cannot name a systemd unit"),
        ([{"name": "a b"}], "service name 'a b' cannot name a systemd unit"),
        ([""], "service name '' cannot name a systemd unit"),
        ([{"name": "chat", "port": "x"}], "service chat: 'x' is not a valid port"),
    ],
)
def test_what_cannot_be_asked_about_is_named(services: Any, words: str) -> None:
    with pytest.raises(AscendError, match=words):
        services_of(services)


def test_what_an_operator_typed_is_named_by_its_variable() -> None:
    for typed in ({"a": 1}, '{"a": 1}'):
        with pytest.raises(AscendError, match="vllm_diagnose_services, item 1 is a mapping"):
            module_arguments({"services": typed})


# --- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (200, "3 min 20 s"),
     (3600, "1 h"), (3900, "1 h 5 min"), (7265, "2 h 1 min")],
)  # fmt: skip
def test_a_duration_reads_as_people_say_it(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_line_has_phase_count_time_and_try() -> None:
    loading = status(phase="weights", percent=25, done=1, total=4, elapsed=90.0, restarts=1)
    assert status_line(loading) == ("chat: loading weights 1/4 (25 %), for 1 min 30 s, restart 1")
    assert status_line(status(state="ready", elapsed=5000, restarts=2)) == (
        "chat: ready, up 1 h 23 min"
    )
    assert status_line(status(state="failed", elapsed=8)) == "chat: failed, after 8 s"
    odd = status(state="ready", elapsed=3, http={"error": "/v1/models answers 401"})
    assert status_line(odd) == "chat: ready, up 3 s, but /v1/models answers 401"
    unhealthy = status(state="unhealthy", http={"error": "/health answers 503"})
    assert status_line(unhealthy) == "chat: unhealthy, /health answers 503"


WAITS = "waiting for rank 1 (npu-02, 10.0.0.2) since 2026-11-29 18:38:01 +0000"


def waiting(text: str = WAITS, **given: Any) -> dict[str, Any]:
    group = {"rank": 0, "members": [], "port": 20000, "digest": "d", "status": text, "missing": [1]}
    return status(elapsed=20.0, group=group, **given)


def test_a_member_that_waits_says_for_whom_and_since_when() -> None:
    assert status_line(waiting()) == f"chat: {WAITS}"
    group = {"status": "running since 2026-11-29 18:38:01 +0000", "missing": []}
    member = status(state="ready", elapsed=90.0, group=group, headless=True)
    assert status_line(member) == "chat: ready, up 1 min 30 s"
    loading = status(phase="weights", percent=25, done=1, total=4, group=group, elapsed=5.0)
    assert status_line(loading) == "chat: loading weights 1/4 (25 %), for 5 s"


def test_why_a_member_waits_is_no_suspicion_of_its_journal() -> None:
    lines = report([waiting(cause=cause("other-settings"))])
    assert lines[:2] == [f"chat: {WAITS}", "    It is other-settings."]


def test_a_unit_that_is_masked_is_named_so() -> None:
    masked = {**status(state="stopped"), "unit": {"load_state": "masked"}}
    assert status_line(masked) == "chat: masked: somebody has switched it off on this host"


def test_a_report_has_cause_advice_and_evidence_or_the_last_lines() -> None:
    lines = report(
        [
            status(state="ready"),
            status("bad", "failed", cause=cause("oom")),
            status("odd", "restarting", log=[f"line {n}" for n in range(9)]),
            status("slow", cause=cause("hccl")),
            status("again", cause=cause("port", start="previous")),
            status("off", "stopped", problems=["the journal was not read: x"]),
        ],
        ["systemd does not tell of the units: y"],
    )
    assert lines == [
        "chat: ready",
        "bad: failed",
        "    It is oom.",
        "    What to do: Fix oom.",
        "    | line of oom",
        "odd: restarting",
        *[f"    | line {n}" for n in range(4, 9)],
        "slow: starting",
        "    It is still starting; its journal has:",
        "    It is hccl.",
        "    What to do: Fix hccl.",
        "    | line of hccl",
        "again: starting",
        "    The start before: It is port.",
        "    What to do: Fix port.",
        "    | line of port",
        "off: stopped, though it is enabled: somebody stopped it, or it was never started",
        "    Note: the journal was not read: x",
        "Note: systemd does not tell of the units: y",
    ]


def test_a_service_that_is_meant_to_be_stopped_is_not_missed() -> None:
    off = status("off", "stopped")
    meant = {**off, "name": "meant", "unit": {"unit_file_state": "disabled"}}
    services = [status(state="ready"), off, meant, status("bad", "failed"), status("slow")]
    assert not_serving(services) == ["off", "bad", "slow"]
