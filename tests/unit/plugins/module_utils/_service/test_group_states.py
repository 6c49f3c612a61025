# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a member of a group: each event in each state, for the leader and for a member."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service.group_states import (
    Action,
    Group,
    GroupError,
    parse_config,
)

from .group_members import config, settings

Event = Callable[[Group], list[Action]]


def joined(rank: int) -> Event:
    return lambda group: group.joined(rank)


def lost(rank: int, cause: str = "closed", number: int = 0, now: float = 50) -> Event:
    return lambda group: group.lost(rank, cause, number, now)


def told(rank: int, words: str, now: float = 50) -> Event:
    kind, *numbers = words.split()
    return lambda group: group.told(rank, kind, [int(number) for number in numbers], now)


def ended(status: int, now: float = 50) -> Event:
    return lambda group: group.ended(status, now)


GONE: Event = Group.gone
STOP: Event = Group.stop
TIMEOUT: Event = Group.timeout

# How each state is reached. The common start has the number 1, time is 50 s.
LEADER: dict[str, list[Event]] = {"waiting": [joined(1)]}
LEADER["starting"] = [joined(1), told(1, "ready 0")]
LEADER["running"] = [*LEADER["starting"], told(1, "started 1")]
LEADER["stopping"] = [*LEADER["running"], told(1, "ended 1 1 9 0")]
LEADER["ending"] = [*LEADER["running"], ended(9)]
LEADER["leaving"] = [*LEADER["running"], STOP]
MEMBER: dict[str, list[Event]] = {"waiting": [joined(0)]}
MEMBER["starting"] = [joined(0), told(0, "go 1")]
MEMBER["running"] = [*MEMBER["starting"], told(0, "running 1")]
MEMBER["draining"] = [*MEMBER["running"], told(0, "leaving 1")]
MEMBER["stopping"] = [*MEMBER["running"], told(0, "ended 1 0 9 0")]
MEMBER["ending"] = [*MEMBER["running"], ended(9)]
MEMBER["leaving"] = [*MEMBER["running"], STOP]


def after(rank: int, *events: Event, size: int = 2) -> tuple[Group, list[str]]:
    """The group after events, and what the last event asked for, without status texts."""
    group = Group(config(rank, size))
    actions = group.begin()
    for event in events:
        actions = event(group)
    return group, [shown(action) for action in actions if action.do != "status"]


def shown(action: Action) -> str:
    if action.do == "send":
        return f"{action.rank}: {action.text}"
    return f"{action.do} {action.number:g}" if action.do in ("exit", "deadline") else action.do


HALT = ["terminate", "deadline 3"]  # lost_after, at most 3 s
FAILED = ["terminate", "deadline 2"]
WAIT = ["deadline -1"]

