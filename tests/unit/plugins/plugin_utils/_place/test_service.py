# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a spec may ask of the placement."""

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


def test_the_part_of_a_service_that_spans_hosts_takes_its_cards_on_this_host() -> None:
    cluster = {"leader": "h1", "rank": 0, "hosts": ["h1", "h2"]}
    placed = place([spec("a", 1), spec("big", list(range(4, 8)), cluster=cluster)], 8)
    assert cards_of(placed) == {"a": [0], "big": [4, 5, 6, 7]}
    assert placed[1]["cluster"] == cluster


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        ([spec("a", 1, state="running")], {}, ["a: state 'running'", "started, stopped, absent"]),
        ([spec("a", 0)], {}, ["a: cards is 0"]),
        ([spec("a", True)], {}, ["a: cards is True"]),
        ([spec("a", "two")], {}, ["a: cards is 'two'"]),
        ([pinned("a", [-1])], {}, ["a, cards: -1"]),
        ([pinned("a", [True])], {}, ["a, cards: True"]),
        ([pinned("a", [1, 1])], {}, ["a names card 1 twice"]),
        ([spec("a", 2, pinned_cards=[1])], {}, ["a takes 2 cards and names 1"]),
        ([{"name": "a"}], {}, ["a does not state how many cards"]),
        ("a", {}, ["list of services", "a string"]),
        (["Qwen3-14B"], {}, ["service 1", "a string"]),
    ],
)
def test_a_spec_that_cannot_be_placed(
    specs: Any, options: dict[str, Any], words: list[str]
) -> None:
    message = rejection(specs, 8, **options)
    assert [word for word in words if word not in message] == [], message
