# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a fleet that have their cards together: where the plan puts them, and what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetPlan,
    FleetService,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.html import html
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.markdown import markdown
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.terminal import card_map
from hypothesis import given
from hypothesis import strategies as st

from . import test_views as views
from .fleet_strategies import few
from .fleets import NAMES, TWO, host, plan, service, where

FOUR = ("h1", "h2", "h3", "h4")
HOSTS = [host(name) for name in FOUR]


def part(name: str, share: float, on: Iterable[str] = FOUR, **more: Any) -> FleetService:
    return service(name, more.pop("cards", 1), on, part=share, **more)


def test_services_of_a_card_are_put_together() -> None:
    services = [part("a", 0.5), part("b", 0.3), part("c", 0.3), service("alone", 1, FOUR)]
    found = list(where(plan(HOSTS, services)).values())[0]
    assert found["a"] == found["b"]
    assert len({*map(tuple, found.values())}) == 3


def test_one_that_may_go_anywhere_follows_one_that_may_not() -> None:
    services = [part("any", 0.3), part("there", 0.3, ["h3"]), part("other", 0.3, ["h2"])]
    found = where(plan(HOSTS, services))
    together = [sorted(names) for names in found.values() if len(names) > 1]
    assert together in ([["any", "there"]], [["any", "other"]])


def test_one_of_each_on_every_host() -> None:
    services = [part("a", 0.3, replicas=None), part("b", 0.3, replicas=None)]
    assert where(plan(HOSTS, services)) == {name: {"a": [0], "b": [0]} for name in FOUR}


def test_replicas_are_on_different_hosts_as_others() -> None:
    services = [
        part("a", 0.4, replicas=3, spread_required=True),
        part("b", 0.4, replicas=4, spread_required=True),
        part("c", 0.4, replicas=2),
    ]
    found = where(plan(HOSTS, services))
    assert sum("b" in found[each] for each in FOUR) == 4
    assert sum("a" in found[each] for each in FOUR) == 3
    assert all(found[each]["a"] == found[each]["b"] for each in FOUR if "a" in found[each])


def test_what_has_to_spread_does_not_follow_what_need_not() -> None:
    services = [part("a", 0.1, NAMES, replicas=4), part("b", 0.3, NAMES, replicas=2)]
    services[1] = replace(services[1], spread_required=True)
    planned = plan(TWO, services)
    assert planned.unplaced == ()
    assert [each.host for each in planned.assignments if each.service == "b"] == ["h1", "h2"]


def test_what_exists_stays_and_what_is_added_joins_it() -> None:
    before = [Assignment("a", "h2", (5,)), Assignment("b", "h2", (5,))]
    services = [part("a", 0.3), part("b", 0.3), part("new", 0.3), part("late", 0.3)]
    planned = plan(HOSTS, services, before)
    found = where(planned)
    assert found["h2"]["a"] == found["h2"]["b"] == found["h2"]["late"] == [5]
    assert found["h2"].get("new") != [5]
    again = plan(HOSTS, services, planned.assignments)
    assert again.assignments == planned.assignments and again.moved == ()


def test_two_replicas_of_a_service_do_not_keep_one_card() -> None:
    before = [Assignment("a", "h2", (5,)), Assignment("a", "h2", (5,), name="a-2")]
    planned = plan([host("h2")], [part("a", 0.3, ["h2"], replicas=2)], before)
    assert len({each.cards for each in planned.assignments}) == 2


def test_parts_that_grew_are_taken_apart() -> None:
    before = [Assignment("a", "h2", (5,)), Assignment("b", "h2", (5,))]
    planned = plan(HOSTS, [part("a", 0.6), part("b", 0.6)], before)
    assert Assignment("a", "h2", (5,)) in planned.assignments
    assert [(move.service, bool(move.after)) for move in planned.moved] == [("b", True)]


