# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listening for other hosts and connecting to them, over real sockets of loopback addresses."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import reach
from ansible_collections.inferops.ascend.tests.ports import free_ports

HERE, PEER, OTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture(autouse=True)
def name(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give this test a listener of its own, and end it."""
    monkeypatch.setattr(reach, "_CONTROL", f"\0group-probe-test-{os.getpid()}")
    yield
    reach.stop()


def asked(port: int, token: str) -> dict[str, object]:
    return {"address": HERE, "port": port, "token": token}


def test_a_listener_ends_when_each_host_has_connected_to_each_port() -> None:
    port = free_ports(1)[0]
    found = reach.listen(HERE, {str(port): [PEER, OTHER]}, 60)
    assert found["ports"] == {str(port): ""}
    both = [asked(port, found["token"]), asked(found["free_port"], found["token"])]
    assert reach.connect(PEER, both, 10) == ["open", "open"]
    assert reach.connect(PEER, both, 10) == ["open", "open"], "the other has not been there"
    assert reach.connect(OTHER, both, 10) == ["open", "open"]
    end = time.monotonic() + 60
    while reach.connect(OTHER, both, 10) != ["refused", "refused"]:
        assert time.monotonic() < end
    assert not reach.stop(), "nothing is left to end"


def test_a_listener_ends_when_told_and_at_its_time() -> None:
    port = free_ports(1)[0]
    found = reach.listen(HERE, {str(port): [PEER]}, 60)
    assert reach.stop()
    assert reach.connect(PEER, [asked(port, found["token"])], 10) == ["refused"]
    reach.listen(HERE, {str(port): [PEER]}, 0.2)
    end = time.monotonic() + 60
    while reach.connect(OTHER, [asked(port, "")], 10) != ["refused"]:
        assert time.monotonic() < end


def test_who_answers_in_the_place_of_a_listener_is_told_from_it() -> None:
    with socket.create_server((HERE, 0)) as server:
        port = int(server.getsockname()[1])
        found = reach.listen(HERE, {str(port): [PEER]}, 60)
        assert found["ports"] == {str(port): "taken"}
        wanted = [asked(port, ""), asked(port, "another"), asked(found["free_port"], "another")]
        assert reach.connect(PEER, wanted, 0.5) == ["open", "other", "other"]


def test_an_address_that_the_host_does_not_have_is_named_by_the_kernel() -> None:
    found = reach.listen("192.0.2.1", {"18000": [PEER]}, 60)
    assert found["ports"] == {"18000": "Cannot assign requested address"}
    assert found["free_port"] is None
    assert reach.connect("192.0.2.1", [asked(1, "")], 1) == ["Cannot assign requested address"]


def test_connections_to_which_nothing_comes_back_end_together_in_time() -> None:
    with socket.socket() as full:
        full.bind((HERE, 0))
        full.listen(0)
        port = full.getsockname()[1]
        # Its queue is full: the kernel drops what comes then.
        held = [socket.socket() for _number in range(3)]
        for each in held:
            each.setblocking(False)
            each.connect_ex((HERE, port))
        began = time.monotonic()
        assert reach.connect(HERE, [asked(port, "")] * 4, 0.5) == ["silent"] * 4
        assert time.monotonic() - began < 5
        for each in held:
            each.close()
