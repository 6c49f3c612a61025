# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy with the files of a gateway, before servers that tell what they were asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.backends import backends_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.files import files_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.gateway import Gateway
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.keys import parse_keys
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.targets import Target
from ansible_collections.inferops.ascend.tests.ports import free_ports

OPTIONS: dict[str, Any] = {
    "bind": "127.0.0.1",
    "metrics_bind": "127.0.0.1",
    "tls": "none",
    "max_body_mb": 1,
    "max_connections": 200,
    "receive_timeout": 60,
    "request_timeout": 60,
    "paths": ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"],
}


class Engine:
    """A server that answers with its name, the model and the keys it got."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gone = threading.Event()  # a client that went away
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                request = json.loads(self.body())
                if request.get("hold"):  # no answer until the connection ends
                    with contextlib.suppress(ConnectionResetError):
                        self.connection.recv(1)
                    engine.gone.set()
                    return
                if request.get("stream"):
                    self.stream()
                    return
                found = {
                    "engine": engine.name,
                    "model": request["model"],
                    "authorization": self.headers.get("Authorization"),
                    "x-api-key": self.headers.get("x-api-key"),
                }
                body = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def body(self) -> bytes:
                if self.headers["Transfer-Encoding"] != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"]))
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                return found

            def stream(self) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    for number in range(600):
                        self.wfile.write(f"data: {number}\n\n".encode())
                        time.sleep(0.05)
                except OSError:
                    engine.gone.set()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def target(self, service: str, host: str, *names: str, **more: Any) -> Target:
        port = int(self.server.server_address[1])
        return Target(f"{service}:{host}", service, host, "127.0.0.1", port, names, 32768, **more)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error, which has to have the shape of OpenAI's."""
        assert self.headers["content-type"] == "application/json"
        detail = self.json["error"]
        assert set(detail) == {"message", "type", "param", "code"} and detail["message"]
        return str(detail["code"])


@dataclass
class Running:
    """A gateway that runs."""

    port: int
    metrics_port: int
    process: subprocess.Popen[bytes] = field(repr=False)

    def ask(
        self,
        model: object = None,
        key: str = "",
        path: str = "/v1/chat/completions",
        body: Any = None,
        method: str = "POST",
        port: int = 0,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        headers = {**(headers or {}), **({"Authorization": f"Bearer {key}"} if key else {})}
        if method == "POST" and body is None:
            body = json.dumps({"model": model, **more}).encode()
        # It may answer before it has read all.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())


def write(folder: Path, gateway: Gateway, certificate: str | None = None) -> None:
    """The files of a gateway in a directory, for a HAProxy that runs as whoever runs the test."""
    files = files_of(gateway, certificate)
    for name, text in {**files.directory, **files.secret}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("/run/vllm-gateway", str(folder)))
    path = folder / "haproxy.cfg"
    left_out = ("    chroot", "    user ", "    group ")
    lines = [line for line in path.read_text().splitlines() if not line.startswith(left_out)]
    path.write_text("\n".join(lines) + "\n")


Start = Callable[..., Running]


@pytest.fixture
def haproxy() -> str:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert program, "HAProxy is missing: tests/tools/dev haproxy installs it"
    return program


@pytest.fixture
def start(haproxy: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway for some targets; keyword arguments are options of the role."""
    processes = []

    def it(*targets: Target, keys: Any = (), affinity: Any = (), **options: Any) -> Running:
        port, metrics_port = free_ports(2)
        ports = {"port": port, "metrics_port": metrics_port}
        backends = backends_of(targets, affinity)
        gateway = Gateway.of({**OPTIONS, **ports, **options}, parse_keys(keys), backends)
        write(tmp_path, gateway)
        command = [haproxy, "-C", str(tmp_path), "-f", "haproxy.cfg"]
        log = (tmp_path / "log").open("wb")
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        processes.append(process)
        running = Running(port, metrics_port, process)
        deadline = time.monotonic() + 60
        while True:
            try:
                if running.ask(path="/health", method="GET").status == 200:
                    return running
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    yield it
    for process in processes:
        process.kill()
        process.wait(30)
