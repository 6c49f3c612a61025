# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in Ray cluster of two hosts, with the failures that Ray 2.48 was seen to have."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.tests.ports import free_ports

from .hosts import Host, until

Process = subprocess.Popen[bytes]
SERVE = "--tensor-parallel-size 4 --distributed-executor-backend ray"


class Cluster:
    """Two hosts, each with `ray start --block` for two NPU."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        gcs, client, one, two = free_ports(4)
        self.address = f"127.0.0.1:{gcs}"
        self.metrics = {"AUTOSCALER_METRIC_PORT": str(one), "DASHBOARD_METRIC_PORT": str(two)}
        self.head_words = f"--head --port={gcs} --ray-client-server-port={client}"

    def head(self) -> Process:
        """The head, which engines find from now on."""
        words = f'{self.head_words} --resources={{"NPU":2}}'
        head = self.hosts[0].ray(words, ASCEND_RT_VISIBLE_DEVICES="0,1", **self.metrics)
        until(lambda: "Ray runtime started." in self.hosts[0].log.read_text())
        return head

    def worker(self) -> Process:
        words = f'--address={self.address} --resources={{"NPU":2}}'
        return self.hosts[1].ray(words, ASCEND_RT_VISIBLE_DEVICES="6,7", ASCEND_SIM_GCS_LOST="0.5")

    def serve(self) -> None:
        self.hosts[0].serve(SERVE, RAY_ADDRESS=self.address)


@pytest.fixture
def cluster(tmp_path: Path, repository: Path) -> Iterator[Cluster]:
    """Two hosts without a cluster yet; what was started on them is ended afterwards."""
    options = repository / "vars" / "vllm_options.json"
    hosts = [Host(tmp_path / name, options) for name in ("head", "worker")]
    yield Cluster(hosts)
    for host in hosts:
        host.stop()


def child(process: Process, title: str) -> int:
    """The process id of a child whose title begins so."""

    def found() -> list[int]:
        words = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        titles = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in words}
        return [pid for pid, text in titles.items() if text.startswith(title)]

    until(found)
    return found()[0]


def start(cluster: Cluster) -> tuple[Process, Process]:
    """Start the cluster and an engine over both hosts, and wait until it serves."""
    processes = cluster.head(), cluster.worker()
    cluster.serve()
    until(lambda: cluster.hosts[0].ranks() == 4)
    assert cluster.hosts[0].complete() == 200
    return processes


def test_an_engine_waits_for_the_cards_that_it_needs(cluster: Cluster) -> None:
    leader = cluster.hosts[0]
    child(cluster.head(), "raylet")
    cluster.serve()
    until(lambda: "distributed_init_method" in leader.log.read_text())
    assert not leader.healthy()
    cluster.worker()
    until(leader.healthy)
    held = [path.name for path in (cluster.hosts[1].log.parent / "claims").glob("[0-9]*.json")]
    assert len(held) == 1


def test_a_killed_raylet_ends_the_command_and_the_next_request_the_engine(
    cluster: Cluster,
) -> None:
    _head, worker = start(cluster)
    os.kill(child(worker, "raylet"), signal.SIGKILL)
    assert worker.wait(120) == 1
    until(lambda: cluster.hosts[0].ranks() == 2)
    assert cluster.hosts[0].healthy()
    assert cluster.hosts[0].complete() == 500
    assert cluster.hosts[0].ended() == 0


def test_a_killed_gcs_ends_the_head_and_leaves_the_worker_without_a_raylet(
    cluster: Cluster,
) -> None:
    head, worker = start(cluster)
    raylet = child(worker, "raylet")
    os.kill(child(head, "gcs_server"), signal.SIGKILL)
    assert head.wait(120) == 1
    until(lambda: not Path(f"/proc/{raylet}/exe").exists())
    assert worker.poll() is None


def test_a_port_in_use_and_a_cluster_that_is_not_there_are_refused(cluster: Cluster) -> None:
    assert cluster.hosts[1].ray(f"--address={cluster.address}").wait(120) == 1
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        words = f"{cluster.head_words} --node-manager-port={port}"
        assert cluster.hosts[0].ray(words, **cluster.metrics).wait(120) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in cluster.hosts[0].log.read_text()


@pytest.mark.parametrize(
    "words", ["--no-such-option=1", "--resources=NPU:8", "--head --ray-client-server-port=0"]
)
def test_options_that_ray_does_not_take(cluster: Cluster, words: str) -> None:
    assert cluster.hosts[0].ray(words).wait(120) != 0
