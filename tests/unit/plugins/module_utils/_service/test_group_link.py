# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol between members: who is let in, who is refused, and what is read afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service.group_link import (
    LINE,
    Link,
    Message,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service.group_states import (
    GroupError,
)

from .group_members import config

KEY = b"a secret of the group"
UNREADABLE = "sends what is not this protocol"


def pair(size: int = 2, secret: bytes = KEY, rank: int = 1, **changes: Any) -> tuple[Link, Link]:
    """The leader's end of a connection and that of a member, which may differ in its settings."""
    leader = Link(config(0, size), KEY, 1, "a" * 64)
    return leader, Link(config(rank, max(size, rank + 1), **changes), secret, 0, "b" * 64)


def carry(sender: Link, receiver: Link) -> list[Message]:
    data = bytes(sender.out)
    sender.out.clear()
    return receiver.receive(data)


def shake(leader: Link, member: Link) -> None:
    carry(leader, member)
    carry(member, leader)
    carry(leader, member)


def connected(size: int = 2) -> tuple[Link, Link]:
    leader, member = pair(size)
    shake(leader, member)
    assert leader.open and member.open
    return leader, member


def test_members_who_share_the_secret_understand_each_other() -> None:
    leader, member = connected(3)
    member.send("ready 0")
    member.send("ended 1 1 137 20")
    assert carry(member, leader) == [
        Message("ready", (0,)),
        Message("ended", (1, 1, 137, 20)),
    ]
    leader.send("waiting 1 2")
    data = bytes(leader.out)
    parts = [member.receive(data[number : number + 1]) for number in range(len(data))]
    assert [message for part in parts for message in part] == [Message("waiting", (1, 2))]


@pytest.mark.parametrize(
    "changes, theirs, ours",
    [
        ({"secret": b"another"}, "has another secret", "another secret than the leader"),
        ({"digest": "d2"}, "has other settings", "other settings than the leader"),
        (
            {"service": "other"},
            "is a member of another service",
            "another service than the leader",
        ),
        ({"rank": 2}, "has the rank of another host", "the rank of another host"),
    ],
)
def test_who_does_not_belong_to_the_group_is_refused_and_told_why(
    changes: dict[str, Any], theirs: str, ours: str
) -> None:
    leader, member = pair(**changes)
    carry(leader, member)
    with pytest.raises(GroupError) as refused:
        carry(member, leader)
    assert str(refused.value) == f"127.0.0.2 (npu-02) {theirs}"
    assert not leader.open
    with pytest.raises(GroupError) as told:
        carry(leader, member)
    assert str(told.value) == f"the leader npu-01 refuses: {ours}"
    assert not member.open


def test_another_version_of_the_protocol_is_named() -> None:
    leader, member = pair()
    with pytest.raises(GroupError, match="uses version 2 of the protocol, this host 1"):
        member.receive(b"inferops-group 2 what else version 2 may say\n")
    with pytest.raises(GroupError, match=r"127.0.0.2 \(npu-02\) uses another version"):
        leader.receive(b"inferops-group 2 chat 1\n")
    assert leader.out.endswith(b"refuse version\n")


def test_a_leader_without_the_secret_gets_no_member() -> None:
    leader, member = pair()
    carry(leader, member)
    with pytest.raises(GroupError, match="the leader npu-01 does not know the secret of the group"):
        member.receive(b"welcome " + b"0" * 64 + b"\n")
    assert not member.open


def test_a_recorded_handshake_does_not_open_another_connection() -> None:
    leader, member = pair()
    carry(leader, member)
    hello = bytes(member.out)
    assert leader.receive(hello) == [] and leader.open
    again = Link(config(0), KEY, 1, "c" * 64)
    with pytest.raises(GroupError, match="has another secret"):
        again.receive(hello)
    assert not again.open


def test_the_proof_of_a_member_is_not_the_leaders() -> None:
    leader, member = pair()
    carry(leader, member)
    proof = bytes(member.out).split()[-1]
    with pytest.raises(GroupError, match="does not know the secret"):
        member.receive(b"welcome " + proof + b"\n")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\n",
        b"\xff\xfe\n",
        b"x" * (LINE + 1),
        b"x" * (LINE + 1) + b"\n",
        b"inferops-group\n",
        b"inferops-group 1 chat 1 d1 short 00\n",
        b"1 beat " + b"0" * 64 + b"\n",
        b"welcome " + b"0" * 64 + b"\n",
        b"refuse nothing\n",
    ],
)
def test_what_is_not_the_protocol_ends_the_connection(data: bytes) -> None:
    for link in pair():
        with pytest.raises(GroupError, match=UNREADABLE):
            link.receive(data)
        assert not link.open


def test_what_is_sent_after_a_handshake_cannot_be_changed_repeated_or_left_out() -> None:
    def lines() -> tuple[Link, list[bytes]]:
        leader, member = connected()
        for words in ("ready 0", "started 1", "beat"):
            member.send(words)
        return leader, bytes(member.out).splitlines(keepends=True)

    leader, sent = lines()
    assert len(leader.receive(b"".join(sent))) == 3
    leader, sent = lines()
    first, second, third = sent
    for changed in (
        first + first,
        second,
        first + third,
        first.replace(b"ready 0", b"ready 1"),
        first.replace(b" ready", b"  ready"),
        first[:-2] + b"\n",
        b"ready 0\n",
    ):
        leader, sent = lines()
        with pytest.raises(GroupError, match=UNREADABLE):
            leader.receive(changed)


def test_lines_of_one_direction_or_connection_are_not_read_in_another() -> None:
    leader, member = connected()
    leader.send("beat")
    with pytest.raises(GroupError, match=UNREADABLE):
        leader.receive(bytes(leader.out))
    other = Link(config(0), KEY, 1, "c" * 64)
    fresh = Link(config(1), KEY, 0, "d" * 64)
    shake(other, fresh)
    member.send("beat")
    with pytest.raises(GroupError, match=UNREADABLE):
        other.receive(bytes(member.out))


@pytest.mark.parametrize(
    "words",
    ["go 1", "waiting 1", "silent 1 1 0 0", "ready", "ready 0 0", "ready -1", "ready x",
     "ended 1 2 9 0", "ended 1 1 9", "ready " + "9" * 16, "nothing", ""],
)  # fmt: skip
def test_a_member_cannot_say_what_only_a_leader_may_or_what_has_no_meaning(words: str) -> None:
    leader, member = connected()
    member.send(words)
    with pytest.raises(GroupError, match=UNREADABLE):
        carry(member, leader)


@pytest.mark.parametrize("words", ["ready 0", "started 1", "waiting 2", "ended 1 2 9 0", "go"])
def test_a_leader_cannot_say_what_only_a_member_may_or_what_has_no_meaning(words: str) -> None:
    leader, member = connected()
    leader.send(words)
    with pytest.raises(GroupError, match=UNREADABLE):
        carry(leader, member)
