# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cards of a host: read, excluded, unavailable, on their boards."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place


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


def test_device_nodes_follow_the_physical_id() -> None:
    host = [{"logic_id": n, "phy_id": n + 4, "npu_id": 24 + n} for n in range(4)]
    assert place([spec("a", 2)], host)[0]["devices"] == ["/dev/davinci4", "/dev/davinci5"]


def test_without_any_physical_id_it_is_the_logic_id() -> None:
    host = [{"logic_id": n, "phy_id": None} for n in range(2)]
    assert place([spec("a", 1)], host)[0]["devices"] == ["/dev/davinci0"]


def test_a_card_that_is_excluded_and_gone_is_no_error() -> None:
    assert cards_of(place([spec("a", 1)], [1, 2], excluded=[0])) == {"a": [1]}


def test_an_unhealthy_card_is_left_out_and_the_others_keep_their_numbers() -> None:
    unhealthy = {"3": "health Alarm"}
    placed = place([spec("a", 4), spec("b", 2), spec("c", 1)], 8, unavailable=unhealthy)
    assert cards_of(placed) == {"a": [4, 5, 6, 7], "b": [0, 1], "c": [2]}
    text = rejection([pinned("a", [3])], 8, unavailable=unhealthy)
    assert "service a wants card 3, which is not available: health Alarm." in text
    gone = [card for card in range(8) if card != 3]
    assert rejection([pinned("a", [3])], gone, unavailable=unhealthy) == text, (
        "also if its ids are unknown"
    )
    text = rejection([spec("a", 8)], gone, unavailable=unhealthy)
    assert "the host has the cards 0-7; not available: card 3, health Alarm" in text
    text = rejection([spec("a", 4), spec("b", 4)], 8, unavailable=unhealthy)
    assert "not available: card 3, health Alarm" in text
    assert "a mapping" in rejection([], 8, unavailable=[3])


def dies(*npus: int) -> list[dict[str, int]]:
    """Dies of these boards, with logic ids that have closed up."""
    return [{"logic_id": n, "phy_id": n, "npu_id": npu} for n, npu in enumerate(npus)]


def test_a_pair_is_one_board_also_where_a_die_is_gone() -> None:
    host = dies(0, 0, 1, 2, 2, 3, 3, 4, 4)
    placed = place([spec("a", 2), spec("b", 2), spec("c", 1), spec("d", 3)], host, block_unit=2)
    assert cards_of(placed) == {"a": [0, 1], "b": [3, 4], "c": [2], "d": [5, 6, 7]}
    assert cards_of(place([spec("four", 4)], host, block_unit=2)) == {"four": [3, 4, 5, 6]}


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ([{"logic_id": None, "npu_id": 5}], ["NPU 5", "no logic id", "npu-smi info -m"]),
        (
            [{"logic_id": 0, "phy_id": 4}, {"logic_id": 1, "npu_id": 7}],
            ["NPU 7", "no physical id", "/dev/davinciN"],
        ),
        ([{"logic_id": 0}, {"logic_id": 0}], ["logic id 0", "twice"]),
        ([{"logic_id": 0, "phy_id": 1}, {"logic_id": 1, "phy_id": 1}], ["physical id 1", "twice"]),
        ([0, 0], ["0 listed twice"]),
        ([0, True], ["True is not a card id"]),
        (2147483648, ["cannot have 2147483648 cards"]),
        ([0, 2147483648], ["2147483648 is not a card id"]),
        ([0] * 5000, ["a list of 5000"]),
        ([{"logic_id": 0}, 1], ["mixed"]),
        (True, ["a boolean"]),
        (-1, ["-1"]),
        ("eight", ["a string"]),
    ],
)
def test_a_host_that_cannot_be_read_is_rejected(cards: Any, words: list[str]) -> None:
    message = rejection([spec("a", 1)], cards)
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        ([spec("a", 1)], {"excluded": 3}, ["excluded cards", "a number"]),
        ([spec("a", 1)], {"block_unit": 3}, ["block_unit", "power of two"]),
    ],
)
def test_options_of_a_host_that_cannot_be_read(
    specs: Any, options: dict[str, Any], words: list[str]
) -> None:
    message = rejection(specs, 8, **options)
    assert [word for word in words if word not in message] == [], message
