# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of every plan of a fleet, whatever the hosts and services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import Assignment
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.planner import plan_fleet
from hypothesis import given
from hypothesis import strategies as st

from .fleet_strategies import (
    NAMES,
    SERVICES,
    State,
    a_host,
    a_service,
    block_is_sound,
    check,
    few,
    fleets,
    replicas,
    usable,
)


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
