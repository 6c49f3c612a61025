# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the services of a fleet go, what stays, and what is reported of those without room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
    FleetPlan,
    FleetService,
    unplaced_lines,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.planner import (
    plan_fleet,
)

PLAN = "ansible_collections.inferops.ascend.plugins.plugin_utils._plan"
EXCHANGE, AGAIN, EXACT = "search.EXCHANGE_TRIALS", "repack.ROUNDS", "exact.EXACT_TRIALS"
BOUNDS = (EXCHANGE, AGAIN, EXACT)
A2, A2_32, A3 = "atlas-800i-a2-64g", "atlas-800i-a2-32g", "atlas-800i-a3"


def host(name: str, cards: int | Iterable[int] = 8, kind: str = A2, **more: Any) -> FleetHost:
    ids = tuple(range(cards)) if isinstance(cards, int) else tuple(cards)
    more["excluded"] = frozenset(more.get("excluded", ()))
    return FleetHost(name, kind, ids, **more)


def service(name: str, cards: int | dict[str, int], on: Iterable[str], **more: Any) -> FleetService:
    counts = {A2: cards} if isinstance(cards, int) else cards
    more.setdefault("replicas", 1)
    return FleetService(name, cards=counts, hosts=tuple(on), **more)


def plan(
    hosts: list[FleetHost],
    services: list[FleetService],
    existing: Iterable[Assignment] = (),
    given: Iterable[Assignment] = (),
    **more: Any,
) -> FleetPlan:
    return plan_fleet(hosts, services, list(existing), list(given), **more)


def where(planned: FleetPlan) -> dict[str, dict[str, list[int]]]:
    """{host: {name of the unit: cards}}."""
    result: dict[str, dict[str, list[int]]] = {}
    for assignment in planned.assignments:
        result.setdefault(assignment.host, {})[assignment.name] = list(assignment.cards)
    return result


def reason(planned: FleetPlan) -> str:
    (line,) = unplaced_lines(planned.unplaced)
    return line


TWO = [host("h1"), host("h2")]
NAMES = ("h1", "h2")


# Where services go


def test_whole_hosts_and_large_services_go_first_and_small_ones_fill_what_is_left() -> None:
    services = [service("a1", 1, NAMES), service("b2", 2, NAMES), service("c4", 4, NAMES)]
    services += [service("d8", 8, NAMES), service("e1", 1, NAMES)]
    assert where(plan(TWO, services)) == {
        "h1": {"d8": [*range(8)]},
        "h2": {"c4": [0, 1, 2, 3], "b2": [4, 5], "a1": [6], "e1": [7]},
    }


def test_a_service_takes_the_block_of_least_use_to_others() -> None:
    def free(name: str, *cards: int) -> list[Assignment]:
        taken = set(range(8)) - set(cards)
        return [Assignment(f"{name}-{card}", name, (card,)) for card in sorted(taken)]

    def new(cards: int, existing_placements: list[Assignment]) -> tuple[str, list[int]]:
        services = [
            service(assignment.service, 1, [assignment.host]) for assignment in existing_placements
        ]
        planned = plan(TWO, [*services, service("new", cards, NAMES)], existing_placements)
        (assignment,) = (
            assignment for assignment in planned.assignments if assignment.service == "new"
        )
        return assignment.host, list(assignment.cards)

    assert new(1, [*free("h1", 0, 1, 3), *free("h2", 4, 5)]) == ("h1", [3])
    # Fewer cards are free on h1, but they are a pair.
    assert new(1, [*free("h1", 0, 1), *free("h2", 0, 2, 4, 6)]) == ("h2", [0])
    assert new(2, [*free("h1", 4, 5, 6, 7), *free("h2", 2, 3, 4, 7)]) == ("h2", [2, 3])
    assert new(3, [*free("h1", *range(8)), *free("h2", 1, 2, 3, 5, 7)]) == ("h2", [1, 2, 3])


def test_other_counts_are_consecutive_and_lie_where_they_spoil_least() -> None:
    services = [service(f"s{n}", 3, ["h1"]) for n in range(2)] + [service("two", 2, ["h1"])]
    assert where(plan(TWO, services)) == {"h1": {"s0": [0, 1, 2], "s1": [3, 4, 5], "two": [6, 7]}}


