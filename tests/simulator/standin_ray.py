# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the command `ray` beside the stand-in vLLM: `ray start`, and no more.

It has the processes, ports and failures of a bare cluster that were seen with Ray 2.48; its
cluster knows one thing, how many NPU each host has.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

import ascend_sim as sim
from vllm_behaviour import StartError, error
from vllm_engine import check_memory, claim, hold_hccl_ports, open_cards, set_title
from vllm_group import CLUSTER, Group
from vllm_links import Link, Member
from vllm_service import Service, visible_cards

# Ports of each host, and of the head alone; a host's number for one is an option of `ray start`.
PORTS = (
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "metrics-export-port",
)
METRICS = {"AUTOSCALER_METRIC_PORT": "44217", "DASHBOARD_METRIC_PORT": "44227"}


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="ray", description="stand-in of the Ascend simulator")
    start = main.add_subparsers(dest="verb", required=True).add_parser("start")
    for name in ("head", "block", "disable-usage-stats"):
        start.add_argument(f"--{name}", action="store_true")
    for name in ("address", "node-ip-address", "temp-dir", "include-dashboard"):
        start.add_argument(f"--{name}")
    start.add_argument("--resources", type=json.loads, default={})
    start.add_argument("--port", type=int, default=6379)
    start.add_argument("--ray-client-server-port", type=int, default=10001)
    for name in (*PORTS, "min-worker-port", "max-worker-port"):
        start.add_argument(f"--{name}", type=int, default=0)
    return main


def listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as problem:
        raise SystemExit(
            f"ray: cannot listen on {host or '*'}:{port}: {problem.strerror}"
        ) from problem


class Cluster:
    """What the head's GCS knows: the hosts that are connected, and their NPU."""

    def __init__(self) -> None:
        self.nodes: list[tuple[Link, int]] = []
        self.change = threading.Condition()

    def take(self, link: Link) -> None:
        message = link.receive() or {}
        if "npu" in message:
            with self.change:
                self.nodes.append((link, message["npu"]))
                self.change.notify_all()
            link.send("welcome")
            while link.receive() is not None:
                pass
            with self.change:
                self.nodes.remove((link, message["npu"]))
        elif "place" in message:
            threading.Thread(target=link.listen, daemon=True).start()
            self.place(message["place"], link)

    def place(self, task: dict[str, Any], engine: Link) -> None:
        """Give an engine's ranks to hosts, once there are cards enough, unless it is gone."""
        with self.change:
            while sum(npu for _link, npu in self.nodes) < task["total"]:
                self.change.wait(0.2)
                if engine.lost_at is not None:
                    return
            first = 0
            for link, npu in self.nodes:
                count = min(npu, task["total"] - first)
                if count:
                    link.send({**task, "first": first, "count": count})
                first += count


def gcs(options: argparse.Namespace, host: str, told: int) -> NoReturn:
    """The head's process that the others connect to."""
    listener = listen(host, options.port)
    held = [listen("", int(os.environ.get(name, usual))) for name, usual in METRICS.items()]
    held.append(listen(host, options.ray_client_server_port))
    set_title(f"{CLUSTER}{host}:{options.port}")
    os.write(told, b"1")
    cluster = Cluster()
    while held:
        link = Link(listener.accept()[0])
        threading.Thread(target=cluster.take, args=(link,), daemon=True).start()
    os._exit(1)


def raylet(options: argparse.Namespace, host: str, address: str, told: int) -> NoReturn:
    """A host's process: offers its cards to the head, and starts workers on them."""
    held = [listen(host, getattr(options, name.replace("-", "_"))) for name in PORTS]
    set_title("raylet")
    where, _colon, port = address.rpartition(":")
    deadline = time.monotonic() + 5
    while True:
        try:
            link = Link(socket.create_connection((where, int(port)), 2))
            break
        except OSError as problem:
            if time.monotonic() > deadline:
                raise SystemExit(f"ray: cannot reach the GCS at {address}: {problem}") from problem
            time.sleep(0.2)
    link.connection.settimeout(None)
    link.send({"npu": int(options.resources.get("NPU", 0))})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while held and (message := link.receive()) is not None:
        if message == "welcome":
            os.write(told, b"1")
        elif os.fork() == 0:
            work(message)
    # Seen: it takes a while to notice that the GCS is another one, and calls that success.
    time.sleep(float(os.environ.get("ASCEND_SIM_GCS_LOST", "32")))
    os._exit(0)


def work(task: dict[str, Any]) -> NoReturn:
    """A worker: holds cards of this host for the ranks of an engine elsewhere."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # it ends with its raylet
    set_title("ray::RayWorkerWrapper")
    group = Group(**{**task["group"], "first": task["first"], "count": task["count"]})
    described = {**task["service"], "local_world": group.count, "group": group}
    service = Service(**described, visible=[])
    try:
        service.visible = visible_cards(sim.load_state())[: group.count]
        held: list[Any] = [open_cards(service, task["shared"]), hold_hccl_ports(service)]
        check_memory(service)
        claim(service)
    except StartError as problem:
        error(str(problem), "RayWorkerWrapper")
        os._exit(1)
    member = Member(group)
    member.join()
    time.sleep(task["delay"])
    member.settle()
    while held:
        member.take_part()
        # Ray ends the actors of a driver that is gone.
        os._exit(0)
    os._exit(1)


def spawn(process: Any, *arguments: Any) -> int:
    """Start a process and wait until it is up; SystemExit when it is not."""
    up, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(up)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            process(*arguments, told)
        except SystemExit as problem:
            print(problem, file=sys.stderr, flush=True)
            os._exit(1)
    os.close(told)
    started = os.read(up, 1)
    os.close(up)
    if not started:
        raise SystemExit(1)
    return child


def main() -> int:
    options = parser().parse_args()
    if not isinstance(options.resources, dict):
        raise SystemExit("ray: --resources is no JSON object")
    if options.ray_client_server_port < 1024:
        raise SystemExit("ray: --ray-client-server-port must be 1024 or more")
    if options.head == bool(options.address):
        raise SystemExit("ray: give one of --head and --address")
    host = options.node_ip_address or "127.0.0.1"
    children: list[int] = []

    def end(*_: Any) -> NoReturn:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    try:
        if options.head:
            children.append(spawn(gcs, options, host))
        address = options.address or f"{host}:{options.port}"
        children.append(spawn(raylet, options, host, address))
    except SystemExit:
        end()
    print("Ray runtime started.", flush=True)
    if not options.block:
        return 0
    print("--block: stays until a process of Ray ends unexpectedly", flush=True)
    while True:
        if os.waitpid(-1, 0)[1]:
            print("Some Ray subprocesses exited unexpectedly", file=sys.stderr, flush=True)
            end()
        while len(children) == 1:
            # Seen: an end with status 0 is no failure, and the command stays without a child.
            signal.pause()
