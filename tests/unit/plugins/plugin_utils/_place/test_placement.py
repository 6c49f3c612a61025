# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where services are placed on a host, and what is rejected with which words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from hypothesis import given, settings
from hypothesis import strategies as st


def spec(name: str, cards: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "model": f"Model-{name}", "cards": cards, **more}


def pinned(name: str, cards: list[int], **more: Any) -> dict[str, Any]:
    return spec(name, len(cards), pinned_cards=cards, **more)


def cards_of(placed: list[dict[str, Any]]) -> dict[str, list[int]]:
    return {service["name"]: service["cards"] for service in placed}


def rejection(*args: Any, **options: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        place(*args, **options)
    return str(caught.value)


def test_blocks_are_aligned_and_taken_in_list_order() -> None:
    placed = place([spec("a", 1), spec("b", 4), spec("c", 2), spec("d", 1)], 8)
    assert cards_of(placed) == {"a": [0], "b": [4, 5, 6, 7], "c": [2, 3], "d": [1]}


def test_other_counts_are_contiguous() -> None:
    assert cards_of(place([spec("a", 1), spec("b", 3)], 8))["b"] == [1, 2, 3]


def test_a_block_does_not_span_a_gap_in_the_ids() -> None:
    assert cards_of(place([spec("a", 3)], [0, 1, 3, 4, 5])) == {"a": [3, 4, 5]}


def test_pinned_cards_are_not_taken_by_a_service_before_them() -> None:
    placed = place([spec("a", 2), pinned("b", [1, 0])], 8)
    assert cards_of(placed) == {"a": [2, 3], "b": [0, 1]}


def test_pinned_cards_need_no_alignment() -> None:
    assert cards_of(place([pinned("b", [6, 1])], 8)) == {"b": [1, 6]}


def test_dies_of_one_card_stay_together() -> None:
    specs = [spec("a", 1), spec("b", 3)]
    assert cards_of(place(specs, 16, block_unit=2))["b"] == [2, 3, 4]


def test_stopped_keeps_and_absent_gives_up() -> None:
    placed = place(
        [
            spec("a", 1, state="stopped"),
            {"name": "gone", "state": "absent", "cards": 0, "port": 8001, "env": {"A": 1}},
            spec("c", 1),
        ],
        8,
    )
    assert placed[0]["cards"] == [0] and placed[0]["port"] == 8000
    assert placed[1] == {
        "name": "gone",
        "state": "absent",
        "cards": [],
        "devices": [],
        "env": {"A": 1},
    }
    assert placed[2]["cards"] == [1] and placed[2]["port"] == 8001


def test_other_keys_pass_through_and_the_input_stays_as_it_was() -> None:
    specs = [spec("a", "2", env={"X": 1}, args={"seed": 1}, warnings=["w"])]
    before = copy.deepcopy(specs)
    placed = place(specs, "8")[0]
    assert specs == before
    assert placed["cards"] == [0, 1]
    assert {key: placed[key] for key in ("env", "args", "warnings")} == {
        "env": {"X": 1},
        "args": {"seed": 1},
        "warnings": ["w"],
    }


def test_placing_what_was_placed_changes_nothing() -> None:
    once = place([spec("a", 2), spec("b", 4, port=9000), pinned("c", [2])], 8)
    assert place(once, 8) == once


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        ([pinned("a", [3]), pinned("b", [2, 3])], {}, ["a and b", "card 3"]),
        ([pinned("a", [9])], {}, ["a wants card 9", "the cards 0-7"]),
        ([pinned("a", [3])], {"excluded": [3]}, ["card 3", "excluded"]),
        ([spec("a", 16)], {}, ["a needs 16 cards", "has 8", "cannot run"]),
        ([spec("a", 8)], {"excluded": [3]}, ["a needs 8", "even", "3 are excluded"]),
        (
            [spec("a", 1), spec("b", 8)],
            {},
            [
                "b needs 8 cards",
                "Free cards: 1-7",
                "run among them has 7",
                "aligned block 4",
                "a: 0",
            ],
        ),
        (
            [pinned("a", [0, 7]), spec("b", 4), spec("c", 4)],
            {"excluded": [6]},
            [
                "b needs 4",
                "starts at a multiple of 4",
                "1-5",
                "has 5",
                "aligned block 2",
                "a: 0, 7",
                "excluded: 6",
            ],
        ),
    ],
)
def test_cards_that_cannot_be_had(specs: Any, options: dict[str, Any], words: list[str]) -> None:
    message = rejection(specs, 8, **options)
    assert [word for word in words if word not in message] == [], message


# Properties, over hosts with gaps and lists of any requests.

HOSTS = st.sampled_from([8, 16, 2, [0, 3, 4, 7], [0, 1, 2, 4, 5, 6, 7]])


@st.composite
def requests(draw: st.DrawFn) -> list[dict[str, Any]]:
    result = []
    for number in range(draw(st.integers(1, 7))):
        one: dict[str, Any] = spec(f"s{number}", draw(st.sampled_from([1, 1, 2, 3, 4, 5, 8])))
        if draw(st.integers(0, 4)) == 0:
            chosen = draw(st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True))
            one = pinned(f"s{number}", chosen)
        if draw(st.integers(0, 3)) == 0:
            one["port"] = draw(st.integers(8000, 8004))
        one["state"] = draw(st.sampled_from(["started", "started", "stopped", "absent"]))
        result.append(one)
    return result


