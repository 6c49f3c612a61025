# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of every plan of a fleet, whatever the hosts and services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
    FleetPlan,
    FleetService,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.planner import (
    plan_fleet,
)
from hypothesis import given, settings
from hypothesis import strategies as st

# Cards of a host, and cards per board, by kind.
KINDS = {"a2": (8, 1), "a3": (16, 2), "odd": (6, 1)}
few = settings(deadline=None, max_examples=100)


def block_is_sound(cards: Sequence[int], unit: int) -> bool:
    """Whether the cards are a block as the design has it."""
    count = len(cards)
    if list(cards) != list(range(cards[0], cards[0] + count)):
        return False
    if count in (1, 2, 4, 8, 16) and cards[0] % count:
        return False
    return count < unit or cards[0] % unit == 0


def usable(host: FleetHost) -> set[int]:
    return set(host.cards) - host.excluded


def base(name: str, services: Iterable[str]) -> str:
    """The service of a unit."""
    return name if name in services else name.rsplit("-", 1)[0]


def check(
    hosts: Sequence[FleetHost],
    services: Sequence[FleetService],
    by_hand: Sequence[Assignment],
    plan: FleetPlan,
) -> None:
    """Assert all that holds of a plan, by its own means."""
    host_of = {host.name: host for host in hosts}
    service_of = {service.name: service for service in services}
    taken = [
        (assignment.host, card)
        for assignment in (*plan.assignments, *by_hand)
        for card in assignment.cards
    ]
    assert len(taken) == len(set(taken)), "a card is given twice"
    units = [(assignment.host, assignment.name) for assignment in (*plan.assignments, *by_hand)]
    assert len(units) == len(set(units)), "two units of one name on a host"
    spans: dict[tuple[str, tuple[str, ...]], list[Assignment]] = {}
    for assignment in plan.assignments:
        host, service = host_of[assignment.host], service_of[assignment.service]
        assert host.open and assignment.host in service.hosts
        assert set(assignment.cards) <= usable(host), "a card that is excluded or missing"
        assert assignment.name == assignment.service or (
            base(assignment.name, service_of) == assignment.service and not service.spread_required
        )
        if assignment.hosts:
            spans.setdefault((assignment.service, assignment.hosts), []).append(assignment)
            continue
        assert len(assignment.cards) == service.cards[host.kind]
        if service.pinned is not None:
            assert set(assignment.cards) == set(service.pinned)
        else:
            assert block_is_sound(assignment.cards, host.unit)
    for (name, members), assignments in spans.items():
        there = [host_of[member] for member in members]
        assert {assignment.host for assignment in assignments} == set(members) and len(
            assignments
        ) == len(members)
        assert {assignment.host: assignment.rank for assignment in assignments} == {
            m: n for n, m in enumerate(members)
        }
        assert {assignment.leader for assignment in assignments} == {min(members)}
        assert len({(host.kind, len(host.cards)) for host in there}) == 1
        assert all(
            set(assignment.cards) == set(host_of[assignment.host].cards)
            for assignment in assignments
        )
        size = len(there[0].cards)
        assert len(members) == -(-service_of[name].cards[there[0].kind] // size) > 1
    for service in services:
        own = replicas(service, plan.assignments)
        hand = [assignment for assignment in by_hand if assignment.service == service.name]
        counted = [assignment for assignment in hand if assignment.host in service.hosts]
        left = [each.replica for each in plan.unplaced if each.service == service.name]
        assert len(left) == len(set(left))
        if service.replicas is not None:
            wanted = max(0, service.replicas - len(counted))
            assert len(own) + len(left) == wanted
            assert all(1 <= number <= service.replicas for number in left)
        else:
            open_ones = [host_of[name] for name in service.hosts if host_of[name].open]
            able = {host.name for host in open_ones if usable(host)}
            assert len(own) + len(left) == len(able)
        if service.spread_required or service.replicas is None:
            on = [
                assignment.host
                for assignment in plan.assignments
                if assignment.service == service.name
            ]
            on += [assignment.host for assignment in counted]
            assert len(on) == len(set(on)), "two replicas on a host"


def replicas(service: FleetService, assignments: Iterable[Assignment]) -> set[object]:
    """What tells the replicas of a service apart."""
    return {
        assignment.hosts or (assignment.host, assignment.name)
        for assignment in assignments
        if assignment.service == service.name
    }


# Fleets


@st.composite
def a_host(draw: st.DrawFn, name: str) -> FleetHost:
    kind = draw(st.sampled_from(["a2", "a2", "a3", "odd"]))
    size, unit = KINDS[kind]
    whole = draw(st.booleans())
    ids = st.sets(st.integers(0, size - 1), max_size=2)
    missing, excluded = (set(), set()) if whole else (draw(ids), draw(ids))
    cards = tuple(card for card in range(size) if card not in missing)
    return FleetHost(name, kind, cards, frozenset(excluded), unit, draw(st.integers(0, 9)) > 0)


@st.composite
def a_service(draw: st.DrawFn, name: str, hosts: Sequence[str]) -> FleetService:
    count = draw(st.sampled_from([1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 12, 16]))
    kinds = draw(st.sets(st.sampled_from(sorted(KINDS)), min_size=1))
    pinned = None
    if draw(st.integers(0, 7)) == 0:
        pinned = tuple(sorted(draw(st.sets(st.integers(0, 7), min_size=1, max_size=2))))
        count = len(pinned)
    on = draw(st.sets(st.sampled_from(hosts))) if hosts and draw(st.booleans()) else set(hosts)
    return FleetService(
        name,
        draw(st.sampled_from([0, 1, 1, 1, 2, 3, 5, None])),
        {kind: count if draw(st.booleans()) else min(2 * count, 16) for kind in kinds}
        if pinned is None
        else dict.fromkeys(kinds, count),
        tuple(sorted(on)),
        draw(st.booleans()),
        draw(st.integers(0, 2)),
        pinned,
        dict.fromkeys(set(KINDS) - kinds, "a reason."),
    )


@dataclass
class State:
    hosts: dict[str, FleetHost] = field(default_factory=dict)
    services: dict[str, FleetService] = field(default_factory=dict)
    by_hand: list[Assignment] = field(default_factory=list)

    @property
    def input(self) -> tuple[list[FleetHost], list[FleetService]]:
        there = set(self.hosts)
        services = [
            replace(each, hosts=tuple(name for name in each.hosts if name in there))
            for each in self.services.values()
        ]
        return list(self.hosts.values()), services


NAMES = [f"h{n}" for n in range(5)]
# One of them looks like a second replica of another.
SERVICES = ["s0", "s1", "s2", "s3", "s4", "s5", "s1-2"]


@st.composite
def fleets(draw: st.DrawFn) -> State:
    state = State()
    for name in NAMES[: draw(st.integers(1, 4))]:
        state.hosts[name] = host = draw(a_host(name))
        if not host.open and draw(st.booleans()):
            cards = draw(st.sets(st.sampled_from(host.cards), min_size=1, max_size=3))
            service = draw(st.sampled_from([*SERVICES, "theirs"]))
            state.by_hand.append(Assignment(service, name, tuple(sorted(cards))))
    for name in draw(st.sets(st.sampled_from(SERVICES))):
        state.services[name] = draw(a_service(name, sorted(state.hosts)))
    return state


@few
@given(fleets(), st.booleans())
def test_every_plan_is_sound(state: State, again: bool) -> None:
    hosts, services = state.input
    plan = plan_fleet(hosts, services, [], state.by_hand)
    check(hosts, services, state.by_hand, plan)
    if again:
        same = plan_fleet(hosts, services, plan.assignments, state.by_hand)
        assert same.assignments == plan.assignments and same.moved == ()


@few
@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(state: State, random: Any) -> None:
    hosts, services = state.input
    first = plan_fleet(hosts, services, [], state.by_hand)
    existing, by_hand = list(first.assignments), list(state.by_hand)
    less = [replace(each, replicas=each.replicas and each.replicas - 1) for each in services]
    second = plan_fleet(hosts, less, existing, by_hand)
    for items in (hosts, services, less, existing, by_hand):
        random.shuffle(items)
    less = [replace(each, hosts=tuple(random.sample(each.hosts, len(each.hosts)))) for each in less]
    assert plan_fleet(hosts, services, [], by_hand) == first
    assert plan_fleet(hosts, less, existing, by_hand) == second


# What stands


def still_fits(assignment: Assignment, state: State) -> bool:
    """Whether a spot of a sound plan may stay after a change."""
    hosts = {host.name: host for host in state.input[0]}
    service = state.services[assignment.service]
    host = hosts.get(assignment.host)
    if host is None or not host.open or assignment.host not in service.hosts:
        return False
    cards = service.cards.get(host.kind)
    if cards is None or not set(assignment.cards) <= usable(host):
        return False
    if service.pinned is not None and set(assignment.cards) != set(service.pinned):
        return False
    if assignment.hosts:
        return (
            service.pinned is None
            and set(assignment.cards) == set(host.cards)
            and len(assignment.hosts) == -(-cards // len(host.cards))
        )
    if service.pinned is None and not block_is_sound(assignment.cards, host.unit):
        return False
    return len(assignment.cards) == cards


def staying(state: State, existing: Sequence[Assignment]) -> dict[str, set[object]]:
    """Replicas of each service that still fit, if all parts of them do."""
    result: dict[str, set[object]] = {}
    for name, service in state.services.items():
        own = [assignment for assignment in existing if assignment.service == name]
        gone = {
            assignment.hosts or (assignment.host, assignment.name)
            for assignment in own
            if not still_fits(assignment, state)
        }
        result[name] = replicas(service, own) - gone
    return result


@few
@given(fleets(), st.data())
def test_whatever_comes_and_goes_what_still_fits_stays(state: State, data: st.DataObject) -> None:
    hosts, services = state.input
    existing = plan_fleet(hosts, services, [], state.by_hand).assignments
    for _unused in range(data.draw(st.integers(1, 5))):
        change(state, data)
        hosts, services = state.input
        plan = plan_fleet(hosts, services, existing, state.by_hand)
        check(hosts, services, state.by_hand, plan)
        for name, before in staying(state, existing).items():
            service = state.services[name]
            after = replicas(service, plan.assignments)
            here = [assignment for assignment in state.by_hand if assignment.service == name]
            room = len(before)
            if service.replicas is not None:
                counted = sum(assignment.host in service.hosts for assignment in here)
                room = min(room, max(0, service.replicas - counted))
            assert len(before & after) >= room, f"{name} left a place where it fits"
        said = {(move.before, move.after) for move in plan.moved}
        assert {before for before, _unused in said} - {None} == {*existing} - {*plan.assignments}
        assert {after for _unused, after in said} - {None} == {*plan.assignments} - {*existing}
        if not plan.unplaced:  # otherwise nothing is written
            existing = plan.assignments


def change(state: State, data: st.DataObject) -> None:
    """Add, remove, shrink, grow or reorder something."""
    kind = data.draw(st.sampled_from(["host", "no host", "service", "no service", "card", "count"]))
    if kind == "host":
        name = data.draw(st.sampled_from(NAMES))
        if name not in state.hosts:
            state.hosts[name] = replace(data.draw(a_host(name)), open=True)
    elif kind == "no host" and state.hosts:
        name = data.draw(st.sampled_from(sorted(state.hosts)))
        del state.hosts[name]
        state.by_hand = [assignment for assignment in state.by_hand if assignment.host != name]
    elif kind == "service":
        name = data.draw(st.sampled_from(SERVICES[:6]))
        if name not in state.services:
            state.services[name] = data.draw(a_service(name, NAMES))
    elif kind == "no service" and state.services:
        # A name that looks like a second replica's would then be one.
        names = [name for name in sorted(state.services) if name != "s1-2"]
        if names:
            del state.services[data.draw(st.sampled_from(names))]
    elif kind == "card" and state.hosts:
        name = data.draw(st.sampled_from(sorted(state.hosts)))
        host = state.hosts[name]
        cards = frozenset(data.draw(st.sets(st.sampled_from(host.cards or (0,)), max_size=2)))
        state.hosts[name] = replace(host, excluded=cards)
    elif kind == "count" and state.services:
        name = data.draw(st.sampled_from(sorted(state.services)))
        service = state.services[name]
        if service.replicas is not None:
            count = service.replicas + data.draw(st.sampled_from([-2, -1, 1, 2]))
            state.services[name] = replace(service, replicas=max(0, count))
    state.hosts = dict(data.draw(st.permutations(list(state.hosts.items()))))
    state.services = dict(data.draw(st.permutations(list(state.services.items()))))


# What fits in principle


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