# role, state, event, state afterwards, what is asked for
TRANSITIONS: list[tuple[int, str, Event, str, list[str]]] = [
    # The leader waits.
    (0, "waiting", joined(1), "waiting", ["1: waiting 1"]),
    (0, "waiting", told(1, "ready 0"), "starting", ["1: go 1", "start"]),
    (0, "waiting", told(1, "ready 7"), "starting", ["1: go 8", "start"]),
    (0, "waiting", told(1, "started 1"), "waiting", []),
    (0, "waiting", told(1, "ended 0 1 9 0"), "waiting", []),
    (0, "waiting", lost(1), "waiting", []),
    (0, "waiting", TIMEOUT, "waiting", []),
    (0, "waiting", STOP, "leaving", ["exit 0"]),
    # It starts, and runs when all have started.
    (0, "starting", told(1, "started 1"), "running", ["1: running 1"]),
    (0, "starting", told(1, "started 0"), "starting", []),
    (0, "starting", told(1, "ready 0"), "starting", []),
    (0, "starting", told(1, "ended 1 1 9 0"), "stopping", [*HALT, "1: waiting 0 1"]),
    (0, "starting", lost(1), "stopping", HALT),
    (0, "starting", ended(127), "ending", ["1: ended 1 0 127 0", *FAILED]),
    (0, "starting", STOP, "leaving", ["1: leaving 1", "terminate", "deadline 30"]),
    (0, "running", told(1, "ended 1 1 9 0"), "stopping", [*HALT, "1: waiting 0 1"]),
    (0, "running", told(1, "stopped 1 1 0 0"), "stopping", [*HALT, "1: waiting 0 1"]),
    (0, "running", told(1, "ready 1"), "stopping", [*HALT, "1: waiting 0"]),
    (0, "running", told(1, "ended 0 1 9 0"), "running", []),
    (0, "running", told(1, "stopped 0 1 0 0"), "running", []),
    (0, "running", told(1, "ready 0"), "running", []),
    (0, "running", lost(1, "silent", 10), "stopping", HALT),
    (0, "running", lost(1, "replaced"), "stopping", HALT),
    (0, "running", ended(0), "ending", ["1: ended 1 0 0 0", *FAILED]),
    (0, "running", STOP, "leaving", ["1: leaving 1", "terminate", "deadline 30"]),
    # It stops because of a peer, and waits for it again.
    (0, "stopping", told(1, "ready 1"), "stopping", ["1: waiting 0"]),
    (0, "stopping", told(1, "ended 1 1 9 0"), "stopping", []),
    (0, "stopping", lost(1), "stopping", []),
    (0, "stopping", joined(1), "stopping", ["1: waiting 0 1"]),
    (0, "stopping", ended(9), "stopping", []),
    (0, "stopping", TIMEOUT, "stopping", ["kill"]),
    (0, "stopping", GONE, "waiting", [*WAIT, "1: waiting 1"]),
    (0, "stopping", STOP, "leaving", []),
    # Its engine ended: the guard ends, unless the engine of a peer ended before.
    (0, "ending", TIMEOUT, "ending", ["kill"]),
    (0, "ending", GONE, "ending", []),
    (0, "ending", told(1, "ended 1 1 9 0", 51), "ending", []),
    (0, "ending", told(1, "ended 1 1 9 1500", 51), "stopping", [*HALT, "1: waiting 0 1"]),
    (0, "ending", told(1, "stopped 1 1 0 0", 51), "stopping", [*HALT, "1: waiting 0 1"]),
    (0, "ending", lost(1, now=51), "stopping", HALT),
    (0, "ending", STOP, "leaving", []),
    # It was told to stop.
    (0, "leaving", TIMEOUT, "leaving", ["kill"]),
    (0, "leaving", GONE, "leaving", ["exit 0"]),
    (0, "leaving", lost(1), "leaving", []),
    (0, "leaving", told(1, "ended 1 1 9 0"), "leaving", []),
    (0, "leaving", ended(9), "leaving", []),
    (0, "leaving", STOP, "leaving", []),
    # A member waits.
    (1, "waiting", joined(0), "waiting", ["0: ready 0"]),
    (1, "waiting", told(0, "go 1"), "starting", ["start", "0: started 1"]),
    (1, "waiting", told(0, "go 0"), "waiting", []),
    (1, "waiting", told(0, "running 0"), "waiting", []),
    (1, "waiting", told(0, "leaving 0"), "waiting", []),
    (1, "waiting", told(0, "ended 0 0 9 0"), "waiting", []),
    (1, "waiting", lost(0), "waiting", []),
    (1, "waiting", STOP, "leaving", ["exit 0"]),
    # It starts and runs when the leader says so.
    (1, "starting", told(0, "running 1"), "running", []),
    (1, "starting", told(0, "running 0"), "starting", []),
    (1, "starting", told(0, "leaving 1"), "draining", []),
    (1, "starting", lost(0), "stopping", HALT),
    (1, "starting", ended(127), "ending", ["0: ended 1 1 127 0", *FAILED]),
    (1, "starting", STOP, "leaving", ["0: stopped 1 1 0 0", "terminate", "deadline 30"]),
    (1, "running", told(0, "ended 1 0 9 0"), "stopping", HALT),
    (1, "running", told(0, "silent 1 0 10 0"), "stopping", HALT),
    (1, "running", told(0, "ended 0 0 9 0"), "running", []),
    (1, "running", told(0, "leaving 0"), "running", []),
    (1, "running", told(0, "go 2"), "running", []),
    (1, "running", told(0, "leaving 1"), "draining", []),
    (1, "running", lost(0), "stopping", HALT),
    (1, "running", ended(0), "ending", ["0: ended 1 1 0 0", *FAILED]),
    (1, "running", STOP, "leaving", ["0: stopped 1 1 0 0", "terminate", "deadline 30"]),
    # The leader is being stopped: the engine runs on until the leader's has ended.
    (1, "draining", ended(9), "stopping", HALT),
    (1, "draining", lost(0), "stopping", HALT),
    (1, "draining", told(0, "running 1"), "draining", []),
    (1, "draining", STOP, "leaving", ["0: stopped 1 1 0 0", "terminate", "deadline 30"]),
    # It stops because of a peer.
    (1, "stopping", told(0, "go 2"), "stopping", []),
    (1, "stopping", ended(9), "stopping", []),
    (1, "stopping", lost(0), "stopping", []),
    (1, "stopping", joined(0), "stopping", []),
    (1, "stopping", TIMEOUT, "stopping", ["kill"]),
    (1, "stopping", GONE, "waiting", [*WAIT, "0: ready 1"]),
    (1, "stopping", STOP, "leaving", []),
    # Its engine ended.
    (1, "ending", TIMEOUT, "ending", ["kill"]),
    (1, "ending", told(0, "go 2"), "ending", []),
    (1, "ending", told(0, "ended 1 0 9 0", 51), "ending", []),
    (1, "ending", told(0, "ended 1 0 9 1500", 51), "stopping", HALT),
    (1, "ending", lost(0, now=51), "stopping", HALT),
    (1, "ending", STOP, "leaving", []),
    (1, "leaving", told(0, "go 2"), "leaving", []),
    (1, "leaving", GONE, "leaving", ["exit 0"]),
    (1, "leaving", TIMEOUT, "leaving", ["kill"]),
]


