# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is reported of the answers of gateways."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.leaving import (
    serving,
    starting,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.replies import (
    missing,
    problems,
)


def reply(**more: Any) -> dict[str, Any]:
    """Of a gateway with one server of the service."""
    server = {
        "backend": "model-chat",
        "name": "chat:h1",
        "address": "10.0.0.1:8000",
        "up": True,
        "drained": False,
        "health": "UP",
        "sessions": 0,
    }
    more["servers"] = [{**server, **more.pop("server", {})}]
    found = {"item": "gw1", "running": True, "late": [], "outages": {}, "missing": []}
    return {**found, **more}


@pytest.mark.parametrize("state", ["query", "drained", "ready"])
def test_nothing_is_reported_where_all_is_well(state: str) -> None:
    assert problems([reply(), reply(item="gw2", running=False)], state) == []


@pytest.mark.parametrize("state", ["query", "drained", "ready"])
def test_a_gateway_that_could_not_be_asked_is_named_with_the_reason(state: str) -> None:
    (line,) = problems([reply(), {"item": "gw2", "unreachable": True, "msg": "no\nroute"}], state)
    assert line.startswith("gw2 could not be asked") and "no route" in line
    (line,) = problems([{"item": "gw2", "msg": "HAProxy has no worker"}], state)
    assert "HAProxy has no worker" in line


def test_an_outage_names_the_others_unless_the_servers_are_put_back() -> None:
    last = reply(outages={"model-chat": ["chat:h2 (DOWN)"]})
    for state in ("query", "drained"):
        (line,) = problems([last], state)
        assert (
            line.startswith("gw1: model-chat is down while chat:h1 is") and "chat:h2 (DOWN)" in line
        )
    assert problems([last], "ready") == []


def test_requests_that_were_not_waited_for_are_counted() -> None:
    (line,) = problems(
        [reply(late=["chat:h1"], server={"sessions": 3, "drained": True})], "drained"
    )
    assert "chat:h1 of model-chat still has 3 requests" in line
    (line,) = problems([reply(late=["chat:h1"])], "drained")
    assert line == "gw1 still sends requests to chat:h1 of model-chat."


def test_a_server_that_does_not_come_up_is_named_with_its_health() -> None:
    (line,) = problems([reply(late=["chat:h1"], server={"health": "DOWN"})], "ready")
    assert line.startswith("gw1 sends no requests to chat:h1 of model-chat, which is DOWN there")
    assert "10.0.0.1:8000" in line


def test_what_a_gateway_does_not_have_is_reported_where_one_runs() -> None:
    (line,) = missing(
        [reply(missing=["new:h1"]), {"item": "gw2", "running": False, "missing": ["new:h1"]}]
    )
    assert line.startswith("gw1 sends no requests to new:h1") and "playbook gateway" in line


def test_services_that_clients_do_not_ask_are_not_put_back() -> None:
    roles: dict[str, Any] = {
        "kv_connector": "MooncakeConnectorV1",
        "kv_role": "kv_producer",
        "kv_port": 20001,
    }
    sizes = {side: {"dp_size": 1, "tp_size": 1} for side in ("prefill", "decode")}
    roles["kv_connector_extra_config"] = sizes
    services = [
        {"name": "chat"},
        {"name": "old", "state": "stopped"},
        {"name": "prefill", "args": {"kv-transfer-config": roles}},
        {"name": "big", "cluster": {"rank": 1, "hosts": ["h9", "h1"]}},
    ]
    assert serving(services, "h1") == ["chat:h1", "big:h9"]
    actions = {"chat": "none", "big": "restart", "old": "stop"}
    result = {"services": [{"name": name, "action": did} for name, did in actions.items()]}
    assert starting(result, services, "h1") == ["big:h9"]
