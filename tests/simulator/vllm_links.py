# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections between the engines of one service over several hosts, in the stand-in vLLM.

Like the real ones they notice little: a member never looks whether its leader is there, and a
leader of one engine over all hosts learns of a lost member at the next request.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from vllm_behaviour import Behaviour, StartError, error, say
from vllm_group import Group

IMPORTS = 5.0  # seconds for which an engine looks for its Ray cluster
IN_USE = (
    "torch.distributed.DistNetworkError: The server socket has failed to listen on any local "
    "network address. port: {port}, useIpv6: false, code: -98, name: EADDRINUSE, message: address "
    "already in use"
)


def wait_for_ever() -> NoReturn:
    while True:
        time.sleep(3600)


class Link:
    """A connection to the engine of another host; lines of JSON in both directions."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lost_at: float | None = None
        self.first = -1
        self.count = 0
        self.answers: queue.Queue[Any] = queue.Queue()
        self.lines = connection.makefile("r", encoding="utf-8")

    def receive(self) -> Any:
        """The next message; None when the connection has ended or carries something else."""
        try:
            return json.loads(self.lines.readline() or "null")
        except (OSError, ValueError):
            return None

    def send(self, message: Any) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall((json.dumps(message) + "\n").encode())

    def listen(self) -> None:
        """Take what arrives, until the connection ends."""
        while (message := self.receive()) is not None:
            self.answers.put(message)
        self.lost_at = time.monotonic()
        self.answers.put(None)

    def step(self) -> bool:
        """One step on the other host: False when it is lost. Waits without limit for an answer."""
        if self.lost_at is None:
            self.send("step")
        return self.lost_at is None and self.answers.get() is not None


class Member:
    """The engine of a host that is not the leader's."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def join(self) -> None:
        """Connect to the leader and wait until all are there; silent and without a limit."""
        while True:
            with contextlib.suppress(OSError):
                connection = socket.create_connection((self.group.address, self.group.port), 5)
                connection.settimeout(None)
                self.link = Link(connection)
                self.link.send(
                    {
                        "first": self.group.first,
                        "count": self.group.count,
                        "headless": self.group.headless,
                        "agreed": self.group.agreed,
                    }
                )
                if self.link.receive() == "go":
                    return
            time.sleep(0.2)

    def settle(self) -> None:
        """Tell the leader that this host has loaded."""
        self.link.send("ready")

    def take_part(self) -> None:
        """Take part in each step, until the leader is gone."""
        while self.link.receive() is not None:
            self.link.send("done")

    def serve(self) -> NoReturn:
        """Take part in each step; without the leader, sit there in silence."""
        self.take_part()
        wait_for_ever()

    def connected(self) -> int:
        """How many ranks are there, as far as this host can tell: its own."""
        return self.group.count

    def request(self, behaviour: Behaviour) -> None:
        """A request to this host's own API is served by its own ranks."""


