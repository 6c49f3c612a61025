# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is reported of services without room."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
    FleetService,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.result import unplaced_problems

from .fleets import A2, A2_32, EXACT, NAMES, PLAN, TWO, host, plan, reason, service, where


def test_all_that_does_not_fit_is_reported_at_once_and_priority_says_what_that_is() -> None:
    services = [service(name, 4, NAMES) for name in "abcde"]
    services += [service("late", 8, NAMES, priority=1), service("none", 4, ["h9"])]
    planned = plan(TWO, services)
    left = [each.service for each in planned.unplaced]
    assert left == ["c", "d", "e", "none"]
    assert len(unplaced_problems(planned.unplaced)) == 4
    assert "has no candidate host" in planned.unplaced[-1].reason
    assert all(each.largest_free == 0 for each in planned.unplaced)
    assert not any(each.repack_helps for each in planned.unplaced)
    assert "No other arrangement makes room. Add a host" in planned.unplaced[0].reason


def test_priority_does_not_keep_out_what_would_fit() -> None:
    services = [service("small", 1, NAMES, priority=9, replicas=2)]
    services += [service("tall", 8, NAMES, priority=0)]
    planned = plan(TWO, services)
    assert not planned.unplaced


def test_two_without_room_that_share_some_candidates_are_checked_together() -> None:
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
    assert "cannot provide that even when empty: h1 has the cards 0-7, excluded 2, 6" in reason(
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


@pytest.mark.parametrize(
    ("hosts", "services", "text"),
    [
        ([host("h1", [0, -1])], [], "host h1: -1 is not a card id"),
        (TWO, [service("a", 1, NAMES, replicas=-1)], "service a: replicas is -1"),
        (TWO, [service("a", 1, NAMES, replicas=10**9)], "service a: replicas is 1000000000"),
        (TWO, [service("a", 2, NAMES, pinned=(1, 1))], "service a names the cards 1, 1"),
    ],
)
def test_contradictions_are_rejected(
    hosts: list[FleetHost], services: list[FleetService], text: str
) -> None:
    with pytest.raises(AscendError, match=text):
        plan(hosts, services)
