# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reaches a group over the network from others than its members, and from members in disorder."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service.group_link import Link
from ansible_collections.inferops.ascend.plugins.module_utils._service.group_states import (
    parse_config,
)

from .group_members import SECRET, Make, Member, wait_for


def connect(port: int, address: str = "127.0.0.2") -> socket.socket:
    """A connection to the leader, as soon as it listens, from a member's address."""

    def connected() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), 60, source_address=(address, 0))
        except ConnectionError:
            return None

    answer = wait_for("the leader listens", connected)
    assert isinstance(answer, socket.socket)
    return answer


def ended(sock: socket.socket) -> bool:
    """Wait until the other side has closed the connection."""
    try:
        while sock.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


def as_member(sock: socket.socket, member: Member, secret: str = SECRET) -> tuple[Link, bytes]:
    """Take the part of a member in the handshake; return its link and the line it proved itself with."""
    described = parse_config(json.dumps(member.described))
    link = Link(described, secret.encode(), 0, secrets.token_hex(32))
    hello = b""
    while not link.open:
        link.receive(sock.recv(4096))
        hello = hello or bytes(link.out)
        sock.sendall(link.out)
        link.out.clear()
    return link, hello


@pytest.mark.parametrize(
    "changes, theirs, ours",
    [
        ({"secret": "another"}, "has another secret", "another secret than the leader"),
        ({"digest": "d2"}, "has other settings", "other settings than the leader"),
        ({"service": "other"}, "is a member of another service", "another service"),
    ],
)
def test_a_member_that_does_not_belong_is_named_and_starts_nothing(
    make: Make, changes: dict[str, str], theirs: str, ours: str
) -> None:
    first, second = group = make()
    right = dict(second.described)
    second.secret = changes.get("secret", second.secret)
    second.described.update({key: value for key, value in changes.items() if key != "secret"})
    group.start()
    missing = "waiting for rank 1 (npu-02, 127.0.0.2)"
    first.shows(f"; 127.0.0.2 (npu-02) {theirs}")
    assert first.status.startswith(f"{missing} since 20")
    second.shows(f"; the leader npu-01 refuses: {ours}")
    assert second.status.startswith("waiting for rank 0 (npu-01, 127.0.0.1) since 20")
    assert not first.engines() + second.engines()
    second.remove()
    second.secret, second.described = SECRET, right
    second.start()
    group.whole()


def test_a_leader_of_another_version_is_named(make: Make) -> None:
    first, second = make()
    with socket.create_server(("127.0.0.1", first.described["port"])) as server:
        second.start()
        server.settimeout(60)
        sock, origin = server.accept()
        with sock:
            sock.sendall(b"inferops-group 2 and so on\n")
            second.shows("the leader npu-01 uses version 2 of the protocol, this host 1")


