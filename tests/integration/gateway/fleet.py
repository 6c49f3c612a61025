# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts of services and a gateway before them, and clients that ask it."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..hosts import scenario
from ..playbooks import Books, Ran

SCENARIO = scenario("gateway")
GATEWAY = "gw1"
CHAT = {"model": "Qwen3-0.6B", "name": "chat", "port": 8000}
EMBED_KEY = "key-of-the-embedding-service"
EMBED = {"model": "bge-large-zh-v1.5", "name": "embed", "api_key": EMBED_KEY}
ALL, SOME = "client-key-for-all-models", "client-key-for-some-models"
KEYS = [{"name": "all", "key": ALL}, {"name": "some", "key": SOME, "models": ["chat"]}]


@dataclass
class Answer:
    status: int
    json: Any


class Fleet(Books):
    """The hosts, and the gateway's address and certificate."""

    def address(self, host: str) -> str:
        hosts = yaml.safe_load(self.inventory.read_text())["all"]["hosts"]
        return str(hosts[host]["ansible_host"])

    def gateway(self, *flags: str, **extra: Any) -> Ran:
        """Run the playbook gateway; `vllm_gateway_` is left out of the names of variables."""
        values = {f"vllm_gateway_{name}": value for name, value in extra.items()}
        return self.run("gateway", *flags, **values)

    def context(self) -> ssl.SSLContext:
        """For TLS that trusts the gateway's certificate alone."""
        pem = self.sh(GATEWAY, "openssl x509 -in /etc/vllm-gateway/tls.pem")
        return ssl.create_default_context(cadata=pem)

    def client(self, key: str = ALL) -> Client:
        return Client(self.address(GATEWAY), self.context(), key)


@dataclass
class Client:
    """Asks a gateway."""

    address: str
    context: ssl.SSLContext
    key: str

    def ask(
        self, model: str = "", path: str = "/v1/chat/completions", body: Any = None, **more: Any
    ) -> Answer:
        """The answer to a request for a model; to GET without one."""
        connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=120)
        headers = {"Authorization": f"Bearer {self.key}"}
        if body is None and model:
            body = json.dumps({"model": model, **more}).encode()
        # It may answer before it has read all.
        with contextlib.suppress(ssl.SSLEOFError, BrokenPipeError, ConnectionResetError):
            connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return Answer(answer.status, json.loads(text))


@dataclass
class Load:
    """Clients that ask for a model without a pause; `failed` are the answers that were none."""

    client: Client
    model: str = "chat"
    threads: int = 4
    served: int = 0
    failed: list[str] = field(default_factory=list)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                answer = self.client.ask(self.model)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                continue
            if answer.status == 200:
                self.served += 1
            else:
                self.failed.append(f"{answer.status} {answer.json}")

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _n in range(self.threads)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def write_inventory(folder: Path, started: Path) -> None:
    """The groups of a fleet, beside the addresses of its hosts."""
    text = started.read_text(encoding="utf-8")
    inventory = yaml.safe_load(text)
    inventory["all"]["children"] = {
        "ascend": {"hosts": {"h1": None, "h2": None}},
        "ascend_gateway": {"hosts": {GATEWAY: None}},
    }
    (folder / "fleet.yml").write_text(yaml.safe_dump(inventory))
    variables = folder / "group_vars"
    variables.mkdir()
    (variables / "ascend_gateway.yml").write_text(
        yaml.safe_dump({"vllm_gateway_keys": KEYS, "vllm_gateway_max_body_mb": 1})
    )
    values = {"vllm_service_restart_delay": 2, "vllm_service_ready_interval": 1}
    (variables / "ascend.yml").write_text(yaml.safe_dump(values))
