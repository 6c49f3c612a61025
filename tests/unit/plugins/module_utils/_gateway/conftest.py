# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy of this machine, before two servers whose answers a test holds back."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._gateway.master import (
    Master,
    NotRunning,
)
from ansible_collections.inferops.ascend.tests.ports import free_ports

CONFIGURATION = """
global
    stats socket {folder}/admin.sock level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 5s
frontend front
    bind unix@{folder}/front.sock
    bind 127.0.0.1:{port}
    default_backend model-chat
backend model-chat
    option httpchk GET /health
    default-server inter 100ms rise 1 fall 1 check
    server chat:h1 127.0.0.1:{one}
    server chat:h2 127.0.0.1:{two}
backend model-Qwen
    server chat:h1 127.0.0.1:{one}
"""


@dataclass
class Engine:
    """A server that answers each request when `free` is set."""

    name: str
    free: threading.Event = field(default_factory=threading.Event)
    healthy: bool = True
    port: int = 0
    busy: int = 0

    def __post_init__(self) -> None:
        self.free.set()
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/health":
                    self.send_response(200 if engine.healthy else 503)
                else:
                    engine.busy += 1
                    engine.free.wait(30)
                    engine.busy -= 1
                    self.send_response(200)
                self.end_headers()
                self.wfile.write(engine.name.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@dataclass
class Gateway:
    """HAProxy before two engines."""

    master: Master
    process: subprocess.Popen[bytes]
    port: int
    engines: dict[str, Engine]

    def get(self) -> str:
        """The engine that answers a request."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=30) as answer:
            return str(answer.read().decode())

    def begin(self) -> threading.Thread:
        """A request that goes on in the background, once an engine has it."""
        before = sum(engine.busy for engine in self.engines.values())
        thread = threading.Thread(target=self.get)
        thread.start()
        until(lambda: sum(engine.busy for engine in self.engines.values()) > before)
        return thread

    def reload(self) -> None:
        """Start a new worker beside the current one."""
        before = self.master.workers()[0].pid
        self.process.send_signal(12)  # SIGUSR2
        until(lambda: self.workers() not in ([], [before]) and self.workers()[0] != before)

    def workers(self) -> list[int]:
        try:
            return [worker.pid for worker in self.master.workers()]
        except NotRunning:
            return []


def until(condition: object, timeout: float = 60) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the state did not come"
        time.sleep(0.02)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert program, "HAProxy is missing: tests/tools/dev hosts installs it"
    engines = {name: Engine(name) for name in ("h1", "h2")}
    port = free_ports(1)[0]
    text = CONFIGURATION.format(
        folder=tmp_path, port=port, one=engines["h1"].port, two=engines["h2"].port
    )
    (tmp_path / "haproxy.cfg").write_text(text)
    master = Master(str(tmp_path / "master.sock"))
    process = subprocess.Popen(
        [program, "-W", "-S", master.path, "-f", str(tmp_path / "haproxy.cfg")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    it = Gateway(master, process, port, engines)
    try:
        until(it.workers)
        yield it
    finally:
        for engine in engines.values():
            engine.free.set()
        process.terminate()
        process.wait(30)
        for engine in engines.values():
            engine.server.shutdown()
            engine.server.server_close()
