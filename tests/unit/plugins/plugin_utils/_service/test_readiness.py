# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator reads while services start, and when the waiting ends."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import readiness


def status(name: str = "chat", state: str = "starting", **given: Any) -> dict[str, Any]:
    unit = {"n_restarts": given.pop("restarts", 0), "unit_file_state": "enabled"}
    return {"name": name, "state": state, "unit": unit, "http": {}, "log": [], **given}


def cause(name: str, retry: bool = True, start: str = "current", **given: Any) -> dict[str, Any]:
    texts = {"cause": f"It is {name}.", "advice": f"Fix {name}.", "lines": [f"line of {name}"]}
    return {"id": name, "retry": retry, "start": start, "served": False, **texts, **given}


def watched(*looks: dict[str, Any], step: int = 10) -> readiness.Watch:
    watch = readiness.Watch("npu-01", ["chat"], step)
    for number, each in enumerate(looks):
        watch.update([each], number * 10.0)
    return watch


# --- progress ------------------------------------------------------------------------------------


def loading(percent: int) -> dict[str, Any]:
    return status(phase="weights", percent=percent, elapsed=1.0)


def test_only_news_is_shown_and_every_line_has_the_host() -> None:
    watch = readiness.Watch("npu-01", ["chat", "embed"], 10)
    both = [loading(0), status("embed", phase="starting")]
    shown = watch.update(both, 0)
    assert len(shown) == 2 and all(line.startswith("npu-01: ") for line in shown)
    assert watch.update(both, 10) == []
    assert watch.update([loading(9), both[1]], 20) == []
    assert len(watch.update([loading(10), both[1]], 30)) == 1
    assert len(watch.update([loading(100), both[1]], 40)) == 1
    assert len(watch.update([status(phase="kv-cache"), both[1]], 50)) == 1
    ready = watch.update([status(state="ready", elapsed=77.0), both[1]], 60)
    assert ready == ["npu-01: chat: ready after 1 min 17 s"]


def test_an_earlier_answer_counts_where_all_served_and_only_there() -> None:
    ready = [status(state="ready", elapsed=77.0), status("embed", state="ready", elapsed=9.0)]
    watch = readiness.Watch("npu-01", ["chat", "embed"], 10)
    assert watch.all_ready([]) == watch.all_ready(ready[:1]) == []
    assert watch.all_ready([ready[0], loading(0)]) == []
    assert watch.waiting == ["chat", "embed"]
    assert len(watch.all_ready([*ready, status("off", state="stopped")])) == 2
    assert (watch.waiting, watch.ready, watch.looks) == ([], ["chat", "embed"], 0)


WAITS = "waiting for rank 1 (npu-02, 10.0.0.2) since 2026-11-29 18:38:01 +0000"


def waiting(text: str = WAITS, **given: Any) -> dict[str, Any]:
    return status(group={"status": text, "missing": [1]}, **given)


def test_a_host_that_is_missing_is_named_on_the_way_and_at_the_end() -> None:
    watch = readiness.Watch("npu-01", ["chat"], 10)
    assert watch.update([waiting()], 0) == [f"npu-01: chat: {WAITS}"]
    assert watch.update([waiting()], 10) == []
    refused = f"{WAITS}; no connection: Connection refused"
    assert watch.update([waiting(refused)], 20) == [f"npu-01: chat: {refused}"]
    assert watch.message(30) == (
        f"npu-01: chat was not ready within 30 s. It stopped at: chat: {refused}"
    )


def test_an_engine_of_another_host_that_ends_at_each_start_ends_the_waiting() -> None:
    ended = "; the engine of rank 1 (npu-02) ended with status 1; the engine was stopped"
    looks = [
        waiting(WAITS.replace(":01", f":{second}") + ended)
        for second in ("02", "02", "40")
        for _again in range(2)
    ]
    watch = watched(*looks, status())
    assert watch.failed == {}
    text = WAITS.replace("10.0.0.2", "10.0.0.2, its engine has not ended yet").replace("01 ", "59 ")
    watch.update([waiting(text + ended)], 70)
    assert watch.failed["chat"] == (
        "fails again and again (3 starts): the engine of rank 1 (npu-02) ended with status 1. See why"
        " with inferops.ascend.diagnose on npu-02."
    )


def test_members_that_refuse_each_other_are_waited_for_as_long_as_a_deploy_takes() -> None:
    text = f"{WAITS}; 10.0.0.2 (npu-02) has other settings"
    late = waiting(text, cause=cause("group-other-settings", retry=False), elapsed=3600.0)
    watch = readiness.Watch("npu-01", ["chat"], 10)
    watch.update([late], 29)
    assert watch.waiting == ["chat"]
    watch.update([{**late, "elapsed": 29.0}], 40)
    assert watch.waiting == ["chat"]
    watch.update([late], 50)
    assert watch.message(3600) == (
        "npu-01: chat waits for a member with which it does not start.\n"
        "    It is group-other-settings.\n"
        "    What to do: Fix group-other-settings.\n"
        "    | line of group-other-settings"
    )


