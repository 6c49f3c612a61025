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
GATEWAY, OTHER = "gw1", "gw2"
CHAT = {"model": "Qwen3-0.6B", "name": "chat", "port": 8000}
EMBED_KEY = "key-of-the-embedding-service"
EMBED = {"model": "bge-large-zh-v1.5", "name": "embed", "api_key": EMBED_KEY}
ALL, SOME = "client-key-for-all-models", "client-key-for-some-models"
KEYS = [{"name": "all", "key": ALL}, {"name": "some", "key": SOME, "models": ["chat"]}]


@dataclass
class Answer:
    """`text` is what came; a stream is complete with its last event."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def complete(self) -> bool:
        return (
            self.status == 200
            and not self.text.startswith("data:")
            or self.text.endswith("data: [DONE]\n\n")
        )


class Fleet(Books):
    """The hosts, and the gateway's address and certificate."""

    def address(self, host: str) -> str:
        hosts = yaml.safe_load(self.inventory.read_text())["all"]["hosts"]
        return str(hosts[host]["ansible_host"])

    def gateway(self, *flags: str, **extra: Any) -> Ran:
        """Run the playbook gateway; `vllm_gateway_` is left out of the names of variables."""
        values = {f"vllm_gateway_{name}": value for name, value in extra.items()}
        return self.run("gateway", *flags, **values)

    def certificate(self, host: str = GATEWAY) -> str:
        """The certificate of a gateway, the only one that its clients trust."""
        return self.sh(host, "openssl x509 -in /etc/vllm-gateway/tls.pem")

    @property
    def shared(self) -> str:
        return shared_address(yaml.safe_load(self.inventory.read_text()))

    def client(self, key: str = ALL) -> Client:
        context = ssl.create_default_context(cadata=self.certificate())
        return Client(self.address(GATEWAY), context, key)


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
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, text)


@dataclass
class Load:
    """Clients that ask for a model without a pause; `failed` are the answers that were none.

    streams: every other client asks for streams.
    """

    client: Client
    streams: bool = False
    model: str = "chat"
    threads: int = 4
    served: int = 0
    failed: list[str] = field(default_factory=list)

    def _run(self, stream: bool) -> None:
        more = {"stream": True} if stream else {}
        while not self._over.is_set():
            try:
                answer = self.client.ask(self.model, **more)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                continue
            if answer.complete:
                self.served += 1
            else:
                self.failed.append(f"{answer.status} {answer.text}")

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self.streams and bool(number % 2),))
            for number in range(self.threads)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def shared_address(inventory: Any) -> str:
    """An address of the hosts' network that none of them has."""
    address = str(inventory["all"]["hosts"][GATEWAY]["ansible_host"])
    return f"{address.rpartition('.')[0]}.200"


def write_inventory(folder: Path, started: Path) -> None:
    """The groups of a fleet, beside the addresses of its hosts."""
    text = started.read_text(encoding="utf-8")
    inventory = yaml.safe_load(text)
    inventory["all"]["children"] = {
        "ascend": {"hosts": {"h1": None, "h2": None}},
        "ascend_gateway": {"hosts": {GATEWAY: None, OTHER: None}},
    }
    (folder / "fleet.yml").write_text(yaml.safe_dump(inventory))
    variables = folder / "group_vars"
    variables.mkdir()
    shared = {
        "vllm_gateway_keys": KEYS,
        "vllm_gateway_max_body_mb": 1,
        "vllm_gateway_vip": f"{shared_address(inventory)}/24",
    }
    (variables / "ascend_gateway.yml").write_text(yaml.safe_dump(shared))
    values = {"vllm_service_restart_delay": 2, "vllm_service_ready_interval": 1}
    (variables / "ascend.yml").write_text(yaml.safe_dump(values))
