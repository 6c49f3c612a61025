# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts of services and two gateways before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..hosts import scenario
from ..playbooks import Books, Ran
from .clients import Client

SCENARIO = scenario("gateway")
GATEWAY, OTHER = "gw1", "gw2"
CHAT = {"model": "Qwen3-0.6B", "name": "chat", "port": 8000}
EMBED_KEY = "key-of-the-embedding-service"
EMBED = {"model": "bge-large-zh-v1.5", "name": "embed", "api_key": EMBED_KEY}
ALL, SOME = "client-key-for-all-models", "client-key-for-some-models"
KEYS = [{"name": "all", "key": ALL}, {"name": "some", "key": SOME, "models": ["chat"]}]


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
        return Client.of(self.address(GATEWAY), self.certificate(), key)


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
