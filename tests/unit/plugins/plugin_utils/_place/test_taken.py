# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that have their cards together."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from hypothesis import given
from hypothesis import strategies as st

from .test_placement import cards_of, pinned, rejection, spec

WAY = (
    "Name another card for one of them, or give one of them a number of cards instead. To have both"
    " on it, write the same cards for both and a gpu_memory_utilization for each, which add up to"
    " 0.95 at most."
)


def part(name: str, utilization: float, cards: Any = 1, **more: Any) -> dict[str, Any]:
    return spec(name, cards, share=True, gpu_memory_utilization=utilization, **more)


def named(name: str, utilization: float, cards: list[int], **more: Any) -> dict[str, Any]:
    return pinned(name, cards, gpu_memory_utilization=utilization, **more)


def test_the_first_card_with_room_is_taken() -> None:
    specs = [part("a", 0.6), spec("x", 1), part("b", 0.3), part("c", 0.3), part("d", 0.05)]
    assert cards_of(place(specs, 8)) == {"a": [0], "x": [1], "b": [0], "c": [2], "d": [0]}


def test_cards_of_a_service_that_does_not_share_are_not_taken() -> None:
    specs = [spec("x", 1, gpu_memory_utilization=0.1), part("a", 0.3)]
    assert cards_of(place(specs, 8)) == {"x": [0], "a": [1]}


def test_the_same_cards_by_number_are_shared_as_far_as_the_parts_add_up() -> None:
    specs = [named("a", 0.3, [0]), named("b", 0.3, [0]), named("c", 0.35, [0])]
    assert cards_of(place(specs, 8)) == {"a": [0], "b": [0], "c": [0]}
    assert rejection([*specs, named("d", 0.01, [0])], 8) == (
        "services a, b, c and d all want card 0 and take 0.3 + 0.3 + 0.35 + 0.01 of its memory"
        f" together (gpu_memory_utilization), of which 0.95 can be shared. {WAY}"
    )


def test_services_that_state_no_part_have_their_card_alone() -> None:
    assert "both want card 0 and take 1 + 1 of its memory" in rejection(
        [pinned("a", [0]), pinned("b", [0])], 8
    )


def test_a_service_that_does_not_want_to_share() -> None:
    specs = [named("a", 0.3, [0], share=True), named("b", 0.3, [0], share=False)]
    assert rejection(specs, 8).startswith(
        "services a and b both want card 0, and b has share: false. Take that out, or name another"
    )


def test_all_cards_are_shared_or_none() -> None:
    specs = [named("a", 0.3, [0, 1], share=True), named("b", 0.3, [1], share=True)]
    assert rejection(specs, 8) == (
        "services a and b both want card 1, and a has the cards 0-1, b 1: services share all of their"
        f" cards or none. {WAY}"
    )
    assert cards_of(place([part("a", 0.3, 2), part("b", 0.3, 2), part("c", 0.3)], 8)) == {
        "a": [0, 1],
        "b": [0, 1],
        "c": [2],
    }


def test_no_room_names_what_the_shared_cards_have() -> None:
    assert "; shared: 0 (a 0.6)" in rejection([part("a", 0.6), part("b", 0.6)], 1)


def test_a_part_is_needed_to_share() -> None:
    assert "has share: true and no gpu_memory_utilization" in rejection(
        [spec("a", 1, share=True)], 8
    )


def test_nobody_moves_for_a_service_that_is_added_or_gone() -> None:
    first = [part("a", 0.3), part("b", 0.3), part("c", 0.3)]
    before = place(first, 8)
    standing = {
        each["name"]: {
            "cards": each["cards"],
            "port": each["port"],
            "hccl_port": each["hccl_ports"][0],
        }
        for each in before
    }
    after = place([part("new", 0.3), part("b", 0.3), part("c", 0.3)], 8, standing=standing)
    kept = ("cards", "port", "hccl_ports")
    assert [{key: each[key] for key in kept} for each in after[1:]] == [
        {key: each[key] for key in kept} for each in before[1:]
    ]
    assert after[0]["cards"] == [0]


def test_a_part_that_grew_beyond_the_card_moves_one_of_them() -> None:
    standing = {"a": {"cards": [0], "runs": True}, "b": {"cards": [0], "runs": True}}
    placed = place([part("a", 0.6), part("b", 0.6)], 8, standing=standing)
    assert cards_of(placed) == {"a": [0], "b": [1]}


def test_a_card_that_is_not_available_gets_no_second_service() -> None:
    standing = {"a": {"cards": [0], "runs": True}}
    placed = place(
        [part("a", 0.3), part("b", 0.3)], 8, standing=standing, unavailable={0: "health Alarm"}
    )
    assert cards_of(placed) == {"a": [0], "b": [1]}


SERVICES = st.lists(
    st.tuples(st.sampled_from([0.1, 0.25, 0.45, 0.5, 0.9]), st.sampled_from([1, 2]), st.booleans()),
    min_size=1,
    max_size=8,
)


@given(SERVICES)
def test_cards_are_equal_or_apart_and_never_more_than_full(
    services: list[tuple[float, int, bool]],
) -> None:
    specs = [
        spec(f"s{n}", count, gpu_memory_utilization=share, **({"share": True} if shares else {}))
        for n, (share, count, shares) in enumerate(services)
    ]
    placed = place(specs, 16)
    ports = [port for each in placed for port in range(*each["hccl_ports"])]
    assert len(ports) == len(set(ports))
    for one in placed:
        together = [each for each in placed if set(each["cards"]) & set(one["cards"])]
        assert all(each["cards"] == one["cards"] for each in together)
        if len(together) > 1:
            assert all(each["share"] for each in together)
            assert sum(each["gpu_memory_utilization"] for each in together) <= 0.95 + 1e-9


@pytest.mark.parametrize("wrong", ["yes", 1])
def test_share_is_a_yes_or_no(wrong: object) -> None:
    assert "write true or false" in rejection(
        [spec("a", 1, share=wrong, gpu_memory_utilization=0.3)], 8
    )


def test_as_many_as_have_ports_for_hccl_share_a_card() -> None:
    specs = [part(f"s{number}", 0.05) for number in range(10)]
    placed = place(specs[:9], 8)
    assert {each["cards"][0] for each in placed} == {0}
    assert rejection(specs, 8) == (
        "service s9: the HCCL ports 65608-65639 of card 0, which has 9 other services before this"
        " one, go beyond what HCCL takes (a base of at most 65520, ports up to 65535). Let fewer"
        " services have the card together, or lower the base of the HCCL ports, now 61000."
    )
    # The last cards of a host of 16 have one less.
    last = [{**spec, "pinned_cards": [14]} for spec in specs]
    assert len(place(last[:8], 16)) == 8
    assert "of card 14, which has 8 other services" in rejection(last[:9], 16)
