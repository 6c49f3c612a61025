# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that services ask for, have, and are given."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place


def spec(name: str, cards: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "model": f"Model-{name}", "cards": cards, **more}


def pinned(name: str, cards: list[int], **more: Any) -> dict[str, Any]:
    return spec(name, len(cards), pinned_cards=cards, **more)


def rejection(*args: Any, **options: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        place(*args, **options)
    return str(caught.value)


def test_explicit_ports_are_reserved_before_automatic_ones() -> None:
    placed = place([spec("a", 1), spec("b", 1, port=8000), spec("c", 1, port="8002")], 8)
    assert [service["port"] for service in placed] == [8001, 8000, 8002]


def test_hccl_ports_belong_to_the_first_card_whoever_goes() -> None:
    both = place([spec("a", 4), spec("b", 2, port=8100)], 8)
    alone = place([pinned("b", [4, 5])], 8)
    assert both[1]["hccl_ports"] == alone[0]["hccl_ports"] == [61128, 61159]


def test_automatic_ports_skip_hccl_ports_also_of_cards_not_taken_yet() -> None:
    options = {"port_base": 20000, "hccl_port_base": 20001, "ephemeral_ports": []}
    first = place([spec("a", 1), spec("b", 1)], 2, **options)
    assert [service["port"] for service in first] == [20000, 20065]


def test_a_port_stays_unless_somebody_names_it_or_the_base_moves() -> None:
    def ports(requests: list[dict[str, Any]], **options: Any) -> dict[str, int]:
        now = {"b": {"cards": [1], "port": 8001}, "c": {"cards": [2], "port": 8002}}
        return {each["name"]: each["port"] for each in place(requests, 8, standing=now, **options)}

    b, c = spec("b", 1), spec("c", 1)
    assert ports([b, c]) == {"b": 8001, "c": 8002}
    assert ports([spec("new", 1), b, c]) == {"new": 8000, "b": 8001, "c": 8002}
    assert ports([spec("new", 1, port=8001), b, c]) == {"new": 8001, "b": 8000, "c": 8002}
    assert ports([b, c], port_base=9000) == {"b": 9000, "c": 9001}
    for wrong in ([], {"a": [1]}, {"a": {"cards": ["x"]}}):
        assert "standing" in rejection([b], 8, standing=wrong)


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        ([spec("a", 1, port=8100), spec("b", 1, port=8100)], {}, ["a and b", "port 8100"]),
        ([spec("a", 1, port=80)], {}, ["a: port 80", "root"]),
        ([spec("a", 1, port=65536)], {}, ["a: port 65536", "65535"]),
        ([spec("a", 1, port=True)], {}, ["a: port True"]),
        (
            [spec("a", 1), spec("b", 1, port=61001)],
            {},
            ["b: port 61001", "a's HCCL", "61000-61031"],
        ),
        ([spec("a", 1)], {"hccl_port_base": 60990}, ["a", "60990-61021", "ephemeral range 32768"]),
        ([pinned("a", [7])], {"hccl_port_base": 65400}, ["a", "65520", "Lower the base"]),
        ([spec("a", 1)], {"hccl_port_base": 65521}, ["hccl_port_base", "65520"]),
        ([spec("a", 1), spec("b", 1)], {"port_base": 65535}, ["b: no port is free"]),
        ([spec("a", 1)], {"hccl_port_count": 4}, ["hccl_port_count", "16"]),
        ([spec("a", 1)], {"ephemeral_ports": [5]}, ["ephemeral_ports", "[first, last]"]),
    ],
)
def test_ports_that_cannot_be_used(specs: Any, options: dict[str, Any], words: list[str]) -> None:
    message = rejection(specs, 8, **options)
    assert [word for word in words if word not in message] == [], message
