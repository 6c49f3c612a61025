# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the services of a fleet go."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetService,
)

from .fleets import (
    A2,
    A2_32,
    A3,
    AGAIN,
    EXACT,
    EXCHANGE,
    NAMES,
    PLAN,
    TWO,
    host,
    plan,
    reason,
    service,
    where,
)

BOUNDS = (EXCHANGE, AGAIN, EXACT)


def test_complete_hosts_and_large_services_go_first_and_small_ones_fill_what_is_left() -> None:
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


def test_boards_are_kept_complete_where_a_service_has_the_cards_of_one() -> None:
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


def test_a_mixed_fleet_that_is_nearly_full_is_placed_by_exact_search_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two A2 and two A3 hosts; 46 of their 48 cards are asked for, some on one kind of host only."""
    hosts = [
        host("a3-1", 16, A3, unit=2),
        host("a2-1"),
        host("a2-2"),
        host("a3-2", 16, A3, unit=2),
    ]
    everywhere, a2, a3 = [each.name for each in hosts], ["a2-1", "a2-2"], ["a3-1", "a3-2"]

    def both(name: str, cards: int, on: list[str], **more: Any) -> FleetService:
        return service(name, {A2: cards, A3: cards}, on, **more)

    services = [
        both("chat", 16, everywhere),
        both("classify", 1, a2, replicas=4),
        both("code", 1, everywhere, replicas=2),
        both("embed", 1, everywhere, replicas=4),
        both("guard", 1, a2, spread_required=True),
        both("reason", 8, everywhere),
        both("transcribe", 8, a3, spread_required=True),
        both("translate", 1, a3),
        both("vision", 1, a3, replicas=2),
    ]
    assert not plan(hosts, services).unplaced
    monkeypatch.setattr(f"{PLAN}.{EXACT}", 0)
    assert plan(hosts, services).unplaced


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


def test_a_service_larger_than_a_host_takes_complete_hosts_of_one_kind() -> None:
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


def test_a_count_that_is_no_multiple_takes_complete_hosts_still() -> None:
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


def test_too_few_complete_hosts_are_reported_as_that() -> None:
    planned = plan([TWO[0], host("h2", excluded=[0])], [service("big", 16, NAMES)])
    assert (
        "needs 16 cards, which is 2 complete hosts of 8 of one kind; 1 of its candidate hosts h1, h2"
        in (reason(planned))
    )
    planned = plan(TWO, [service("big", 16, NAMES), service("bigger", 16, NAMES)])
    assert "and 0 of its candidate hosts h1, h2 are completely free" in reason(planned)