@pytest.mark.parametrize(
    "rank, before, event, afterwards, asked",
    TRANSITIONS,
    ids=[f"{number}-{row[0]}-{row[1]}" for number, row in enumerate(TRANSITIONS)],
)
def test_each_transition(
    rank: int, before: str, event: Event, afterwards: str, asked: list[str]
) -> None:
    way = (MEMBER if rank else LEADER)[before]
    assert after(rank, *way)[0].state == before
    group, actions = after(rank, *way, event)
    assert (group.state, actions) == (afterwards, asked)


@pytest.mark.parametrize("events", [[GONE, TIMEOUT], [TIMEOUT, GONE]])
def test_a_guard_ends_with_the_status_of_its_engine(events: list[Event]) -> None:
    assert after(1, *MEMBER["ending"], *events)[1][-1:] == ["exit 9"]
    assert after(1, *MEMBER["running"], ended(0), *events)[1][-1:] == ["exit 1"]


def test_an_engine_that_ended_because_of_a_peer_does_not_end_the_guard() -> None:
    events = [*MEMBER["ending"], GONE, told(0, "ended 1 0 9 1500", 51)]
    group, actions = after(1, *events)
    assert (group.state, actions) == ("waiting", [*WAIT, "0: ready 1"])
    assert after(1, *events, TIMEOUT)[1] == []


def test_of_two_engines_that_end_together_one_counts_at_least() -> None:
    leader, sent = after(0, *LEADER["running"], ended(1, 50.0))
    member, answer = after(1, *MEMBER["running"], ended(1, 50.001))
    member.told(0, "ended", [1, 0, 1, 0], 50.002)
    leader.told(1, "ended", [1, 1, 1, 0], 50.002)
    assert (leader.state, member.state) == ("ending", "ending")


def test_a_stop_during_an_end_leaves_no_failure() -> None:
    assert after(1, *MEMBER["ending"], GONE, STOP)[1] == ["exit 0"]
    assert after(1, *MEMBER["ending"], STOP, GONE)[1] == ["exit 0"]
    assert after(1, *MEMBER["stopping"], STOP, GONE)[1] == ["exit 0"]


def test_four_members_start_when_the_last_is_ready_and_the_leader_tells_all_of_a_loss() -> None:
    ready = [event for rank in (1, 2, 3) for event in (joined(rank), told(rank, "ready 0"))]
    group, actions = after(0, *ready[:-1], size=4)
    assert (group.state, actions) == ("waiting", ["1: waiting 3", "2: waiting 3", "3: waiting 3"])
    group, actions = after(0, *ready, size=4)
    assert actions == ["1: go 1", "2: go 1", "3: go 1", "start"]
    started = [told(rank, "started 1") for rank in (1, 2, 3)]
    assert after(0, *ready, *started[:2], size=4)[0].state == "starting"
    group, actions = after(0, *ready, *started, lost(2, "silent", 10), size=4)
    assert actions == [
        *[f"{rank}: silent 1 2 10 0" for rank in (1, 3)],
        *HALT,
        *[f"{rank}: waiting 0 1 2 3" for rank in (1, 3)],
    ]
    group, actions = after(0, *ready, *started, told(2, "ended 1 2 9 0"), size=4)
    assert actions[:2] == ["1: ended 1 2 9 0", "3: ended 1 2 9 0"]


