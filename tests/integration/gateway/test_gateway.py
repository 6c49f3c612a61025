# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway of a real host before services of two others, in the order in which an operator has them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ..hosts import environment, started
from .clients import Client, Load
from .fleet import (
    ALL,
    CHAT,
    EMBED,
    EMBED_KEY,
    GATEWAY,
    OTHER,
    SCENARIO,
    SOME,
    Fleet,
    write_inventory,
)

pytestmark = pytest.mark.hosts

LOADED = "systemctl show -P MainPID vllm-gateway; ls -l --time-style=full-iso /etc/vllm-gateway"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two hosts that serve chat, one of them a model for embeddings with a key, and a blank gateway."""
    folder = tmp_path_factory.mktemp("gateway")
    flags = ["--host", "h1:a2-64g", "--host", "h2:a2-64g", "--host", f"{GATEWAY}:none"]
    flags += ["--host", f"{OTHER}:none"]
    with started(SCENARIO, folder / "hosts.yml", *flags) as inventory:
        (folder / "fleet").mkdir()
        write_inventory(folder / "fleet", inventory)
        it = Fleet(SCENARIO, folder / "fleet" / "fleet.yml", folder / "fleet")
        it.list_services("h1", CHAT, EMBED)
        it.list_services("h2", CHAT)
        done = it.run("deploy")
        assert done.status == 0, done.output
        yield it


def test_a_blank_host_gets_a_gateway_and_a_second_run_changes_nothing(fleet: Fleet) -> None:
    checked = fleet.gateway("--check", "--diff")
    assert checked.status == 0, checked.output
    assert "backend model-chat" in checked.output
    assert fleet.sh(GATEWAY, "ls -d /etc/vllm-gateway || echo none").strip() == "none"

    ran = fleet.gateway("--diff", "-vvv")
    assert ran.status == 0, ran.output
    assert f"https://{GATEWAY}:443/v1" in ran.output
    read = fleet.sh(GATEWAY, "cat /etc/vllm-gateway/*.* /etc/systemd/system/vllm-gateway.service")
    for key in (ALL, SOME):
        assert key not in read, "the gateway has a client's key"
    for secret in (ALL, SOME, EMBED_KEY):
        assert secret not in ran.output, "a secret is in the output"
    assert EMBED_KEY in read
    where = fleet.sh(GATEWAY, f"grep -rl {EMBED_KEY} /etc/vllm-gateway").split()
    assert where == ["/etc/vllm-gateway/services.map"]
    assert fleet.sh(GATEWAY, f"stat -c %a {where[0]}").strip() == "600"

    before = fleet.sh(GATEWAY, LOADED)
    again = fleet.gateway()
    assert again.status == 0, again.output
    assert (again.changed(GATEWAY), again.changed(OTHER)) == (0, 0), again.output
    assert fleet.sh(GATEWAY, LOADED) == before


def test_requests_go_to_the_service_of_their_model(fleet: Fleet) -> None:
    client, some = fleet.client(), fleet.client(SOME)
    for model in ("Qwen3-0.6B", "chat"):
        for _n in range(2):
            assert client.ask(model).json["model"] == model
    answer = client.ask("bge-large-zh-v1.5", "/v1/embeddings", input="text")
    assert answer.json["data"][0]["embedding"]
    listed = {each["id"]: each for each in client.ask(path="/v1/models").json["data"]}
    assert set(listed) == {"Qwen3-0.6B", "chat", "bge-large-zh-v1.5", "embed"}
    assert listed["chat"]["max_model_len"] == 32768
    assert some.ask("embed", "/v1/embeddings", input="text").status == 403
    assert client.ask("nothing").status == 404
    assert fleet.client("some-other-key").ask("chat").status == 401
    large = json.dumps({"model": "chat", "messages": [{"content": "x" * 900_000}]}).encode()
    assert client.ask(body=large, model="chat").status in (200, 400), "too many tokens at most"
    assert client.ask(body=iter([large, large])).status == 413


def test_a_replica_that_is_killed_costs_no_request(fleet: Fleet) -> None:
    fleet.sh("h2", "ascend-sim behaviour chat request_seconds=0.1")
    with Load(fleet.client()) as load:
        for _n in range(2):
            wait_for(load, 20)
            fleet.sh("h1", "systemctl kill -s KILL vllm@chat")
            wait_for(load, 20)
            fleet.wait_until_serving("h1", 8000)
    assert not load.failed, load.failed[:3]
    assert servers(fleet, "ready", "chat:h1")["reached"]


def test_a_reload_keeps_requests_and_what_is_taken_out(fleet: Fleet) -> None:
    drained = servers(fleet, "drained", "chat:h2")
    assert drained["reached"] and drained["others_up"] == {"model-chat": 1}
    with Load(fleet.client(), streams=True) as load:
        wait_for(load, 20)
        ran = fleet.gateway("--diff", "--limit", GATEWAY, affinity=["chat"])
        assert ran.status == 0, ran.output
        assert ran.changed(GATEWAY) == 1
        wait_for(load, 20)
    assert not load.failed, load.failed[:3]
    after = {each["name"]: each for each in servers(fleet, "query")["servers"]}
    assert after["chat:h2"]["drained"] and after["chat:h1"]["up"]
    assert after["embed:h1"]["up"], "a reload does not forget who is up"
    assert servers(fleet, "ready", "chat:h2")["reached"]


def test_what_haproxy_rejects_is_not_written(fleet: Fleet) -> None:
    before = fleet.sh(GATEWAY, LOADED)
    for flags in ((), ("--check",)):
        ran = fleet.gateway("--limit", GATEWAY, *flags, bind="no-such-host.invalid")
        assert ran.status == 2
        assert "HAProxy rejects the configuration, and nothing was changed" in ran.output
    assert fleet.sh(GATEWAY, LOADED) == before
    assert fleet.client().ask("chat").status == 200


def test_a_gateway_that_is_killed_comes_back(fleet: Fleet) -> None:
    client = fleet.client()
    fleet.sh(GATEWAY, "systemctl kill -s KILL vllm-gateway")
    fleet.sh(
        GATEWAY,
        "for i in $(seq 300); do curl -skf https://localhost/health >/dev/null && exit 0; sleep 0.2;"
        " done; exit 1",
    )
    assert client.ask("chat").status == 200


def test_another_gateway_takes_the_shared_address(fleet: Fleet) -> None:
    holds = f"ip -4 addr | grep -q 'inet {fleet.shared}/' && echo yes || echo no"

    def holder(*others: str) -> str:
        for _n in range(300):
            for host in (GATEWAY, OTHER):
                if host not in others and fleet.sh(host, holds).strip() == "yes":
                    return host
            time.sleep(0.1)
        raise AssertionError("no gateway has the address")

    first = holder()
    fleet.sh(first, "systemctl stop vllm-gateway")
    second = holder(first)
    client = Client.of(fleet.shared, fleet.certificate(second), ALL)
    assert client.ask("chat").status == 200
    fleet.sh(first, "systemctl start vllm-gateway")

    ran = fleet.gateway("--limit", second, vip="")
    assert ran.status == 0, ran.output
    assert holder(second) == first
    assert (
        fleet.sh(second, "ls /etc/keepalived/keepalived.conf 2>/dev/null || echo none") == "none\n"
    )


def test_gateways_alone_reach_the_services_where_that_is_asked_for(fleet: Fleet) -> None:
    there = f"curl -sf -m 5 -o /dev/null {fleet.address('h1')}:8000/health && echo yes || echo no"
    assert fleet.sh("h2", there).strip() == "yes"
    some = ("--limit", f"h1,{GATEWAY}")
    ran = fleet.gateway(*some, firewall="nftables")
    assert ran.status == 0, ran.output
    assert [fleet.sh(host, there).strip() for host in ("h2", "h1", OTHER)] == ["no", "yes", "yes"]
    ran = fleet.gateway(*some, firewall="absent")
    assert ran.status == 0, ran.output
    assert fleet.sh("h2", there).strip() == "yes"


def test_a_stopped_service_and_a_moved_port_are_routed_as_they_are(fleet: Fleet) -> None:
    """The state kept over a reload has the port from before it."""
    fleet.list_services("h1", {**CHAT, "port": 8010})
    fleet.list_services("h2", {**CHAT, "state": "stopped"})
    done = fleet.run("deploy")
    assert done.status == 0, done.output
    ran = fleet.gateway("--limit", GATEWAY)
    assert ran.status == 0, ran.output
    client = fleet.client()
    assert [client.ask("chat").status for _n in range(4)] == [200] * 4
    assert client.ask("embed", "/v1/embeddings", input="text").status == 404
    assert [each["name"] for each in servers(fleet, "query")["servers"]] == ["chat:h1"]


def wait_for(load: Load, number: int) -> None:
    """Until so many more requests were served."""
    goal = load.served + number
    for _n in range(600):
        if load.served >= goal:
            return
        time.sleep(0.1)
    raise AssertionError(f"{load.served} of {goal} requests were served: {load.failed[:3]}")


def servers(fleet: Fleet, state: str, *names: str) -> dict[str, Any]:
    """What the module vllm_gateway_servers returns on the gateway."""
    arguments = {"state": state, "timeout": 60, **({"servers": list(names)} if names else {})}
    command = ["ansible", GATEWAY, "-i", str(fleet.inventory), "--become", "-o"]
    command += ["-m", "inferops.ascend.vllm_gateway_servers", "-a", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("=> ")[2])
    return found