@contextmanager
def noise(port: int) -> Iterator[None]:
    """Garbage, connections that say nothing, and some that say a byte now and then; from a member's
    address and from others, until the end."""
    over = threading.Event()

    def shout() -> None:
        while not over.is_set():
            for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, b"inferops-group 1 chat 1\n"):
                with ExitStack() as stack:
                    sock = stack.enter_context(connect(port))
                    stack.enter_context(connect(port, "127.0.0.77"))
                    try:
                        sock.sendall(data)
                    except ConnectionError:
                        continue
            time.sleep(0.05)

    def drip(socks: list[socket.socket]) -> None:
        while not over.is_set():
            for number, sock in enumerate(socks):
                try:
                    sock.sendall(b"i")
                except ConnectionError:
                    sock.close()
                    socks[number] = connect(port)
            time.sleep(0.05)

    socks = [connect(port) for number in range(20)]
    threads = [threading.Thread(target=shout), threading.Thread(target=drip, args=(socks,))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for sock in socks:
            sock.close()


def test_who_does_not_know_the_secret_neither_holds_up_nor_stops_a_group(make: Make) -> None:
    first, second = group = make()
    first.start()
    first.shows("waiting for")
    with noise(group.port):
        first.shows("127.0.0.2 (npu-02) sends what is not this protocol")
        second.start()
        group.whole()
        lines = len(first.lines)
        end = time.monotonic() + 2 * first.described["lost_after"]
        wait_for("twice the patience of peers", lambda: time.monotonic() > end)
    assert len(first.lines) == lines and len(second.lines) == len(set(second.lines))
    assert [len(member.engines()) for member in group] == [1, 1]


def test_a_connection_that_does_not_finish_the_handshake_is_closed(make: Make) -> None:
    first, second = make()
    first.start().shows("waiting for")
    with connect(first.described["port"]) as sock:
        assert ended(sock)
        first.shows("no answer in time")


def test_a_connection_that_only_tries_the_port_is_not_shown(make: Make) -> None:
    first, second = group = make()
    first.start().shows("waiting for rank 1 (npu-02, 127.0.0.2)")
    for _number in range(3):
        connect(first.described["port"]).close()
    second.start()
    group.whole()
    assert not [line for line in first.lines if "connection" in line]


def test_a_recorded_handshake_opens_nothing(make: Make) -> None:
    first, second = group = make()
    first.start()
    first.shows("waiting for")
    with connect(group.port) as sock:
        hello = as_member(sock, second)[1]
    second.start()
    group.whole()
    with connect(group.port) as sock:
        assert sock.recv(4096).startswith(b"inferops-group 1 ")
        sock.sendall(hello)
        assert sock.recv(4096) == b"refuse secret\n"
        assert ended(sock)
    assert first.status == first.lines[-1] and "running since" in first.status
    assert [len(member.engines()) for member in group] == [1, 1]


def test_the_newer_connection_of_a_member_replaces_the_older(make: Make) -> None:
    """As of a member that was switched off and is back before its old connection is given up."""
    first, second = group = make(lost_after=30)
    first.start()
    first.shows("waiting for")
    with connect(group.port) as sock:
        link, hello = as_member(sock, second)
        link.send("ready 0")
        sock.sendall(link.out)
        first.shows("all 2 members are here, starting")
        wait_for("the leader's engine", first.running)
        second.start()
        first.showed("lost rank 1 (npu-02): it connected again")
        assert ended(sock)
    group.whole()
    assert [len(member.engines()) for member in group] == [2, 1]


def test_a_changed_line_loses_the_peer(make: Make) -> None:
    first, second = group = make(lost_after=30)
    first.start()
    first.shows("waiting for")
    with connect(group.port) as sock:
        link, hello = as_member(sock, second)
        link.send("ready 0")
        sock.sendall(link.out)
        first.shows("all 2 members are here, starting")
        link.out.clear()
        link.send("started 1")
        sock.sendall(link.out.replace(b"started 1", b"started 2"))
        first.shows("lost rank 1 (npu-02): it sent what cannot be read; the engine was stopped")
        assert ended(sock)


def test_a_message_of_an_earlier_start_has_no_effect(make: Make) -> None:
    first, second = group = make(lost_after=30)
    first.start()
    first.shows("waiting for")
    with connect(group.port) as sock:
        link, hello = as_member(sock, second)
        link.send("ready 4")
        link.send("started 5")
        link.send("ended 4 1 9 0")
        link.send("ready 3")
        sock.sendall(link.out)
        first.shows("running since")
        link.out.clear()
        link.send("stopped 4 1 0 0")
        link.send("ended 5 1 9 0")
        sock.sendall(link.out)
        first.shows("the engine of rank 1 (npu-02) ended with status 9; the engine was stopped")


def test_an_address_that_is_not_of_this_host_is_named_and_tried_again(make: Make) -> None:
    first, second = make()
    for member in (first, second):
        member.described["members"][member.rank]["address"] = "192.0.2.1"
        member.start()
        member.shows("address 192.0.2.1, port")
        member.shows("cannot be used: Cannot assign requested address")


def test_a_port_in_use_is_named_and_tried_again(make: Make) -> None:
    first, second = group = make()
    with socket.create_server(("127.0.0.1", group.port)):
        first.start()
        first.shows("cannot be used: Address already in use")
    second.start()
    group.whole()


def test_refusals_do_not_flood_the_journal(make: Make) -> None:
    first = make()[0].start()
    first.shows("waiting for")
    began = time.monotonic()
    for number in range(100):
        with connect(first.described["port"]) as sock:
            sock.sendall(b"inferops-group 2\n" if number % 2 else b"nothing\n")
            assert ended(sock)
    took = time.monotonic() - began
    assert len(first.lines) <= 3 + 2 * took
