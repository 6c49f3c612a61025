# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any fleets, and what holds of a sound plan of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
    FleetPlan,
    FleetService,
)
from hypothesis import settings
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
