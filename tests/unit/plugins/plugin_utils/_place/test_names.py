# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of services."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.names import account_name


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


@pytest.mark.parametrize(
    ("service", "user"),
    [
        ("chat", "vllm-chat"),
        ("my_chat-2", "vllm-my_chat-2"),
        ("x" * 26, "vllm-" + "x" * 26),
        ("qwen2.5-7b", "vllm-qwen2-5-7b-5f5e975c"),
        ("Chat", "vllm-chat-460b3a7d"),
    ],
)
def test_a_service_has_a_user_of_a_name_that_accounts_can_have(service: str, user: str) -> None:
    assert account_name(service) == user


def test_services_of_different_names_have_different_users() -> None:
    names = [
        "chat",
        "Chat",
        "c.hat",
        "c-hat",
        "x" * 27,
        "x" * 63,
        "x" * 62 + "y",
        "a" * 17 + ".",
        "a." * 9,
    ]
    users = [account_name(name) for name in names]
    assert len(set(users)) == len(names)
    # useradd of Debian 12 and RHEL takes such; systemd reads longer ones and dots as errors.
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", user) for user in users)