def test_boards_are_kept_whole_where_a_service_has_the_cards_of_one() -> None:
    hosts = [host("h1", 16, A3, unit=2)]
    services = [service("one", {A3: 1}, ["h1"]), service("three", {A3: 3}, ["h1"])]
    services += [service("other", {A3: 1}, ["h1"]), service("eight", {A3: 8}, ["h1"])]
    assignments = where(plan(hosts, services))["h1"]
    assert assignments["three"][0] % 2 == 0
    assert assignments["one"] == [assignments["three"][2] + 1]  # the rest of that board


def test_excluded_and_missing_cards_are_left_alone() -> None:
    hosts = [host("h1", [0, 1, 2, 3, 5, 6, 7], excluded=[0])]
    services = [service("a", 2, ["h1"]), service("b", 2, ["h1"])]
    services += [service(f"c{n}", 1, ["h1"]) for n in range(2)]
    taken = where(plan(hosts, services))["h1"]
    assert taken["a"] == [2, 3] and taken["b"] == [6, 7]
    assert sorted([*taken["c0"], *taken["c1"]]) == [1, 5]


def test_the_kind_with_the_fewest_cards_is_preferred_until_others_need_it() -> None:
    hosts = [host("big"), host("small", 4, A2_32)]  # and best fit would be on `small`
    either = service("either", {A2: 2, A2_32: 4}, ["big", "small"])
    assert list(where(plan(hosts, [either]))) == ["big"]
    only = service("only", 8, ["big"])
    assert where(plan(hosts, [either, only])) == {
        "big": {"only": [*range(8)]},
        "small": {"either": [*range(4)]},
    }


def test_pinned_cards_are_taken_as_they_are_on_whatever_host_has_them() -> None:
    pinned = service("pin", 2, NAMES, pinned=(1, 6), replicas=2)
    services = [pinned, service("four", 4, NAMES), service("pair", 2, NAMES, replicas=2)]
    planned = where(plan([TWO[0], host("h2", excluded=[2])], services))
    assert planned["h1"]["pin"] == planned["h2"]["pin"] == [1, 6]
    services[1] = service("four", 4, NAMES, replicas=1)
    assert not {1, 6} & {card for on in planned.values() for card in on.get("four", [])}


