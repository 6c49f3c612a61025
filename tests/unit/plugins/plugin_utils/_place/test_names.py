# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of services."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place


def spec(name: str, cards: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "model": f"Model-{name}", "cards": cards, **more}


def rejection(*args: Any, **options: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        place(*args, **options)
    return str(caught.value)


def test_a_model_name_becomes_a_slug_and_a_given_name_stays() -> None:
    placed = place(
        [{"name": "Qwen2.5 VL/7B", "model": "Qwen2.5 VL/7B", "cards": 1}, spec("Chat_1", 1)], 8
    )
    assert [service["name"] for service in placed] == ["qwen2.5-vl-7b", "Chat_1"]


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        ([spec("a", 1), spec("a", 1)], {}, ["1 and 2", "named a", "`name`"]),
        (
            [{"name": "M 1", "model": "M 1", "cards": 1}, spec("m-1", 1)],
            {},
            ["1 and 2", "named m-1"],
        ),
        ([spec("a", 1), {"name": "a", "state": "absent"}], {}, ["1 and 2", "named a"]),
        ([{"model": "M", "cards": 1}], {}, ["no name"]),
        ([spec("my chat", 1)], {}, ["my chat", "Write name: my-chat"]),
        ([spec("chat\n", 1)], {}, ["Write name: chat"]),
        ([spec("a%i", 1)], {}, ["Write name: a-i"]),
        ([spec("a@b", 1)], {}, ["Write name: a-b"]),
        ([spec("../a", 1)], {}, ["Write name: a"]),
        ([spec("é", 1)], {}, ["another `name`"]),
        ([spec("x" * 64, 1)], {}, ["64 characters", "63"]),
        ([{"name": 7, "cards": 1}], {}, ["quotes"]),
    ],
)
def test_a_name_that_cannot_be_used(specs: Any, options: dict[str, Any], words: list[str]) -> None:
    message = rejection(specs, 8, **options)
    assert [word for word in words if word not in message] == [], message
