# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers are taken out of a real HAProxy and put back."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._gateway import report
from ansible_collections.inferops.ascend.plugins.module_utils._gateway.master import (
    Master,
    NotRunning,
)
from ansible_collections.inferops.ascend.plugins.module_utils._gateway.servers import (
    Server,
    Servers,
)

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Gateway


def by_key(servers: list[Server]) -> dict[tuple[str, str], Server]:
    return {(server.backend, server.name): server for server in servers}


def test_a_drained_server_gets_no_request_in_any_backend_and_completes_its_own(
    gateway: Gateway,
) -> None:
    servers = Servers(gateway.master)
    for engine in gateway.engines.values():
        engine.free.clear()
    requests = [gateway.begin(), gateway.begin()]  # one for each
    (first, other) = servers.drain({"chat:h1"}, 0.3)
    assert {first.backend, other.backend} == {"model-chat", "model-Qwen"}
    assert first.drained and other.drained and not first.up
    assert first.sessions + other.sessions == 1, "it was not over"

    gateway.engines["h1"].free.set()
    assert [server.sessions for server in servers.drain({"chat:h1"}, 30)] == [0, 0]
    gateway.engines["h2"].free.set()
    for request in requests:
        request.join(30)
    assert {gateway.get() for _n in range(6)} == {"h2"}

    assert all(server.up for server in servers.ready({"chat:h1"}, 30, {"chat:h1"}))
    assert {gateway.get() for _n in range(6)} == {"h1", "h2"}


def test_requests_of_the_worker_before_a_reload_count(gateway: Gateway) -> None:
    servers = Servers(gateway.master)
    for engine in gateway.engines.values():
        engine.free.clear()
    requests = [gateway.begin(), gateway.begin()]
    gateway.reload()
    assert len(gateway.workers()) == 2
    drained = by_key(servers.drain({"chat:h1"}, 0.3))
    assert drained["model-chat", "chat:h1"].sessions == 1
    for engine in gateway.engines.values():
        engine.free.set()
    assert not any(server.sessions for server in servers.drain({"chat:h1"}, 30))
    for request in requests:
        request.join(30)


def test_ready_waits_for_the_health_check(gateway: Gateway) -> None:
    servers = Servers(gateway.master)
    servers.drain({"chat:h1"}, 30)
    gateway.engines["h1"].healthy = False
    while not by_key(servers.all())["model-chat", "chat:h1"].health.startswith("DOWN"):
        pass
    assert not by_key(servers.ready({"chat:h1"}, 0.3, {"chat:h1"}))["model-chat", "chat:h1"].up
    threading.Timer(0.5, lambda: setattr(gateway.engines["h1"], "healthy", True)).start()
    assert by_key(servers.ready({"chat:h1"}, 30, {"chat:h1"}))["model-chat", "chat:h1"].up


def test_a_reload_that_forgets_the_drain_does_not_end_it(gateway: Gateway) -> None:
    servers = Servers(gateway.master)
    for engine in gateway.engines.values():
        engine.free.clear()
    requests = [gateway.begin(), gateway.begin()]
    found: list[Server] = []
    drain = threading.Thread(target=lambda: found.extend(servers.drain({"chat:h1"}, 60)))
    drain.start()
    until(lambda: by_key(servers.all())["model-chat", "chat:h1"].drained)
    gateway.reload()  # without the file in which the role keeps the states of servers
    until(lambda: by_key(servers.all())["model-chat", "chat:h1"].drained)
    for engine in gateway.engines.values():
        engine.free.set()
    for thread in (drain, *requests):
        thread.join(60)
    assert all(server.drained and not server.sessions for server in found) and found
    assert {gateway.get() for _n in range(6)} == {"h2"}


def test_a_server_that_is_put_back_gets_no_request_before_its_check_has_succeeded(
    gateway: Gateway,
) -> None:
    """HAProxy has not noticed yet that it is down."""
    servers = Servers(gateway.master)
    servers.drain({"chat:h1"}, 30)
    gateway.engines["h1"].healthy = False
    first = by_key(servers.ready({"chat:h1"}, 0, {"chat:h1"}))["model-chat", "chat:h1"]
    assert not first.up and not first.drained, first
    gateway.engines["h1"].healthy = True
    assert all(server.up for server in servers.ready({"chat:h1"}, 30, {"chat:h1"}))


def test_servers_that_are_not_awaited_are_not_waited_for(gateway: Gateway) -> None:
    gateway.engines["h1"].healthy = False
    until(lambda: not by_key(Servers(gateway.master).all())["model-chat", "chat:h1"].up)
    found = report.of(gateway.master, ["chat:h1"], "ready", 600, awaited=[])
    assert (found["changed"], found["reached"], found["late"]) == (False, True, [])
    found = report.of(gateway.master, ["chat:h1"], "ready", 0)
    assert (found["reached"], found["late"]) == (False, ["chat:h1"])


def test_the_report_names_what_is_missing_and_who_else_serves(gateway: Gateway) -> None:
    found = report.of(gateway.master, ["chat:h1", "chat:h9"], "drained", 30)
    assert (found["changed"], found["reached"], found["missing"]) == (True, True, ["chat:h9"])
    assert found["others_up"] == {"model-chat": 1, "model-Qwen": 0}
    assert found["outages"] == {}
    last = report.of(gateway.master, ["chat:h2"], "query", 30)
    assert last["outages"] == {"model-chat": ["chat:h1 (DRAIN)"]}
    again = report.of(gateway.master, ["chat:h1"], "drained", 30)
    assert again["outages"] == {}, "it was out already"
    assert not again["changed"]
    assert report.of(gateway.master, ["chat:h1"], "ready", 30)["changed"]
    both = report.of(gateway.master, ["chat:h1"], "query", 30, leaving=["chat:h2"])
    assert both["outages"] == {"model-chat": ["chat:h2 (stops too)"]}
    asked = report.of(gateway.master, None, "query", 30)
    assert (
        len(asked["servers"]) == 3
        and not asked["changed"]
        and all(each["up"] for each in asked["servers"])
    )


def test_no_gateway_is_no_error(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(NotRunning):
        report.of(Master(f"{tmp_path}/none.sock"), ["chat:h1"], "drained", 1)
    assert report.no_gateway(["chat:h1"])["reached"]
