# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service of the real vLLM over two hosts, deployed by playbooks, and what happens to its members."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import yaml
from integration.hosts import kill_worker, started
from integration.playbooks import Books
from integration.service import group_hosts
from integration.service.group_hosts import (
    LOST_AFTER,
    UNIT,
    Step,
    cut,
    heal,
    nothing,
    reboot,
    start,
    stop,
    wait_for,
)

from .engines import SERVING, models

NAMES = ("npu-01", "npu-02")
MODEL = "tiny-decoder"
START = 600.0  # seconds; some 50 where nothing else runs, more than 180 were seen with 8 on a core
NOTICED = 15.0  # seconds within which a lost member has to be noticed
# One thread for each worker, and nothing bound: two hosts share the cores. The vocabulary of a model
# that is split is compiled at the first request, and the hosts have no compiler.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
}
VARIABLES = {
    "ascend_model_tables": [str(Path(__file__).parent / "tiny-models.yml")],
    "vllm_service_engine_version": SERVING,
    "vllm_service_cluster_secret": "a-secret-of-the-group",
    "vllm_service_cluster_lost_after": LOST_AFTER,
    "vllm_service_env": ENVIRONMENT,
}
SIZES: dict[str, dict[str, int]] = {
    "native": {"tensor_parallel_size": 2},
    "data_parallel": {"data_parallel_size": 2},
    "ray": {"tensor_parallel_size": 2},
}
# bfloat16 over hosts ended workers by SIGILL on a machine with AMX.
ARGS = {"enforce-eager": True, "kv-cache-memory-bytes": "64M", "dtype": "float32"}


class Member(group_hosts.Member):
    """One host of the service; the leader answers requests."""

    def _ask(self, path: str, body: Any = None, timeout: float = 2.0) -> int:
        """The status of an answer; 0: there was none."""
        connection = HTTPConnection(self.address, group_hosts.PORT, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", path, data, headers)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    def healthy(self) -> bool:
        return self._ask("/health") == 200

    def completes(self) -> bool:
        body = {"model": MODEL, "prompt": "each host", "max_tokens": 3, "ignore_eos": True}
        return self._ask("/v1/completions", body, 60.0) == 200


class Service:
    """The service `chat` over both hosts, each with one card of it."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.variables: dict[str, Any] = {}
        found = yaml.safe_load(books.inventory.read_text())["all"]["hosts"]
        self.members = [
            Member(books.scenario, host, str(found[host]["ansible_host"])) for host in NAMES
        ]

    @property
    def leader(self) -> Member:
        return self.members[0]

    def request(self, engine: str, **changed: Any) -> None:
        """Write the variables of the hosts."""
        for rank, member in enumerate(self.members):
            cluster = {"leader": NAMES[0], "rank": rank, "hosts": list(NAMES)}
            service = {"name": "chat", "model": MODEL, "path": f"/srv/models/{MODEL}", "cards": 1}
            service |= {"engine": engine, "cluster": cluster, **SIZES[engine]}
            service |= {"port": group_hosts.PORT, "max_model_len": 512, "args": ARGS, **changed}
            address = {"vllm_service_cluster_address": member.address}
            self.books.list_services(member.host, service, **VARIABLES, **address, **self.variables)

    def whole(self) -> None:
        """Wait until the leader completes a request and both members run."""
        wait_for("the leader is healthy", self.leader.healthy, START)
        wait_for("a completion", self.leader.completes)
        for member in self.members:
            assert member.status.startswith("running since "), (member.host, member.status)


@contextmanager
def two_hosts(scenario: str, folder: Path, engine: Path | None, *mounts: str) -> Iterator[Service]:
    """Hosts with the models, and with the engine that was made for them.

    mounts: SRC:DST of more that they have.
    """
    every = [f"{models()}:/srv/models", *mounts, *([f"{engine}:/srv/engine"] if engine else [])]
    flags = [word for host in NAMES for word in ("--host", f"{host}:a2-64g")]
    flags += [word for mount in every for word in ("--mount", mount)]
    with started(scenario, folder / "up.yml", *flags) as inventory:
        books = Books(scenario, inventory, folder)
        books.limit = 1500
        service = Service(books)
        if engine:
            service.variables["vllm_service_executable"] = "/srv/engine/venv/bin/vllm"
        yield service


def kill_its_worker(member: Member, other: Member) -> None:
    kill_worker(member.scenario, member.host, UNIT)


def kill_its_engine(member: Member, other: Member) -> None:
    kill_worker(member.scenario, member.host, UNIT, "VLLM::EngineCore")


@dataclass(frozen=True)
class Event:
    """What happens to the member of a rank while no request runs.

    Attributes:
        back: brings it back. failed: the rank whose engine fails, and whose unit systemd restarts.
    """

    rank: int
    happens: Step
    back: Step = nothing
    failed: int | None = None


EVENTS = {
    "worker killed": Event(1, kill_its_worker, failed=1),
    "leader's engine killed": Event(0, kill_its_engine, failed=0),
    "network cut": Event(1, cut, heal),
    "member rebooted": Event(1, reboot),
    "member stopped and started": Event(1, stop, start),
}


RAY = "/srv/engine/venv/lib/python3.11/site-packages/ray/core/src/ray"


def kill_its_raylet(member: Member, other: Member) -> None:
    kill_worker(member.scenario, member.host, UNIT, f"{RAY}/raylet/raylet")


def kill_its_gcs(member: Member, other: Member) -> None:
    kill_worker(member.scenario, member.host, UNIT, f"{RAY}/gcs/gcs_server")


def kill_its_actor(member: Member, other: Member) -> None:
    kill_worker(member.scenario, member.host, UNIT, "ray::RayWorker")


RAY_EVENTS = {
    **EVENTS,
    # The engine is the leader's alone, whose workers Ray runs elsewhere.
    "worker killed": Event(1, kill_its_actor, failed=0),
    "raylet killed": Event(1, kill_its_raylet, failed=1),
    "GCS killed": Event(0, kill_its_gcs, failed=0),
}


@dataclass(frozen=True)
class Figures:
    """Seconds from the event until /health of the leader was gone, and until a completion."""

    noticed: float
    whole: float

    @property
    def cells(self) -> tuple[str, str]:
        return f"{self.noticed:.1f} s", f"{self.whole:.0f} s"


def lose(service: Service, event: Event) -> Figures:
    """Let an event happen to a service that serves, and wait until it serves again.

    No playbook runs meanwhile: the hosts do it alone.
    """
    lost, other = service.members[event.rank], service.members[1 - event.rank]
    started_again = {event.failed, event.rank if event.happens in (reboot, stop) else None}
    healthy = [each for rank, each in enumerate(service.members) if rank not in started_again]
    before = [(each.show("MainPID"), each.restarts) for each in healthy]
    restarts = [each.restarts for each in service.members]
    began = time.monotonic()
    event.happens(lost, other)
    wait_for("/health is gone", lambda: not service.leader.healthy())
    noticed = time.monotonic() - began
    if event.back is not nothing:
        waiting = f"waiting for rank {event.rank} ({lost.host}, {lost.address}"
        wait_for("who is missing is named", lambda: other.status.startswith(waiting))
    event.back(lost, other)
    service.whole()
    took = time.monotonic() - began
    assert noticed < NOTICED
    assert [(each.show("MainPID"), each.restarts) for each in healthy] == before
    if event.failed is not None:
        assert service.members[event.failed].restarts == restarts[event.failed] + 1
    return Figures(noticed, took)
