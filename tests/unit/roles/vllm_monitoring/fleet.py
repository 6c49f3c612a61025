# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet on this machine, watched by Debian's Prometheus with the files of the role."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.files import Limits, files
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.fleet import (
    Fleet,
    WatchedHost,
    WatchedService,
)
from ansible_collections.inferops.ascend.tests.ports import free_ports

from ...simulator.hosts import Host, until

# Three engines of which each has other names; the first two share a card.
VERSIONS = {"old": "0.9.1", "chat": "0.18.0", "new": "0.23.0"}
CARDS = {"old": (0,), "chat": (0, 1), "new": (2,)}
EXPORTER = "import sys, npu_exporter; sys.exit(npu_exporter.main())"
# What HAProxy 2.6.12 answered for a model with one server up and one down.
HAPROXY = """\
# TYPE haproxy_backend_status gauge
haproxy_backend_status{proxy="model-chat",state="DOWN"} 0
haproxy_backend_status{proxy="model-chat",state="UP"} 1
# TYPE haproxy_backend_active_servers gauge
haproxy_backend_active_servers{proxy="model-chat"} 1
# TYPE haproxy_backend_current_sessions gauge
haproxy_backend_current_sessions{proxy="model-chat"} 0
# TYPE haproxy_backend_current_queue gauge
haproxy_backend_current_queue{proxy="model-chat"} 0
# TYPE haproxy_backend_http_responses_total counter
haproxy_backend_http_responses_total{proxy="model-chat",code="2xx"} 7
# TYPE haproxy_server_status gauge
haproxy_server_status{proxy="model-chat",server="chat:h1",state="DOWN"} 1
haproxy_server_status{proxy="model-chat",server="chat:h1",state="UP"} 0
"""


class Prometheus:
    """The server of a test, and what it answers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **arguments: str) -> Any:
        query = urllib.parse.urlencode(arguments)
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return {}

    def rows(self, expr: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("query", query=expr).get("result", [])
        return found

    def value(self, expr: str) -> float | None:
        """The value of an expression with one row."""
        rows = self.rows(expr)
        return float(rows[0]["value"][1]) if len(rows) == 1 else None


def write(directory: Path, rules: Path, made: dict[str, str]) -> Path:
    """The files of the role, and a minimal configuration that takes them."""
    for path, text in made.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    (directory / "rules" / rules.name).write_text(rules.read_text())
    jobs = yaml.safe_load(made["scrape_configs/inferops_ascend.yml"])
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{directory}/rules/*.yml"],
        **jobs,
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    return directory / "prometheus.yml"


@contextmanager
def answering(text: str) -> Iterator[int]:
    """A server that answers with this text; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@contextmanager
def watched(directory: Path, programs: Path, rules: Path, options: Path) -> Iterator[Prometheus]:
    """Stand-ins of three versions, of npu-exporter and of a gateway, and Prometheus over them."""
    hosts = {name: Host(directory / name, options) for name in VERSIONS}
    exporter, port = free_ports(2)
    first = hosts["old"]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, version in VERSIONS.items():
            hosts[name].serve(f"--served-model-name {name}", version)
        words = ["-ip=127.0.0.1", f"-port={exporter}"]
        running.append(first.run(EXPORTER, words))
        with answering(HAPROXY) as gateway:
            fleet = Fleet(
                [
                    WatchedHost(
                        "h1",
                        "910B3",
                        8,
                        f"127.0.0.1:{exporter}",
                        tuple(
                            WatchedService(
                                name,
                                name,
                                "Qwen3-14B",
                                version,
                                CARDS[name],
                                f"127.0.0.1:{hosts[name].port}",
                            )
                            for name, version in VERSIONS.items()
                        ),
                        (*VERSIONS, "lost"),
                    )
                ],
                gateways={"gw": f"127.0.0.1:{gateway}"},
            )
            made = files(fleet, Limits(10, 40), str(directory / "watch" / "targets"))
            config = write(directory / "watch", rules, made)
            command = [programs / "prometheus", f"--config.file={config}"]
            command += [
                f"--storage.tsdb.path={directory}/tsdb",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
            with (directory / "prometheus.log").open("wb") as log:
                running.append(subprocess.Popen(command, stdout=log, stderr=log))
            prometheus = Prometheus(port)
            for host in hosts.values():
                until(host.healthy, 180)
            until(lambda: prometheus.value("sum(up)") == 5, 180)
            yield prometheus
    finally:
        for process in running:
            process.kill()
            process.wait()
        for host in hosts.values():
            host.stop()
