# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services over the same four hosts: each has its ports, its cluster and its members, and falls alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..hosts import address, inside, kill_worker, scenario, started
from ..playbooks import Books
from ..service.group_hosts import wait_for

pytestmark = pytest.mark.hosts

NAME = scenario("group-sharing")
HOSTS = ("npu-01", "npu-02", "npu-03", "npu-04")
MODEL = "Qwen2.5-14B"
# Each has two cards of each host. The two with Ray have their heads on one host.
RANKS = {"native": "8", "ranks": "4", "ray-a": "8", "ray-b": "8"}
SERVICES: dict[str, tuple[str, dict[str, int], tuple[str, ...], int]] = {
    "native": ("native", {"tensor_parallel_size": 8}, HOSTS, 8000),
    "ranks": (
        "data_parallel",
        {"tensor_parallel_size": 2, "data_parallel_size": 4},
        ("npu-02", "npu-01", "npu-03", "npu-04"),
        8001,
    ),
    "ray-a": ("ray", {"tensor_parallel_size": 8}, ("npu-03", "npu-01", "npu-02", "npu-04"), 8002),
    "ray-b": ("ray", {"tensor_parallel_size": 8}, ("npu-03", "npu-04", "npu-01", "npu-02"), 8003),
}


def entries(host: str) -> list[dict[str, Any]]:
    """The services as the plan would write them for a host."""
    found = []
    for name, (engine, sizes, hosts, port) in SERVICES.items():
        cluster = {"leader": hosts[0], "rank": hosts.index(host), "hosts": list(hosts)}
        one = {"name": name, "model": MODEL, "path": "/data/w", "cards": 2, "port": port}
        found.append({**one, "engine": engine, "cluster": cluster, **sizes, "max_model_len": 4096})
    return found


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Four hosts on which all services were deployed."""
    if os.geteuid() != 0:
        pytest.skip("test hosts need root")
    folder: Path = tmp_path_factory.mktemp("sharing")
    flags = [word for host in HOSTS for word in ("--host", f"{host}:a2-64g")]
    with started(NAME, folder / "up.yml", *flags) as inventory:
        it = Books(NAME, inventory, folder)
        for host in HOSTS:
            it.list_services(
                host,
                *entries(host),
                vllm_service_cluster_address=address(NAME, host),
                vllm_service_cluster_secret="a-secret-of-the-group",
                vllm_service_restart_delay=1,
                vllm_service_shutdown_timeout=5,
                vllm_service_allow_untested=True,
            )
        ran = it.run("deploy")
        assert ran.status == 0, ran.output
        yield it


def leader(service: str) -> str:
    return SERVICES[service][2][0]


def ranks(books: Books, service: str) -> str:
    """Of how many ranks a service consists, as its leader says."""
    script = f"curl -sf -m 5 localhost:{SERVICES[service][3]}/metrics"
    lines = books.sh(leader(service), script, check=False).splitlines()
    return next((line.split()[1] for line in lines if line.startswith("standin:ranks ")), "")


def shown(service: str, host: str, key: str) -> str:
    done = inside(NAME, host, "systemctl", "show", "-P", key, f"vllm@{service}")
    return done.stdout.strip()


def test_each_service_has_its_ranks_on_all_hosts(books: Books) -> None:
    assert {name: ranks(books, name) for name in SERVICES} == RANKS
    for name in SERVICES:
        for host in HOSTS:
            assert shown(name, host, "StatusText").startswith("running since "), (name, host)


def test_a_second_run_changes_nothing(books: Books) -> None:
    ran = books.run("deploy")
    assert ran.status == 0, ran.output
    assert {host: ran.changed(host) for host in HOSTS} == dict.fromkeys(HOSTS, 0)


@pytest.mark.parametrize("service", SERVICES)
def test_a_member_that_is_lost_takes_its_service_down_alone(books: Books, service: str) -> None:
    host = SERVICES[service][2][3]
    others = [
        (name, each) for name in SERVICES for each in HOSTS if (name, each) != (service, host)
    ]
    before = {each: shown(*each, "NRestarts") for each in others}
    engines = {each: since(*each) for each in others if each[0] != service}
    first = shown(service, leader(service), "StatusText")
    kill_worker(NAME, host, f"vllm@{service}", "raylet" if "ray" in service else "VLLM::")
    wait_for("the leader waits", lambda: shown(service, leader(service), "StatusText") != first)
    wait_for("all ranks are back", lambda: ranks(books, service) == RANKS[service])
    assert {each: shown(*each, "NRestarts") for each in others} == before
    assert {each: since(*each) for each in engines} == engines
    assert int(shown(service, host, "NRestarts")) == 1


def since(service: str, host: str) -> str:
    """Since when the engine of a member runs, as its guard says."""
    return shown(service, host, "StatusText")


def test_a_host_that_is_rebooted_takes_all_down_and_they_return(books: Books) -> None:
    before = {name: since(name, "npu-01") for name in SERVICES}
    books.sh("npu-04", "systemctl reboot", check=False)
    for name in SERVICES:
        wait_for(f"{name} is down", lambda name=name: since(name, "npu-01") != before[name])
        wait_for(f"{name} has all ranks", lambda name=name: ranks(books, name) == RANKS[name])
