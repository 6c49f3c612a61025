# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fits in principle is placed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    FleetHost,
    FleetService,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.planner import plan_fleet
from hypothesis import given
from hypothesis import strategies as st

from .fleet_strategies import State, block_is_sound, check, few, fleets, usable


@given(
    st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=1, max_size=6),
    st.lists(st.sampled_from([1, 1, 1, 2, 2, 4, 8]), max_size=40),
)
@few
def test_powers_of_two_are_placed_if_and_only_if_they_fit(
    excluded: list[set[int]], counts: list[int]
) -> None:
    """Largest first, each service takes one of the aligned blocks that are left, whichever."""
    hosts = [
        FleetHost(f"h{n}", "a2", tuple(range(8)), frozenset(x)) for n, x in enumerate(excluded)
    ]
    names = tuple(host.name for host in hosts)
    services = [FleetService(f"s{n:02}", 1, {"a2": c}, names) for n, c in enumerate(counts)]
    wanted = Counter(counts)
    fits, larger = True, 0
    for size in (8, 4, 2, 1):
        there = sum(
            set(range(first, first + size)) <= usable(host)
            for host in hosts
            for first in range(0, 8, size)
        )
        fits = fits and wanted[size] + larger <= there
        larger = 2 * (larger + wanted[size])
    plan = plan_fleet(hosts, services, [], [])
    assert (not plan.unplaced) == fits


@given(st.integers(1, 12), st.data())
@few
def test_a_fleet_of_powers_of_two_is_filled_to_the_last_card(
    number: int, data: st.DataObject
) -> None:
    sizes: list[int] = []
    for _unused in range(number):
        todo = [8]
        while todo:
            size = todo.pop()
            if size > 1 and data.draw(st.booleans()):
                todo += [size // 2] * 2
            else:
                sizes.append(size)
    hosts = [FleetHost(f"h{n}", "a2", tuple(range(8))) for n in range(number)]
    names = tuple(host.name for host in hosts)
    services = [FleetService(f"s{n}", 1, {"a2": c}, names) for n, c in enumerate(sizes)]
    plan = plan_fleet(hosts, data.draw(st.permutations(services)), [], [])
    assert not plan.unplaced
    assert sum(len(assignment.cards) for assignment in plan.assignments) == 8 * number


@dataclass
class CutUp:
    """Hosts whose every card has been given to a service that may be there: a plan exists."""

    hosts: list[FleetHost]
    services: list[FleetService]
    home: dict[str, str]  # where that plan has a service


@st.composite
def cut_up(draw: st.DrawFn) -> CutUp:
    fleet = CutUp([], [], {})
    blocks = []
    for n in range(draw(st.integers(1, 3))):
        excluded = draw(st.sets(st.integers(0, 7), max_size=2))
        host = FleetHost(f"h{n}", "a2", tuple(range(8)), frozenset(excluded))
        fleet.hosts.append(host)
        card = 0
        while card < 8:
            counts = [
                count
                for count in range(1, 9)
                if set(cards := range(card, card + count)) <= usable(host)
                and block_is_sound(cards, 1)
            ]
            count = draw(st.sampled_from(counts)) if counts else 1
            if counts:
                blocks.append((host.name, count))
            card += count
    names = [host.name for host in fleet.hosts]
    for number, (home, count) in enumerate(draw(st.permutations(blocks))):
        on = {*draw(st.sets(st.sampled_from(names))), home}
        service = FleetService(f"s{number}", 1, {"a2": count}, tuple(sorted(on)))
        fleet.services.append(service)
        fleet.home[service.name] = home
    return fleet


@few
@given(cut_up())
def test_what_fits_in_principle_is_placed(fleet: CutUp) -> None:
    plan = plan_fleet(fleet.hosts, fleet.services, [], [])
    check(fleet.hosts, fleet.services, [], plan)
    assert not plan.unplaced


@few
@given(cut_up(), st.booleans(), st.data())
def test_replicas_are_spread_where_that_is_possible(
    fleet: CutUp, required: bool, data: st.DataObject
) -> None:
    """Services of one size, on different hosts in the plan that exists, become replicas of one."""
    services: dict[str, FleetService] = {}
    homes: dict[str, set[str]] = {}
    for service in fleet.services:
        home = fleet.home[service.name]
        same = [n for n, x in services.items() if x.cards == service.cards and home not in homes[n]]
        if same and data.draw(st.booleans()):
            into = services[same[0]]
            on = tuple(sorted({*into.hosts, *service.hosts}))
            services[into.name] = replace(into, hosts=on, replicas=(into.replicas or 0) + 1)
            homes[into.name].add(home)
        else:
            services[service.name] = replace(service, spread_required=required)
            homes[service.name] = {home}
    plan = plan_fleet(fleet.hosts, list(services.values()), [], [])
    assert not plan.unplaced
    for name, service in services.items():
        on_hosts = [
            assignment.host for assignment in plan.assignments if assignment.service == name
        ]
        assert len(set(on_hosts)) == len(on_hosts) == service.replicas


@few
@given(fleets())
def test_what_a_repack_is_said_to_do_it_does(state: State) -> None:
    hosts, services = state.input
    first = plan_fleet(hosts, [replace(each, cards={"a2": 1}) for each in services], [], [])
    stuck = plan_fleet(hosts, services, first.assignments, state.by_hand)
    repacked = plan_fleet(hosts, services, first.assignments, state.by_hand, repack=True)
    left = {(each.service, each.replica) for each in repacked.unplaced}
    for each in stuck.unplaced:
        assert each.repack_helps == ((each.service, each.replica) not in left)
    assert not any(each.repack_helps for each in repacked.unplaced)


@few
@given(fleets())
def test_what_is_of_the_highest_priority_has_room_if_it_has_alone(state: State) -> None:
    hosts, services = state.input
    highest = max((each.priority for each in services), default=0)
    first = [each for each in services if each.priority == highest]
    names = {each.name for each in services}
    by_hand = [assignment for assignment in state.by_hand if assignment.service not in names]
    if not plan_fleet(hosts, first, [], by_hand).unplaced:
        left = {each.service for each in plan_fleet(hosts, services, [], by_hand).unplaced}
        assert not left & {each.name for each in first}