@pytest.mark.parametrize("way", BOUNDS)
def test_new_services_change_places_for_one_that_has_fewer_ways(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the three ways to make room is enough here, and without them there is none."""
    hosts = [*TWO, host("h3")]
    services = [service(f"wide{n}", 8, ["h1", "h2", "h3"]) for n in range(2)]
    services.append(service("here", 4, NAMES))
    for bound in {*BOUNDS} - {way}:
        monkeypatch.setattr(f"{PLAN}.{bound}", 0)
    planned = plan(hosts, services)
    assert not planned.unplaced
    assert "h3" in where(planned)
    monkeypatch.setattr(f"{PLAN}.{way}", 0)
    assert [each.service for each in plan(hosts, services).unplaced] == ["here"]


# Replicas


def test_replicas_go_to_different_hosts_while_there_are_any() -> None:
    hosts = [host(f"h{n}") for n in range(3)]
    names = [each.name for each in hosts]
    planned = plan(hosts, [service("chat", 1, names, replicas=3)])
    assert {assignment.host for assignment in planned.assignments} == set(names)
    planned = plan(hosts, [service("chat", 1, names, replicas=5)])
    assert [len(on) for on in where(planned).values()] == [2, 2, 1]
    assert where(planned)["h0"] == {"chat": [0], "chat-2": [1]}
    assert {assignment.service for assignment in planned.assignments} == {"chat"}


def test_others_change_places_before_two_replicas_share_a_host() -> None:
    hosts = [host("h1"), host("h2", 4), host("h3")]
    names = ["h1", "h2", "h3"]
    services = [service("tall", 8, names), service("one", 1, NAMES)]
    planned = plan(hosts, [*services, service("chat", 4, names, replicas=2)])
    assert (
        len({assignment.host for assignment in planned.assignments if assignment.service == "chat"})
        == 2
    )
    assert not planned.unplaced


def test_a_second_replica_on_a_host_takes_no_name_that_somebody_has() -> None:
    services = [service("chat", 1, ["h1"], replicas=2), service("chat-2", 1, ["h2"])]
    assert set(where(plan(TWO, services))["h1"]) == {"chat", "chat-3"}


def test_spread_required_never_puts_two_on_a_host() -> None:
    planned = plan(TWO, [service("chat", 1, NAMES, replicas=3, spread_required=True)])
    assert {assignment.host for assignment in planned.assignments} == set(NAMES)
    assert [each.replica for each in planned.unplaced] == [3]
    assert "asks for 3 replicas and `spread: required` allows one on a host" in reason(planned)
    assert "of which 2 could carry one" in reason(planned)


def test_all_is_one_on_each_candidate_that_is_open_and_has_a_card() -> None:
    hosts = [*TWO, host("hand", open=False), host("off", excluded=range(8)), host("other")]
    names = ["h1", "h2", "hand", "off"]
    planned = plan(hosts, [service("embed", 1, names, replicas=None), service("big", 4, NAMES)])
    assert {
        assignment.host for assignment in planned.assignments if assignment.service == "embed"
    } == set(NAMES)
    assert not planned.unplaced


def test_all_says_which_host_cannot_carry_it() -> None:
    hosts = [*TWO, host("duo", 4, "atlas-300i-duo-96g")]
    request = service("embed", 1, ["h1", "h2", "duo"], replicas=None)
    request = FleetService(
        **{**request.__dict__, "refused": {"atlas-300i-duo-96g": "no table speaks of 48 GB."}}
    )
    planned = plan(hosts, [request])
    assert [each.replica for each in planned.unplaced] == [1]  # duo is the first by name
    assert "cannot be on duo: on atlas-300i-duo-96g, no table speaks of 48 GB." in reason(planned)
    assert set(where(planned)) == set(NAMES)


# Services written by hand


def test_nothing_is_placed_beside_services_written_by_hand_which_count_as_replicas() -> None:
    hosts = [TWO[0], host("h2", open=False)]
    hand = [Assignment("chat", "h2", (3,))]
    planned = plan(hosts, [service("chat", 1, NAMES, replicas=2)], given=hand)
    assert where(planned) == {"h1": {"chat": [0]}}
    assert not planned.unplaced
    assert plan(hosts, [service("chat", 1, NAMES)], given=hand).assignments == ()
    # A host that does not list the service: a name that happens to be the same.
    assert plan(hosts, [service("chat", 1, ["h1"])], given=hand).assignments != ()


def test_with_all_hosts_written_by_hand_there_is_no_open_host() -> None:
    planned = plan([host("h1", open=False)], [service("chat", 1, ["h1"])])
    assert "service chat has no open host" in reason(planned)
    assert "its candidate host h1 were written by hand" in reason(planned)


# Services larger than a host


def test_a_service_larger_than_a_host_takes_whole_hosts_of_one_kind() -> None:
    hosts = [host("h2"), host("h1"), host("h3"), host("x1", kind=A2_32), host("h0", excluded=[7])]
    names = [each.name for each in hosts]
    planned = plan(hosts, [service("big", {A2: 16, A2_32: 32}, names), service("one", 1, names)])
    parts = [assignment for assignment in planned.assignments if assignment.service == "big"]
    assert [
        (assignment.host, assignment.rank, assignment.leader, assignment.hosts)
        for assignment in parts
    ] == [
        ("h1", 0, "h1", ("h1", "h2")),
        ("h2", 1, "h1", ("h1", "h2")),
    ]
    assert all(assignment.cards == tuple(range(8)) for assignment in parts)
    assert [
        assignment.host for assignment in planned.assignments if assignment.service == "one"
    ] == ["h0"]


def test_it_rather_goes_to_one_larger_host() -> None:
    hosts = [*TWO, host("a3", 16, A3, unit=2)]
    names = [each.name for each in hosts]
    assert set(where(plan(hosts, [service("big", {A2: 16, A3: 16}, names)]))) == {"a3"}


def test_a_count_that_is_no_multiple_takes_whole_hosts_still() -> None:
    parts = plan(TWO, [service("big", 12, NAMES)]).assignments
    assert [len(assignment.cards) for assignment in parts] == [8, 8]


def test_hosts_are_cleared_for_it_by_moving_what_else_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{PLAN}.{AGAIN}", 0)
    monkeypatch.setattr(f"{PLAN}.{EXACT}", 0)
    hosts = [*TWO, host("x1", kind=A2_32), host("x2", kind=A2_32)]
    small = service("small", {A2: 1, A2_32: 1}, ["h1", "h2", "x1"], priority=9)
    # Not all of these has room, so services are placed in the order of their priorities.
    full = [service(f"full{n}", {A2_32: 4}, ["x2"], priority=5) for n in range(3)]
    planned = plan(hosts, [small, *full, service("big", 16, NAMES, priority=1)])
    assert [each.service for each in planned.unplaced] == ["full2"]
    assert where(planned)["h1"] == {"big": [*range(8)]}
    assert where(planned)["x1"] == {"small": [0]}


@pytest.mark.parametrize("way", [AGAIN, EXACT])
def test_it_takes_other_hosts_where_its_first_choice_is_in_the_way(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [*TWO, host("h3")]
    services = [service("big", 16, ["h1", "h2", "h3"]), service("here", 4, NAMES)]
    for bound in {*BOUNDS} - {way}:
        monkeypatch.setattr(f"{PLAN}.{bound}", 0)
    planned = plan(hosts, services)
    assert not planned.unplaced
    assert {assignment.hosts[1] for assignment in planned.assignments if assignment.hosts} == {"h3"}
    monkeypatch.setattr(f"{PLAN}.{way}", 0)
    assert plan(hosts, services).unplaced


def test_too_few_whole_hosts_are_reported_as_that() -> None:
    planned = plan([TWO[0], host("h2", excluded=[0])], [service("big", 16, NAMES)])
    assert (
        "needs 16 cards, which is 2 whole hosts of 8 of one kind; 1 of its candidate hosts h1, h2"
        in (reason(planned))
    )
    planned = plan(TWO, [service("big", 16, NAMES), service("bigger", 16, NAMES)])
    assert "and 0 of its candidate hosts h1, h2 are wholly free" in reason(planned)


# What stands


def test_what_stands_stays_whatever_comes_goes_or_is_reordered() -> None:
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


def test_required_spread_parts_replicas_that_stood_on_one_host() -> None:
    existing_placements = [Assignment("chat", "h1", (0,)), Assignment("chat-2", "h1", (1,))]
    request = service("chat", 1, NAMES, replicas=2, spread_required=True)
    assert where(plan(TWO, [request], existing_placements)) == {
        "h1": {"chat": [0]},
        "h2": {"chat": [0]},
    }
    told = [existing_placements[0], Assignment("chat", "h1", (1,), name="chat-2")]
    assert where(plan(TWO, [request], told)) == {"h1": {"chat": [0]}, "h2": {"chat": [0]}}


def test_a_standing_span_stays_and_moves_as_one() -> None:
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


def test_what_overlaps_or_is_no_block_does_not_stand() -> None:
    existing_placements = [
        Assignment("a", "h1", (1, 2)),
        Assignment("b", "h1", (4, 5)),
        Assignment("c", "h1", (5,)),
    ]
    services = [service("a", 2, ["h1"]), service("b", 2, ["h1"]), service("c", 1, ["h1"])]
    taken = where(plan(TWO, services, existing_placements))["h1"]
    assert taken["b"] == [4, 5] and taken["a"] != [1, 2] and taken["c"] != [5]


def test_a_repack_starts_anew_and_says_what_moves() -> None:
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


# What does not fit


def test_all_that_does_not_fit_is_reported_at_once_and_priority_says_what_that_is() -> None:
    services = [service(name, 4, NAMES) for name in "abcde"]
    services += [service("late", 8, NAMES, priority=1), service("none", 4, ["h9"])]
    planned = plan(TWO, services)
    left = [each.service for each in planned.unplaced]
    assert left == ["c", "d", "e", "none"]
    assert len(unplaced_lines(planned.unplaced)) == 4
    assert "has no candidate host" in planned.unplaced[-1].reason
    assert all(each.largest_free == 0 for each in planned.unplaced)
    assert not any(each.repack_helps for each in planned.unplaced)
    assert "No other arrangement makes room. Add a host" in planned.unplaced[0].reason


def test_priority_does_not_keep_out_what_would_fit() -> None:
    services = [service("small", 1, NAMES, priority=9, replicas=2)]
    services += [service("tall", 8, NAMES, priority=0)]
    planned = plan(TWO, services)
    assert not planned.unplaced


def test_two_without_room_that_share_some_candidates_are_judged_together() -> None:
    hosts = [host("h1"), host("h2", 4), host("h3", 4)]
    services = [service("four2", 4, ["h2"]), service("four3", 4, ["h3"])]
    services += [service("three", 3, ["h1", "h3"], replicas=2), service("two", 2, ["h2", "h3"])]
    planned = plan(hosts, services)
    assert [each.service for each in planned.unplaced] == ["two"]
    assert where(planned)["h1"] == {"three": [0, 1, 2], "three-2": [3, 4, 5]}


def test_two_of_low_priority_do_not_take_the_place_of_one_of_high_priority() -> None:
    hosts = [*TWO, host("h3")]
    existing_placements = [Assignment("old2", "h2", (0,)), Assignment("old3", "h3", (0,))]
    services = [service("old2", 1, ["h2"]), service("old3", 1, ["h3"])]
    services += [service("low1", 4, ["h1"]), service("low2", 4, ["h1"])]
    services += [service("high", 8, ["h1", "h2", "h3"], priority=1)]
    planned = plan(hosts, services, existing_placements)
    assert [each.service for each in planned.unplaced] == ["low1", "low2"]


def test_replicas_without_room_share_a_line() -> None:
    planned = plan([TWO[0]], [service("chat", 4, ["h1"], replicas=5)])
    assert [each.replica for each in planned.unplaced] == [3, 4, 5]
    assert reason(planned).endswith("So it is with 3 replicas (3-5).")


def test_what_not_even_an_empty_host_gives_is_said_with_the_cards() -> None:
    planned = plan([host("h1", excluded=[2, 6])], [service("a", 4, ["h1"])])
    assert "cannot give that even when empty: h1 has the cards 0-7, excluded 2, 6" in reason(
        planned
    )
    planned = plan([host("h1", excluded=[2])], [service("a", 2, ["h1"], pinned=(2, 3))])
    assert "service a asks for the cards 2-3, and its candidate host h1 cannot" in reason(planned)


def test_kinds_that_cannot_carry_a_service_are_named_with_their_reasons() -> None:
    hosts = [host("h1"), host("s1", kind=A2_32)]
    request = FleetService(
        "a", 1, {}, ("h1", "s1"), refused={A2: "too long.", A2_32: "too few cards"}
    )
    assert reason(plan(hosts, [request])) == (
        f"service a can run on none of its candidates: on {A2_32}, too few cards; on {A2}, too long."
    )
    request = FleetService("a", 3, {A2: 4}, ("h1", "s1"), True, refused={A2_32: "too few cards."})
    assert f"Others of its candidates cannot carry it: on {A2_32}, too few cards." in reason(
        plan(hosts, [request])
    )


def test_kinds_that_need_different_numbers_are_both_named() -> None:
    hosts = [host("h1", excluded=[0]), host("s1", kind=A2_32, excluded=[0])]
    services = [service("a", {A2: 2, A2_32: 4}, ["h1", "s1"], replicas=5)]
    text = plan(hosts, services).unplaced[0].reason
    assert f"service a needs 2 cards on {A2} or 4 cards on {A2_32}, in one block" in text


def test_a_search_that_was_cut_short_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    services = [service(f"s{n}", 5, NAMES) for n in range(3)]
    assert "No other arrangement makes room." in plan(TWO, services).unplaced[0].reason
    monkeypatch.setattr(f"{PLAN}.{EXACT}", 0)
    assert "Not every arrangement was tried" in plan(TWO, services).unplaced[0].reason


# Input that contradicts itself


@pytest.mark.parametrize(
    ("hosts", "services", "text"),
    [
        ([host("h1"), host("h1")], [], "host h1 is listed twice"),
        ([host("h1", unit=3)], [], "host h1 has boards of 3 cards; a power of two is needed"),
        ([host("h1", [0, -1])], [], "host h1: -1 is not a card id"),
        ([host("h1", [0, 0])], [], "host h1 lists a card twice"),
        (TWO, [service("a", 1, NAMES)] * 2, "two services are named a"),
        (TWO, [service("a", 1, NAMES, replicas=-1)], "service a: replicas is -1"),
        (TWO, [service("a", 1, NAMES, replicas=10**9)], "service a: replicas is 1000000000"),
        (TWO, [service("a", 0, NAMES)], "service a takes 0 cards"),
        (TWO, [service("a", 2, NAMES, pinned=(1, 1))], "service a names the cards 1, 1"),
    ],
)
def test_contradictions_are_refused(
    hosts: list[FleetHost], services: list[FleetService], text: str
) -> None:
    with pytest.raises(AscendError, match=text):
        plan(hosts, services)