class Leader:
    """The engine of the host with rank 0; the others connect to it."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.links: list[Link] = []
        self.change = threading.Condition()
        self.refusal = ""
        self.turn = 0
        try:
            # As torch's store, on all addresses; as a ZeroMQ socket, on the one that was given.
            host = "" if group.native else group.address
            self.listener = socket.create_server((host, group.port))
        except OSError as problem:
            text = IN_USE.format(port=group.port)
            if not group.native:
                text = f"zmq.error.ZMQError: {problem.strerror} (addr='tcp://{host}:{group.port}')"
            raise StartError(text) from problem

    def place(self, task: dict[str, Any]) -> None:
        """Ask the Ray cluster for workers that connect to this engine."""
        port = self.listener.getsockname()[1]
        group = {**dataclasses.asdict(self.group), "port": port, "cluster": ""}
        host, _colon, gcs = self.group.cluster.rpartition(":")
        # The real engine imports for some seconds before it asks; this one starts beside its Ray, and at once.
        deadline = time.monotonic() + IMPORTS
        while True:
            try:
                self.cluster = Link(socket.create_connection((host, int(gcs)), 5))
                break
            except (OSError, ValueError) as problem:
                if time.monotonic() > deadline:
                    raise StartError(
                        "ConnectionError: Could not find a running Ray instance at"
                        f" {self.group.cluster}"
                    ) from problem
            time.sleep(0.2)
        self.cluster.send({"place": {**task, "group": group, "total": self.group.total}})

    def join(self) -> None:
        """Wait until the ranks of all hosts are connected; silent and without a limit."""
        threading.Thread(target=self.accept, daemon=True).start()
        with self.change:
            while not self.refusal and self.missing() > 0:
                self.change.wait()
            if self.refusal:
                raise StartError(self.refusal)
            for link in self.links:
                link.send("go")

    def missing(self) -> int:
        return self.group.total - self.group.count - sum(link.count for link in self.links)

    def accept(self) -> None:
        while True:
            connection, _address = self.listener.accept()
            threading.Thread(target=self.take, args=(Link(connection),), daemon=True).start()

    def take(self, link: Link) -> None:
        """Keep a member that fits; one of another group is left to wait."""
        hello = link.receive()
        if not isinstance(hello, dict):
            return
        with self.change:
            problem = self.misfit(hello)
            if problem is None and self.missing() > 0:
                link.first, link.count = hello["first"], hello["count"]
                self.links.append(link)
            elif problem:
                self.refusal = problem
            self.change.notify_all()
        link.listen()
        with self.change:
            # Until all are there, who goes may come back.
            if link in self.links and self.missing() > 0:
                self.links.remove(link)

    def misfit(self, hello: dict[str, Any]) -> str | None:
        """Why a member ends the start; an empty text when it only does not count; else None."""
        first, count = hello["first"], hello["count"]
        taken = [range(self.group.count)]
        taken += [range(link.first, link.first + link.count) for link in self.links]
        double = [rank for rank in range(first, first + count) if any(rank in one for one in taken)]
        if self.group.native:
            return "" if double or hello["agreed"] != self.group.agreed else None
        if double or first + count > self.group.total:
            rank = double[0] if double else self.group.total
            return f"RuntimeError: Message from engine with unexpected data parallel rank: {rank}"
        if hello["headless"] != self.group.shared:
            need = "must use --headless unless" if self.group.shared else "must not use --headless"
            return f"RuntimeError: Remote engine {first} {need} in external or hybrid dp lb mode"
        if hello["agreed"] != self.group.agreed:
            return (
                f"RuntimeError: Configuration mismatch detected for engine {first}. All DP workers "
                "must have identical configurations for parameters that affect collective "
                "communication"
            )
        return None

    def settle(self) -> None:
        """Wait until all hosts have loaded; for one that is lost meanwhile, for ever."""
        for link in self.links:
            if link.answers.get() is None:
                wait_for_ever()

    def connected(self) -> int:
        """How many ranks of all hosts are there."""
        there = [link.count for link in self.links if link.lost_at is None]
        return self.group.count + sum(there)

    def request(self, behaviour: Behaviour) -> None:
        """Serve one request; ends this process, or never returns, where the real engine does so."""
        if self.group.native:
            # One after the other would miss a lost one behind a silent one.
            if not all(link.step() for link in sorted(self.links, key=lambda one: not one.lost_at)):
                error(
                    "RuntimeError: [../third_party/gloo] Connection closed by peer\n"
                    "EngineCore encountered a fatal error.",
                    "EngineCore",
                )
                os._exit(1)
            return
        if self.group.lockstep:
            if not all(link.step() for link in self.links):
                wait_for_ever()
            return
        if not self.group.shared:
            return
        with self.change:
            now, limit = time.monotonic(), behaviour.lost_rank
            there = [x for x in self.links if x.lost_at is None or now - x.lost_at < limit]
            turns = [None] * self.group.count + [x for x in there for _rank in range(x.count)]
            self.turn += 1
            chosen = turns[self.turn % len(turns)]
        if chosen is not None and not chosen.step():
            wait_for_ever()


Engine = Leader | Member


def answer(connection: socket.socket, engine: Engine, behaviour: Behaviour) -> None:
    """One question of the API: `step` is a request, anything else asks who is there."""
    with connection, contextlib.suppress(OSError):
        if connection.recv(16) == b"step":
            engine.request(behaviour)
        connection.sendall(str(engine.connected()).encode())


def answer_api(listener: socket.socket, engine: Engine, behaviour: Behaviour) -> None:
    """Answer the API of this host, whose requests go through the engine."""
    listener.listen(128)

    def loop() -> None:
        while True:
            connection = listener.accept()[0]
            words: Callable[..., None] = answer
            threading.Thread(
                target=words, args=(connection, engine, behaviour), daemon=True
            ).start()

    threading.Thread(target=loop, daemon=True).start()
    say("Engine and API are connected", "EngineCore")


def ask(name: bytes, word: str, seconds: float | None) -> int | None:
    """How many ranks the engine of this host sees after `word`; None when the engine is gone."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(name)
            connection.sendall(word.encode())
            return int(connection.recv(16))
        except (OSError, ValueError):
            return None
