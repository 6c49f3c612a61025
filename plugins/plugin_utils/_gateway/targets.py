# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a gateway routes to: a service of a host, or a server that is not of the fleet."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json

from .._base.errors import AscendError
from .._base.systemd import service_secrets
from .._base.values import kind_of, shown, whole_number
from .._place.kv_transfer import KvTransfer
from .._service.engine import engine_config
from .._service.unit import UnitSettings
from .names import can_be_found, server_name

_ANY = ("0.0.0.0", "::", "")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_KEYS = ("names", "servers", "api_key")
# Roles of services that a proxy asks, and no client (docs/disaggregation.md).
_BEHIND_A_PROXY = ("kv_producer", "kv_consumer")


@dataclass(frozen=True)
class Target:
    """A server and the names of models that it answers to.

    Attributes:
        service, host: its service's name and host; empty for one that is not of the fleet.
        names: served names, aliases and adapters, without one twice.
        length: max_model_len in tokens, None where it is not known.
        api_key: which it wants of clients; empty for none.
        tls: whether it speaks TLS.
    """

    name: str
    service: str
    host: str
    address: str
    port: int
    names: tuple[str, ...]
    length: int | None = None
    api_key: str = field(default="", repr=False)
    tls: bool = False

    @property
    def endpoint(self) -> str:
        """ADDRESS:PORT."""
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )


def of_service(
    service: Mapping[str, Any], unit: UnitSettings, host: str, address: str
) -> Target | None:
    """A placed service with its private keys; None where it takes no requests of clients.

    host: its name in the inventory. address: at which the host is reached. Raises AscendError.
    """
    cluster = service.get("cluster") or {}
    if service.get("state", "started") != "started" or whole_number(cluster.get("rank", 0)):
        return None
    if is_behind_a_proxy(service):
        return None
    config = engine_config(
        service, unit.options_version, host=unit.host, weights_dir=unit.weights_dir
    )
    who = f"service {service['name']} of {host}"
    listens = str(config["host"])
    if listens not in _ANY:
        if _is_loopback(listens):
            raise AscendError(
                f"{who} listens on {listens}, where no gateway reaches it. Set vllm_service_host to an"
                f" address of {host}, or leave it out."
            )
        address = listens
    served = config.get("served-model-name") or config["model"]
    served = served if isinstance(served, list) else [served]
    names = [*map(str, served), *_adapters(config.get("lora-modules"), who)]
    for name in names:
        check_name(name, who)
    return Target(
        server_name(str(service["name"]), host),
        str(service["name"]),
        host,
        address,
        int(service["port"]),
        tuple(dict.fromkeys(names)),
        int(str(config["max-model-len"])),
        service_secrets(service).get("VLLM_API_KEY", ""),
        bool(config.get("ssl-certfile")),
    )


def is_behind_a_proxy(service: Mapping[str, Any]) -> bool:
    """Whether a placed service is asked by the proxy of prefill and decode, and by no client."""
    transfer = KvTransfer.parse(service, str(service["name"]))
    return transfer is not None and transfer.role in _BEHIND_A_PROXY


def outside(value: object) -> list[Target]:
    """Servers of `vllm_gateway_backends`. Raises AscendError, which never shows a key."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise AscendError(f"vllm_gateway_backends is {kind_of(value)}; a list is needed.")
    found = []
    for number, each in enumerate(value, 1):
        who = f"vllm_gateway_backends, item {number}"
        if not isinstance(each, Mapping) or set(map(str, each)) - set(_KEYS):
            raise AscendError(
                f"{who}: a mapping of {', '.join(_KEYS)} is needed, such as {{names: [chat], servers:"
                " ['10.0.0.9:9000']}."
            )
        names, servers = (_texts(each.get(key), f"{who}, {key}") for key in ("names", "servers"))
        for name in names:
            check_name(name, who)
        key = each.get("api_key") or ""
        if not isinstance(key, str):
            raise AscendError(f"{who}: api_key is {kind_of(key)}; a text is needed.")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise AscendError(
                f"{who}: api_key has a character that no Authorization header carries."
            )
        for server in servers:
            match = _ADDRESS.fullmatch(server)
            if not match or not 0 < int(match.group(2)) < 65536:
                raise AscendError(f"{who}: {shown(server)} is not ADDRESS:PORT.")
            host, port = match.group(1).strip("[]"), int(match.group(2))
            found.append(Target(server_name(host, str(port)), "", "", host, port, names, None, key))
    return found


def check_name(name: str, who: str) -> None:
    """Raises AscendError for a model's name that HAProxy's maps cannot have."""
    if not can_be_found(name):
        raise AscendError(
            f"{who} is served as {shown(name)}, and the gateway finds no name that is empty, has a"
            " space or begins with #. Give it another one (served_model_name)."
        )


def _adapters(value: Any, who: str) -> list[str]:
    """Names in `lora-modules`, each NAME=PATH or JSON with `name`. Raises AscendError."""
    found = []
    for each in value if isinstance(value, list) else [value] if value else []:
        text = str(each)
        name: object = text.partition("=")[0]
        if text.lstrip().startswith("{"):
            try:
                name = parse_json(text)["name"]
            except (ValueError, KeyError, TypeError) as error:
                raise AscendError(f"{who}: {shown(text)} in lora-modules has no name.") from error
        found.append(str(name))
    return found


def _texts(value: object, what: str) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or not listed:
        raise AscendError(f"{what} is {shown(value)}; a list of texts is needed.")
    if not all(isinstance(each, str) for each in listed):
        raise AscendError(f"{what} is {shown(value)}; a list of texts is needed.")
    return tuple("".join([each]) for each in listed)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
