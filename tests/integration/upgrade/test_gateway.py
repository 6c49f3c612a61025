# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a gateway, streams too, notice nothing of an upgrade or a deploy of the replicas behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from ..gateway.clients import Client, Load
from ..playbooks import Books
from .replicas import BAD, CHAT, NEW, blank, engine

pytestmark = pytest.mark.hosts

GATEWAY = "h3"
KEY = "key-of-a-client-of-the-gateway"
LOCK = "/run/inferops-ascend/vllm@.service.lock"


@pytest.fixture
def front(books: Books) -> Iterator[Client]:
    """A client of a gateway before two replicas of the old version."""
    inventory = yaml.safe_load(books.inventory.read_text())
    inventory["all"]["children"] = {
        "ascend": {"hosts": {"h1": None, "h2": None}},
        "ascend_gateway": {"hosts": {GATEWAY: None}},
    }
    books.inventory.write_text(yaml.safe_dump(inventory))
    keys = [{"name": "client", "key": KEY}]
    variables = yaml.safe_dump({"vllm_gateway_keys": keys})
    (books.folder / "group_vars" / "ascend_gateway.yml").write_text(variables)
    for host in ("h1", "h2"):
        books.list_services(host, CHAT)
        books.sh(host, "ascend-sim behaviour chat request_seconds=0.2")
    for book in ("deploy", "gateway"):
        ran = books.run(book)
        assert ran.status == 0, ran.output
    pem = books.sh(GATEWAY, "openssl x509 -in /etc/vllm-gateway/tls.pem")
    yield Client.of(inventory["all"]["hosts"][GATEWAY]["ansible_host"], pem, KEY)
    books.sh(GATEWAY, "systemctl disable --now vllm-gateway", check=False)


def states(books: Books) -> set[str]:
    """What the gateway gives requests to, by the module that an operator asks."""
    ran = books.run("status", vllm_status_output=str(books.folder / "status.json"))
    assert ran.status == 0, ran.output
    (gateway,) = json.loads((books.folder / "status.json").read_text())["gateways"]
    return {server["name"] for server in gateway["servers"] if server["up"]}


def test_no_request_is_lost_while_replicas_are_upgraded_and_deployed(
    books: Books, front: Client
) -> None:
    blank(books)
    with Load(front, streams=True) as load:
        ran = books.run("upgrade", vllm_runtime_version=NEW)
        assert ran.status == 0, ran.output
        assert [engine(books, host) for host in ("h1", "h2")] == [NEW, NEW]

        books.list_services("h1", {**CHAT, "env": {"OMP_NUM_THREADS": 2}})
        ran = books.run("deploy", "--limit", "h1", vllm_service_engine_version=NEW)
        assert ran.status == 0, ran.output
        assert "[WARNING]: h3" not in ran.output, ran.output

        books.sh("h1", "touch /etc/no-room")
        ran = books.run("upgrade", vllm_runtime_version=BAD)
        assert f"h1 is back on {NEW} and serves." in ran.output, ran.output
    assert load.failed == []
    assert load.served > 40
    assert states(books) == {"chat:h1", "chat:h2"}


def test_a_service_is_put_back_where_a_deploy_fails_and_not_where_it_is_removed(
    books: Books, front: Client
) -> None:
    """Another run has the lock, for which only the task waits that comes after the drain."""
    books.list_services("h2", {**CHAT, "env": {"OMP_NUM_THREADS": 2}})
    books.sh("h2", f"systemd-run --unit other flock {LOCK} sleep infinity")
    ran = books.run("deploy", "--limit", "h2", vllm_service_lock_timeout=1)
    assert ran.status == 2 and "Take services out of the gateways" in ran.output, ran.output
    for _n in range(10):
        if states(books) == {"chat:h1", "chat:h2"}:
            break
    else:
        raise AssertionError(ran.output)
    books.sh("h2", "systemctl stop other")

    with Load(front, threads=2) as load:
        ran = books.run("remove", "--limit", "h2", vllm_remove_services="chat")
        assert ran.status == 0, ran.output
    assert load.failed == []
    assert states(books) == {"chat:h1"}
    books.list_services("h2")
    assert books.run("gateway").status == 0
    ran = books.run("upgrade", "--check", "--limit", "h1", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert "chat has no other replica: it is down while h1 restarts it and loads." in ran.output
