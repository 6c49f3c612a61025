# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an earlier plan placed stays where it fits; a repack places all again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
)

from .fleets import A2_32, NAMES, TWO, host, plan, service, where


def test_what_exists_stays_whatever_comes_goes_or_is_reordered() -> None:
    existing_placements = [Assignment("b", "h2", (4, 5)), Assignment("c", "h1", (7,))]
    services = [service("a", 4, NAMES), service("b", 2, NAMES), service("c", 1, NAMES)]
    planned = plan([host("h3"), *TWO], services, existing_placements)
    assert set(existing_placements) <= set(planned.assignments)
    assert [(move.service, move.before) for move in planned.moved] == [("a", None)]
    less = plan([*TWO], services[:2], planned.assignments)
    assert [(move.service, move.after) for move in less.moved] == [("c", None)]
    assert set(less.assignments) == set(planned.assignments) - {existing_placements[1]}


@pytest.mark.parametrize(
    ("hosts", "change"),
    [
        ([TWO[1]], {}),
        ([host("h1", excluded=[5]), TWO[1]], {}),
        ([host("h1", [0, 1, 2, 3, 4, 6, 7]), TWO[1]], {}),
        ([host("h1", kind=A2_32), TWO[1]], {}),
        ([host("h1", open=False), TWO[1]], {}),
        (TWO, {"cards": 4}),
        (TWO, {"on": ["h2"]}),
        (TWO, {"pinned": (0, 1)}),
    ],
)
def test_only_what_no_longer_fits_moves(hosts: list[FleetHost], change: dict[str, Any]) -> None:
    existing_placements = [Assignment("a", "h1", (4, 5)), Assignment("b", "h2", (6, 7))]
    changed = service("a", **{"cards": 2, "on": NAMES, **change})
    planned = plan(hosts, [changed, service("b", 2, NAMES)], existing_placements)
    assert existing_placements[1] in planned.assignments
    (move,) = planned.moved
    assert move.before == existing_placements[0]
    assert move.after is not None and move.after.service == "a"


def test_of_too_many_replicas_those_go_that_were_second_on_a_host_then_the_last_hosts() -> None:
    existing_placements = [
        Assignment("chat", "h1", (0,)),
        Assignment("chat-2", "h1", (1,)),
        Assignment("chat", "h2", (0,)),
    ]
    chat = {count: service("chat", 1, NAMES, replicas=count) for count in range(4)}
    assert where(plan(TWO, [chat[2]], existing_placements)) == {
        "h1": {"chat": [0]},
        "h2": {"chat": [0]},
    }
    assert where(plan(TWO, [chat[1]], existing_placements)) == {"h1": {"chat": [0]}}
    assert where(plan(TWO, [chat[0]], existing_placements)) == {}
    hand = [Assignment("chat", "h3", (0,))]
    three = [*TWO, host("h3", open=False)]
    request = service("chat", 1, [*NAMES, "h3"], replicas=2)
    assert where(plan(three, [request], existing_placements, hand)) == {"h1": {"chat": [0]}}


def test_a_second_replica_keeps_its_name_when_the_first_goes() -> None:
    existing_placements = [Assignment("chat", "h1", (0,)), Assignment("chat-2", "h1", (1,))]
    planned = plan(
        [host("h1", excluded=[0])], [service("chat", 1, ["h1"], replicas=2)], existing_placements
    )
    assert where(planned) == {"h1": {"chat-2": [1], "chat": [2]}}


def test_required_spread_parts_replicas_that_were_on_one_host() -> None:
    existing_placements = [Assignment("chat", "h1", (0,)), Assignment("chat-2", "h1", (1,))]
    request = service("chat", 1, NAMES, replicas=2, spread_required=True)
    assert where(plan(TWO, [request], existing_placements)) == {
        "h1": {"chat": [0]},
        "h2": {"chat": [0]},
    }
    told = [existing_placements[0], Assignment("chat", "h1", (1,), name="chat-2")]
    assert where(plan(TWO, [request], told)) == {"h1": {"chat": [0]}, "h2": {"chat": [0]}}


def test_an_existing_span_stays_and_moves_as_one() -> None:
    hosts = [host(f"h{n}") for n in range(4)]
    names = [each.name for each in hosts]
    big = service("big", 16, names)
    existing_placements = [
        Assignment("big", "h2", tuple(range(8)), "h2", 0, ("h2", "h3")),
        Assignment("big", "h3", tuple(range(8)), "h2", 1, ("h2", "h3")),
    ]
    assert plan(hosts, [big, service("a", 8, names)], existing_placements).moved[0].service == "a"
    moved = plan(hosts[:3], [service("big", 16, names)], existing_placements)
    assert {assignment.hosts for assignment in moved.assignments} == {("h0", "h1")}
    assert {
        assignment.host
        for assignment in plan(hosts, [service("big", 8, names)], existing_placements).assignments
    } == {"h0"}


def test_what_overlaps_or_is_no_block_does_not_stay() -> None:
    existing_placements = [
        Assignment("a", "h1", (1, 2)),
        Assignment("b", "h1", (4, 5)),
        Assignment("c", "h1", (5,)),
    ]
    services = [service("a", 2, ["h1"]), service("b", 2, ["h1"]), service("c", 1, ["h1"])]
    taken = where(plan(TWO, services, existing_placements))["h1"]
    assert taken["b"] == [4, 5] and taken["a"] != [1, 2] and taken["c"] != [5]


def test_a_repack_starts_again_and_reports_what_moves() -> None:
    existing_placements = [Assignment("a", "h1", (1,)), Assignment("b", "h2", (6,))]
    services = [service("a", 1, NAMES), service("b", 1, NAMES), service("big", 8, NAMES)]
    stuck = plan(TWO, services, existing_placements)
    (missing,) = stuck.unplaced
    assert (missing.service, missing.replica, missing.cards, missing.largest_free) == (
        "big",
        1,
        8,
        4,
    )
    assert missing.repack_helps
    assert "needs 8 cards in one block that starts at a multiple of 8" in missing.reason
    assert "the largest free block on its candidate hosts h1, h2 has 4 cards (h1)" in missing.reason
    assert "A repack would make room: plan again with vllm_plan_repack=true" in missing.reason
    repacked = plan(TWO, services, existing_placements, repack=True)
    assert not repacked.unplaced
    moves = {move.service: (move.before, move.after) for move in repacked.moved}
    assert moves["big"][0] is None and moves["a"][0] == existing_placements[0]
    assert moves["a"][1] in repacked.assignments


def test_a_repack_that_only_leaves_others_over_is_no_way_out() -> None:
    hosts, small = [host("h1")], [service("a", 1, ["h1"]), service("b", 1, ["h1"])]
    existing = [Assignment("a", "h1", (0,)), Assignment("b", "h1", (5,))]
    stuck = plan(hosts, [*small, service("tall", 8, ["h1"])], existing)
    (missing,) = stuck.unplaced
    assert "A repack would make room for it, but not for a, b. Add a host" in missing.reason
    first = [replace(each, priority=1) for each in small]
    missing, _unused = plan(
        hosts, [*first, service("mid", 4, ["h1"], replicas=2)], existing
    ).unplaced
    assert "A repack would make room for it, but not for all its replicas." in missing.reason


def test_a_repack_that_changes_nothing_moves_nothing() -> None:
    services = [service("a", 2, NAMES, replicas=3), service("big", 8, NAMES)]
    planned = plan([*TWO, host("h3")], services)
    assert plan([*TWO, host("h3")], services, planned.assignments, repack=True).moved == ()