def ids(host: Any) -> list[int]:
    return list(range(host)) if isinstance(host, int) else host


def try_place(specs: Any, host: Any, **options: Any) -> list[dict[str, Any]] | str:
    try:
        return place(specs, host, **options)
    except AnsibleFilterError as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(requests(), HOSTS, st.lists(st.integers(0, 7), max_size=2), st.sampled_from([1, 2]))
def test_whatever_is_placed_is_disjoint_aligned_and_on_the_host(
    specs: list[dict[str, Any]], host: Any, excluded: list[int], unit: int
) -> None:
    placed = try_place(specs, host, excluded=excluded, block_unit=unit)
    if isinstance(placed, str):
        return
    present = [service for service in placed if service.get("state") != "absent"]
    taken = [card for service in present for card in service["cards"]]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(ids(host)) - set(excluded)
    ports = [service["port"] for service in present]
    spans = [range(a, b + 1) for a, b in (service["hccl_ports"] for service in present)]
    every = ports + [port for span in spans for port in span]
    assert len(every) == len(set(every))
    assert max(every, default=0) <= 65535
    assert not [port for span in spans for port in span if 32768 <= port <= 60999]
    for request, service in zip(specs, placed, strict=True):
        if service.get("state") == "absent":
            continue
        cards = service["cards"]
        if "pinned_cards" in request:
            assert cards == sorted(request["pinned_cards"])
            continue
        assert cards == list(range(cards[0], cards[0] + request["cards"]))
        if request["cards"] in (2, 4, 8):
            assert cards[0] % request["cards"] == 0
        if request["cards"] >= 2:
            assert cards[0] % unit == 0
        if "port" in request:
            assert service["port"] == request["port"]


@settings(max_examples=150, deadline=None)
@given(requests(), HOSTS, st.sampled_from([1, 2, 3, 4, 8]))
def test_an_appended_service_moves_none_and_is_rejected_only_without_a_free_block(
    specs: list[dict[str, Any]], host: Any, count: int
) -> None:
    before = try_place(specs, host)
    if isinstance(before, str):
        return
    after = try_place([*specs, spec("new", count)], host)
    taken = {card for service in before for card in service["cards"]}
    step = count if count in (2, 4, 8) else 1
    blocks = [
        first
        for first in range(0, 16, step)
        if set(range(first, first + count)) <= set(ids(host)) - taken
    ]
    if isinstance(after, str):
        assert not blocks, after
    else:
        assert after[:-1] == before
        assert after[-1]["cards"][0] == blocks[0]


# --- cards that cannot be used, and services that run ------------------------------------------


def existing(**cards: list[int]) -> dict[str, Any]:
    return {name: {"cards": ids, "port": None} for name, ids in cards.items()}


def test_what_exists_stays_when_something_before_it_goes() -> None:
    requests = [spec("a", 1), spec("b", 2), spec("c", 1)]
    now = existing(a=[5], b=[6, 7], gone=[0])
    assert cards_of(place(requests, 8, standing=now)) == {"a": [5], "b": [6, 7], "c": [0]}
    assert cards_of(place(requests, 8)) == {"a": [0], "b": [2, 3], "c": [1]}


def test_what_exists_moves_for_a_pin_a_new_size_an_unhealthy_card_and_to_make_room() -> None:
    now = existing(a=[5], b=[6, 7])
    requests = [spec("a", 1), spec("b", 2)]
    assert cards_of(place([*requests, pinned("p", [5])], 8, standing=now))["a"] == [0]
    assert cards_of(place([spec("a", 2)], 8, standing=now)) == {"a": [0, 1]}
    assert cards_of(place(requests, 8, standing=now, unavailable={7: "unhealthy"}))["b"] == [0, 1]
    assert cards_of(place(requests, 8, standing=now, excluded=[5]))["a"] == [0]
    now = existing(a=[0], b=[4, 5])
    tight = place([*requests, spec("c", 4)], 8, standing=now)
    assert cards_of(tight) == {"a": [0], "b": [2, 3], "c": [4, 5, 6, 7]}
    assert "needs 8 cards" in rejection([*requests, spec("c", 8)], 8, standing=now)


def test_what_runs_on_an_unavailable_card_keeps_it_also_when_others_must_move() -> None:
    now = {"a": {"cards": [1], "runs": True}, "b": {"cards": [2], "runs": False}}
    gone = {1: "health Alarm", 2: "health Alarm"}
    placed = place([spec("a", 1), spec("b", 1)], 4, unavailable=gone, standing=now)
    assert cards_of(placed) == {"a": [1], "b": [0]}
    # Everything is placed again, for b's old card is in the way of c.
    requests = [pinned("a", [1]), spec("b", 1), spec("c", 2)]
    again = place(requests, 4, unavailable={1: "held"}, standing={**now, "b": {"cards": [3]}})
    assert cards_of(again) == {"a": [1], "b": [0], "c": [2, 3]}
    requests[0] = spec("a", 1)
    assert cards_of(
        place(requests, 4, unavailable={1: "held"}, standing={**now, "b": {"cards": [3]}})
    )["a"] == [1]
    assert "card 2, which is not available" in rejection(
        [spec("a", 1), pinned("b", [2])], 4, unavailable=gone, standing=now
    )