def test_163_shards_are_no_flood() -> None:
    watch = readiness.Watch("npu-01", ["chat"], 10)
    lines = [line for n in range(164) for line in watch.update([loading(100 * n // 163)], n * 10.0)]
    assert 8 <= len(lines) <= 12


def test_with_many_services_only_states_are_shown() -> None:
    assert [readiness.step_of(n) for n in (1, 16, 17, 128, 129, 5000)] == [10, 10, 25, 25, 0, 0]
    watch = readiness.Watch("npu-01", ["chat"], 0)
    looks = [loading(0), loading(80), status(phase="kv-cache"), status(state="ready")]
    assert [len(watch.update([each], n)) for n, each in enumerate(looks)] == [1, 0, 0, 1]


def test_a_long_silence_is_broken_for_what_is_still_waited_for() -> None:
    watch = readiness.Watch("npu-01", ["chat", "embed"], 10)
    both = [loading(0), status("embed", "ready")]
    watch.update(both, 0)
    assert watch.update(both, readiness.SILENCE - 1) == []
    shown = watch.update(both, readiness.SILENCE)
    assert len(shown) == 1 and "chat: loading weights" in shown[0]
    assert watch.update(both, readiness.SILENCE + 10) == []


def test_with_many_services_a_long_silence_is_broken_by_one_line_for_each_host() -> None:
    watch = readiness.Watch("npu-01", ["a", "b", "c", "d"], 0)
    services = [
        status("a", phase="weights", percent=25, done=1, total=4),
        status("b", phase="weights", percent=75, done=3, total=4),
        status("c", phase="graphs"),
        status("d", "ready"),
    ]
    watch.update(services, 0)
    assert watch.update(services, readiness.SILENCE) == [
        "npu-01: 1 of 4 ready; 2 loading weights, 1 capturing graphs"
    ]


def test_looks_are_short_at_first_and_then_an_interval_apart() -> None:
    pauses = [readiness.pause(waited, 10) for waited in (0, 4, 20, 40, 1000)]
    assert pauses == [1, 1, 5, 10, 10]
    assert readiness.pause(0, 0.2) == 0.2


# --- the end -------------------------------------------------------------------------------------


def test_a_service_that_answers_is_ready() -> None:
    watch = watched(loading(0), status(state="ready", elapsed=60.0))
    assert (watch.ready, watch.waiting, watch.failed) == (["chat"], [], {})
    assert watch.results()[0]["ready"] is True


def test_a_first_failure_that_may_mend_is_given_another_start() -> None:
    watch = watched(loading(0), status(state="restarting", cause=cause("hccl")))
    assert watch.waiting == ["chat"] and not watch.failed
    watch.update([status(restarts=1)], 20)
    watch.update([status(state="ready", restarts=1)], 30)
    assert watch.ready == ["chat"]


def test_a_failure_that_another_start_does_not_mend_ends_it_at_once() -> None:
    watch = watched(loading(0), status(state="restarting", cause=cause("heads", retry=False)))
    assert watch.failed == {"chat": "failed in a way that another start does not fix."}


def test_the_same_failure_twice_is_a_loop() -> None:
    watch = watched(
        status(state="restarting", cause=cause("hccl")),
        status(restarts=1),
        status(state="restarting", restarts=1, cause=cause("hccl")),
    )
    assert watch.failed == {"chat": "fails again and again (2 starts, the same cause)."}
    message = watch.message(3600)
    for words in ("chat fails again", "It is hccl.", "Fix hccl.", "line of hccl"):
        assert words in message


def test_the_same_failure_is_a_loop_also_if_it_was_never_seen_down() -> None:
    """Between two looks it failed and was started again: the start before tells the cause."""
    again = cause("hccl", start="previous")
    watch = watched(
        status(), status(restarts=1, cause=again), status(restarts=2, cause=again)
    )  # fmt: skip
    assert "again and again" in watch.failed["chat"]


def test_failures_between_two_looks_all_count() -> None:
    watch = watched(status(), status(restarts=2, cause=cause("hccl", start="previous")))
    assert "2 starts" in watch.failed["chat"]


def test_different_failures_are_a_loop_at_the_third() -> None:
    looks = [
        status(state="restarting", restarts=n, cause=cause(each))
        for n, each in enumerate(("a", "b", "c"))
    ]
    assert not watched(*looks[:2]).failed
    assert watched(*looks).failed == {"chat": "fails again and again (3 starts)."}


def test_one_failed_start_is_counted_once_however_often_it_is_seen() -> None:
    down = status(state="restarting", cause=cause("hccl"))
    assert not watched(down, down, down, down).failed


def test_a_loop_from_before_counts_as_its_last_failure() -> None:
    looping = status(restarts=7, cause=cause("hccl", start="previous"))
    watch = watched(looping, status(state="restarting", restarts=7, cause=cause("hccl")))
    assert "again and again" in watch.failed["chat"]


def test_restarts_of_a_service_that_had_served_are_no_loop() -> None:
    crashed = status(restarts=7, cause=cause("oom", start="previous", served=True))
    watch = watched(crashed, status(state="restarting", restarts=7, cause=cause("oom")))
    assert not watch.failed
    assert not watched(status(restarts=7), status(restarts=7)).failed


def test_systemds_giving_up_ends_it_with_the_number_of_starts() -> None:
    watch = watched(status(state="failed", restarts=4, cause=cause("oom")))
    assert watch.failed == {
        "chat": "has failed after 5 starts, and systemd does not start it again."
    }


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_what_nobody_starts_is_not_waited_for(state: str) -> None:
    assert "inferops.ascend.deploy" in watched(status(state=state)).failed["chat"]


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_what_goes_down_while_it_is_waited_for_is_looked_at_once_more(state: str) -> None:
    """A host that reboots stops its services before it is gone."""
    watch = watched(loading(0), status(state=state))
    assert watch.waiting == ["chat"]
    watch.update([status(state="starting")], 30)
    assert watch.waiting == ["chat"]
    watch.update([status(state=state)], 40)
    watch.update([status(state=state)], 50)
    assert "inferops.ascend.deploy" in watch.failed["chat"]


def deployed(**given: Any) -> readiness.Watch:
    watch = readiness.Watch("npu-01", ["chat"], 10)
    watch.has_deployed([status(**given), status("other", digest_running="1")])
    return watch


@pytest.mark.parametrize(
    ("state", "words"),
    [("absent", "another run removed it"), ("stopped", "another run or somebody stopped it")],
)
def test_a_deploy_that_lost_against_another_run_is_told_so(state: str, words: str) -> None:
    watch = deployed(digest_running="1")
    watch.update([status(digest_running="1")], 0)
    watch.update([status(state=state)], 10)
    assert watch.waiting == ["chat"], "the host may be about to restart"
    watch.update([status(state=state)], 20)
    assert words in watch.failed["chat"] and "Run deploy again" in watch.failed["chat"]


@pytest.mark.parametrize("state", ["starting", "ready"])
def test_other_settings_than_those_deployed_are_no_success(state: str) -> None:
    for known in ("1", None):
        watch = deployed(digest_running=known)
        watch.update([status(digest_running="1")], 0)
        watch.update([status(state="stopping", digest_running=None)], 5)
        watch.update([status(state=state, digest_running="2")], 10)
        assert "another run changed it" in watch.failed["chat"]
        assert watch.ready == []


def test_what_was_down_when_it_was_deployed_is_told_as_before() -> None:
    watch = deployed(state="stopped")
    watch.update([status(state="stopped")], 0)
    assert "another run" not in watch.failed["chat"]


def test_what_is_masked_is_not_to_be_started_by_a_deploy() -> None:
    masked = {**status(state="stopped"), "unit": {"load_state": "masked"}}
    assert "systemctl unmask" in watched(masked).failed["chat"]


@pytest.mark.parametrize("state", ["unhealthy", "unknown", "stopping", "starting"])
def test_what_may_come_up_is_waited_for(state: str) -> None:
    assert watched(status(state=state)).waiting == ["chat"]


def test_the_end_of_the_time_names_the_phase_in_which_it_stood() -> None:
    watch = watched(
        status(phase="graphs", elapsed=1200.0, log=["a", "Compile and warming up model for size 8"])
    )
    message = watch.message(1200)
    assert message == (
        "npu-01: chat was not ready within 20 min. It stopped at: chat: capturing graphs, for 20 min\n"
        "    Its last line: Compile and warming up model for size 8"
    )


def test_a_failure_is_told_with_those_that_are_no_longer_waited_for() -> None:
    watch = readiness.Watch("npu-01", ["bad", "slow", "good"])
    slow = loading(0) | {"name": "slow"}
    watch.update([status("bad", "failed", log=["why"]), slow, status("good", "ready")], 0)
    message = watch.message(60)
    assert message == (
        "npu-01: bad has failed, and systemd does not start it again.\n    | why\n"
        "npu-01: slow: loading weights (0 %), for 1 s; no longer waited for"
    )


def test_the_end_says_what_could_not_be_read() -> None:
    problem = "the journal was not read: x"
    assert f"    Note: {problem}" in watched(status(state="failed", problems=[problem])).message(9)
    assert f"    Note: {problem}" in watched(status(problems=[problem])).message(9)


# --- a host that hangs ---------------------------------------------------------------------------


def test_what_takes_too_long_is_ended_and_an_alarm_set_before_stays() -> None:
    begun = time.monotonic()
    with pytest.raises(readiness.LateError), readiness.at_most(0.2):
        try:
            time.sleep(30)
        except Exception:  # whoever tries again whatever happens
            time.sleep(30)
    assert time.monotonic() - begun < 5
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_arguments: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with readiness.at_most(60):  # the task's own limit is the shorter one
            time.sleep(0.5)
        assert rung == [1]
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with readiness.at_most(0.1), contextlib.suppress(readiness.LateError):
            time.sleep(30)
        assert rung == [1]
        time.sleep(0.7)
        assert rung == [1, 1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