def test_one_that_shares_no_longer_leaves() -> None:
    before = [Assignment("a", "h2", (5,)), Assignment("b", "h2", (5,))]
    planned = plan(HOSTS, [part("a", 0.3), service("b", 1, FOUR)], before)
    assert len({(each.host, each.cards) for each in planned.assignments}) == 2


def test_a_full_fleet_has_room_for_what_shares() -> None:
    full = [service(f"x{n}", 1, NAMES) for n in range(15)]
    planned = plan(TWO, [*full, part("a", 0.3, NAMES), part("b", 0.3, NAMES)])
    assert planned.unplaced == ()
    planned = plan(TWO, [*full, part("a", 0.6, NAMES), part("b", 0.6, NAMES)])
    assert len(planned.unplaced) == 1


def sound(services: list[FleetService], planned: FleetPlan) -> None:
    known = {each.name: each for each in services}
    users: dict[tuple[str, int], list[Assignment]] = {}
    for each in planned.assignments:
        for card in each.cards:
            users.setdefault((each.host, card), []).append(each)
    for together in users.values():
        if len(together) > 1:
            assert len({each.cards for each in together}) == 1
            assert len({each.service for each in together}) == len(together)
            parts = [known[each.service].part for each in together]
            assert all(parts) and sum(parts) <= 0.95 + 1e-9
    for name, asked in known.items():
        hosts = [each.host for each in planned.assignments if each.service == name]
        missing = sum(each.service == name for each in planned.unplaced)
        if asked.replicas is not None:
            assert len(hosts) + missing == asked.replicas
        if asked.spread_required or asked.replicas is None:
            assert len(set(hosts)) == len(hosts)


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.3, 0.45, 0.6]),
        st.sampled_from([1, 1, 2, 8]),
        st.sampled_from([1, 1, 2, 4, None]),
        st.booleans(),
        st.sampled_from([FOUR, FOUR[:2], FOUR[3:]]),
    ),
    max_size=10,
)


@few
@given(REQUESTS, REQUESTS)
def test_any_plan_is_sound_and_stays_as_it_is(first: list[Any], second: list[Any]) -> None:
    existing: tuple[Assignment, ...] = ()
    for requests in (first, second):
        services = [
            part(f"s{n}", share, on, cards=cards, replicas=replicas, spread_required=spread)
            for n, (share, cards, replicas, spread, on) in enumerate(requests)
        ]
        planned = plan(HOSTS, services, existing)
        sound(services, planned)
        again = plan(HOSTS, services, planned.assignments)
        sound(services, again)
        if not planned.unplaced:
            assert again.assignments == planned.assignments
        existing = planned.assignments


def shown() -> dict[str, Any]:
    embed = views.service("embed", 0, part=0.3, port=8000)
    rerank = views.service("rerank", 0, part=0.4, port=8001)
    return views.plan(
        views.host("a", embed, rerank, views.service("chat", 1, 2, part=0.95)),
        changes=[views.change("rerank", None, views.assignment("a", 0))],
    )


def test_the_map_has_one_letter_for_a_card_and_all_names() -> None:
    lines = card_map(shown(), 100)
    assert lines[1].startswith("a     ABB. ....  A embed (0.3 of the memory)")
    text = "\n".join(lines)
    assert "A +rerank (0.4 of the memory)" in text and "B chat" in text
    assert "conflict" not in text and "3 in use, 5 free" in text


def test_pages_name_all_services_of_a_card() -> None:
    page = views.Page(html(shown()))
    text = " ".join(page.texts)
    assert "embed, rerank" in text and "shared by 2" in text
    assert "rerank: added, 0.4 of the memory, 32768 \u25cf measured, port 8001" in text
    rows = [line for line in markdown(shown()).splitlines() if "of the memory" in line]
    assert len(rows) == 2 and "conflict" not in markdown(shown())


def test_parts_that_do_not_fit_are_a_conflict() -> None:
    both = [views.service(name, 0, part=0.6) for name in ("x", "y")]
    assert "! conflict" in "\n".join(card_map(views.plan(views.host("a", *both))))