def test_a_restarted_leader_continues_the_numbers_of_its_members() -> None:
    """Else they would take its first start for an old one."""
    assert after(0, joined(1), told(1, "ready 4"))[1] == ["1: go 5", "start"]


def text(rank: int, *events: Event, size: int = 2) -> str:
    group = Group(config(rank, size))
    actions = group.begin()
    for event in events:
        actions += event(group)
    return next(action.text for action in reversed(actions) if action.do == "status")


def noted(group: Group) -> list[Action]:
    return group.note(1, "127.0.0.2 (npu-02) has other settings")


LOST: Event = lost(1, "silent", 10)


def test_the_status_names_who_is_missing_and_why() -> None:
    waiting = "waiting for rank 1 (npu-02, 127.0.0.2) since {since}"
    assert text(0) == waiting
    assert text(0, noted) == f"{waiting}; 127.0.0.2 (npu-02) has other settings"
    assert text(0, noted, joined(1)) == waiting
    both = "rank 1 (npu-02, 127.0.0.2) and rank 2 (npu-03, 127.0.0.3)"
    assert text(0, size=3) == f"waiting for {both} since {{since}}"
    assert text(0, *LEADER["starting"]) == "all 2 members are here, starting"
    assert text(0, *LEADER["running"]) == "running since {since}"
    why = "lost rank 1 (npu-02): no word for 10 s"
    assert text(0, *LEADER["running"], LOST) == f"{why}; the engine is being stopped"
    assert text(0, *LEADER["running"], LOST, GONE) == f"{waiting}; {why}; the engine was stopped"
    why = "the engine of rank 1 (npu-02) ended with status 9"
    ending = "waiting for rank 1 (npu-02, 127.0.0.2, its engine has not ended yet) since {since}"
    assert text(0, *LEADER["stopping"], GONE) == f"{ending}; {why}; the engine was stopped"
    again = [GONE, told(1, "ready 1"), told(1, "started 2"), LOST, GONE]
    assert why not in text(0, *LEADER["stopping"], *again)


def test_a_member_says_that_its_leader_was_stopped_whatever_it_saw_of_it() -> None:
    for event in (lost(0), told(0, "ended 1 0 9 0"), ended(9)):
        assert text(1, *MEMBER["draining"], event) == (
            "rank 0 (npu-01) was stopped; the engine is being stopped"
        )


def test_a_member_names_whom_the_leader_waits_for() -> None:
    leader = "waiting for rank 0 (npu-01, 127.0.0.1) since {since}"
    assert text(1, size=3) == leader
    assert text(1, joined(0), told(0, "waiting 1"), size=3) == leader
    third = "waiting for rank 2 (npu-03, 127.0.0.3) since {since}"
    assert text(1, joined(0), told(0, "waiting 2"), size=3) == third
    assert text(1, joined(0), told(0, "waiting 2"), lost(0), size=3) == leader


def test_it_says_since_when_it_waits_or_runs_and_not_since_when_it_knows_why() -> None:
    def fresh(*events: Event) -> list[bool]:
        group = Group(config(0))
        shown = [each for event in (Group.begin, *events) for each in event(group)]
        return [bool(each.number) for each in shown if each.do == "status"]

    assert fresh(noted, joined(1)) == [True, False, False]
    assert fresh(*LEADER["running"]) == [True, True, True]
    assert fresh(*LEADER["running"], LOST, GONE)[-2:] == [True, True]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"protocol": 2}, "protocol 2, this program knows 1"),
        ({"rank": 2}, "rank 2 of 2 members"),
        ({"members": [{"host": "a", "address": "npu-01"}] * 2}, "npu-01"),
        (
            {"members": [{"host": "a", "address": "10.0.0.1"}] * 2},
            "two members have the same address",
        ),
        ({"members": [{"host": "a", "address": "10.0.0.1"}]}, "rank 0 of 1 members"),
        ({"beat": 1, "lost_after": 1}, "below lost_after"),
        ({"stop_timeout": float("nan")}, "stop_timeout"),
        ({"digest": "a b"}, "service and digest"),
        ({"service": 5}, "group"),
        ({"port": 70000}, "port is 1 to 65535"),
        ({"commands": ["ray start"]}, "is not a list of words"),
    ],
)
def test_settings_that_cannot_work_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GroupError, match=message):
        parse_config(json.dumps({**settings(0), **changes}))
