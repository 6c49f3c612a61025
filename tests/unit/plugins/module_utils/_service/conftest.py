# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that answer as vLLM does, one that never answers, and groups of guards."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .group_members import Make, Members

MODELS = {"object": "list", "data": [{"id": "chat", "max_model_len": 32768, "root": "/w"}]}


class Engine(BaseHTTPRequestHandler):
    """Answers as a server of vLLM does, or in the ways that tests ask for."""

    protocol_version = "HTTP/1.1"
    health, key, models, completes = 200, "", json.dumps(MODELS), 200
    silent = threading.Event()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.answer(self.health, "")
        if self.key and self.headers.get("Authorization") != f"Bearer {self.key}":
            return self.answer(401, "{}")
        if self.path == "/v1/models":
            return self.answer(200, self.models)
        return self.answer(404, "")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        right = not self.key or self.headers.get("Authorization") == f"Bearer {self.key}"
        self.answer(self.completes if right else 401, "{}")

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[ThreadingHTTPServer] = []

    def make(**behaviour: Any) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Its", (Engine,), behaviour))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    groups: list[Members] = []

    def members(size: int = 2, **changes: Any) -> Members:
        groups.append(Members(tmp_path, size, **changes))
        return groups[-1]

    yield members
    for group in groups:
        for member in group:
            member.remove()
