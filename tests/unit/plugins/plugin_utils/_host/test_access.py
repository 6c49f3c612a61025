# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may read and enter what, by owner, groups, mode and ACL."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.access import (
    ENTER,
    READ,
    Reader,
    change,
)

USER = {"exists": True, "uid": 998, "groups": ["vllm", "HwHiAiUser"], "gids": [998, 999]}
FACTS = {"users": {"vllm": USER, "new": {"exists": False, "uid": None, "groups": [], "gids": []}}}


def step(mode: str, uid: int = 0, gid: int = 0, group: str = "root", **more: Any) -> dict[str, Any]:
    return {"mode": mode, "uid": uid, "gid": gid, "group": group, "acl": None, **more}


def reader(name: str = "vllm", *groups: str) -> Reader:
    return Reader.of(name, FACTS, groups)


@pytest.mark.parametrize(
    ("what", "may"),
    [
        (step("0755"), True),
        (step("0750"), False),
        (step("0750", gid=999, group="HwHiAiUser"), True),
        (step("0705", gid=998, group="vllm"), False),  # the group's bits count, not the others'
        (step("0700", uid=998), True),
        (step("0077", uid=998), False),  # an owner's bits count alone
        (step("0754"), False),
        (step("1777"), True),
    ],
)
def test_the_bits_of_the_class_that_a_user_is_in_count(what: dict[str, Any], may: bool) -> None:
    assert reader().may(what, READ | ENTER) is may


@pytest.mark.parametrize(
    ("acl", "may"),
    [
        ([("user", 998, 5), ("mask", None, 7)], True),
        ([("user", 998, 5), ("mask", None, 4)], False),
        ([("user", 998, 0), ("mask", None, 7)], False),
        ([("user", 1000, 7), ("mask", None, 7)], False),
        ([("group", 999, 5), ("mask", None, 5)], True),
        ([("group", 999, 1), ("group", 998, 5), ("mask", None, 7)], True),
        ([("group", 999, 4), ("group", 998, 1), ("mask", None, 7)], False),
    ],
)
def test_an_acl_counts_before_the_bits_of_others(acl: list[Any], may: bool) -> None:
    entries = [{"kind": kind, "id": number, "perms": perms} for kind, number, perms in acl]
    entries.append({"kind": "owning_group", "id": None, "perms": 0})
    assert reader().may(step("0770", acl=entries), READ | ENTER) is may


def test_the_mask_does_not_limit_others() -> None:
    masked = [{"kind": "mask", "id": None, "perms": 0}]
    assert reader().may(step("0705", acl=masked), READ | ENTER)


def test_an_account_that_is_not_there_yet_is_an_other_with_the_groups_that_it_will_get() -> None:
    drivers = step("0750", gid=999, group="HwHiAiUser")
    assert not reader("new").may(drivers, READ)
    assert reader("new", "HwHiAiUser").may(drivers, READ)
    assert not reader("new", "HwHiAiUser").may(step("0700", uid=998), READ)
    assert reader("unread").may(step("0755"), READ)


@pytest.mark.parametrize(
    ("what", "below", "command"),
    [
        (step("0700"), False, "chmod o+x '/da ta'"),
        (step("0700", gid=999), False, "chmod g+x '/da ta'"),
        (step("0000", uid=998), False, "chmod u+x '/da ta'"),
        (step("0600"), True, "chmod -R o+rX '/da ta'"),
    ],
)
def test_the_command_changes_the_bits_that_count(
    what: dict[str, Any], below: bool, command: str
) -> None:
    assert change(reader(), what, ENTER, ["/da ta"], below) == command
