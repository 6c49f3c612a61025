# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is watched: hosts with their cards, services and exporter, and gateways."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._base.values import flat, shown, whole_number
from .._base.variables import Variables
from .._model.catalogue import Catalogue
from .._service.removal import listed_names
from ..settings import Settings

# As the plan names a further replica on a host.
_COPY = re.compile(r"(.+)-[1-9][0-9]{0,3}")
_DEVICE = re.compile(r"/dev/davinci([0-9]+)")
PORT = 8082  # npu-exporter


@dataclass(frozen=True)
class WatchedService:
    """A placed service of a host that should run.

    service: its name in the plan, which all replicas share. replica: the name of its unit. cards:
    physical ids, N of /dev/davinciN. target: address and port of its metrics; empty for a part of a
    service over several hosts that is not its leader.
    """

    service: str
    replica: str
    model: str
    engine_version: str
    cards: tuple[int, ...]
    target: str = ""
    https: bool = False


@dataclass(frozen=True)
class WatchedHost:
    """cards: how many it should have, None: not declared. exporter: address and port of npu-exporter, if
    there is one. listed: the replicas that its variables ask for."""

    name: str
    chip: str = ""
    cards: int | None = None
    exporter: str = ""
    services: tuple[WatchedService, ...] = ()
    listed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """planned: replicas by service, None: one on each candidate. gateways: targets by host."""

    hosts: Sequence[WatchedHost]
    planned: Mapping[str, int | None] = field(default_factory=dict)
    gateways: Mapping[str, str] = field(default_factory=dict)

    def expected(self) -> dict[str, int]:
        """How many replicas of each service there should be."""
        listed = Counter(
            base_name(name, self.planned) for host in self.hosts for name in host.listed
        )
        numbers = {name: number for name, number in self.planned.items() if number is not None}
        return dict(sorted({**listed, **numbers}.items()))


def base_name(unit: str, planned: Mapping[str, int | None]) -> str:
    """The service of which a unit is a replica: itself, unless the plan made it as NAME-2."""
    match = _COPY.fullmatch(unit)
    return match[1] if match and unit not in planned and match[1] in planned else unit


def planned_services(variables: Variables, catalogue: Catalogue) -> dict[str, int | None]:
    """Replicas by service of vllm_plan_services of a host; what cannot be read is left out."""
    value = variables.value("vllm_plan_services")
    found: dict[str, int | None] = {}
    for entry in flat(value) if isinstance(value, list) else ():
        given = entry if isinstance(entry, Mapping) else {}
        if given.get("state", "started") != "started":
            continue
        number = 1 if given.get("replicas") is None else whole_number(given["replicas"])
        for name in listed_names([entry], catalogue):
            found[name] = number
    return found


def watched_host(
    name: str,
    settings: Settings,
    variables: Variables,
    services: Sequence[Mapping[str, Any]],
    planned: Mapping[str, int | None],
    catalogue: Catalogue,
    connection: str,
    chip: str = "",
) -> WatchedHost:
    """A host as its variables and its placed services describe it. Raises AscendError.

    connection: the address at which Ansible reaches it. chip: what npu-smi calls its chips, where
    the host was read.
    """
    address = variables.text("vllm_monitoring_address") or connection
    profile = settings.profile
    if not chip and profile is not None and len(profile.chips) == 1:
        chip = profile.chips[0]
    listens = _listens(settings, address)
    watched = tuple(
        WatchedService(
            base_name(each["name"], planned),
            each["name"],
            str(each.get("model") or ""),
            settings.engine_version,
            tuple(int(match[1]) for match in map(_DEVICE.fullmatch, each["devices"]) if match),
            "" if _rank(each) else joined(listens, int(each["port"])),
            "ssl-certfile" in (each.get("args") or {}),
        )
        for each in services
        if each.get("state", "started") == "started"
    )
    return WatchedHost(
        name,
        chip,
        _card_count(settings),
        _exporter(variables, address),
        watched,
        _listed(settings, catalogue),
    )


def joined(address: str, port: int) -> str:
    """Address and port as a target."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _rank(service: Mapping[str, Any]) -> int:
    return whole_number((service.get("cluster") or {}).get("rank")) or 0


def _listens(settings: Settings, address: str) -> str:
    """The address that services listen on where it is one of its own, else that of the host."""
    listens = str(settings.unit.host)
    try:
        found = ipaddress.ip_address(listens)
    except ValueError:
        return address
    return address if found.is_unspecified or found.is_loopback else listens


def _card_count(settings: Settings) -> int | None:
    cards = settings.named_cards
    if isinstance(cards, (list, tuple)) or cards is None:
        return settings.profile.cards if settings.profile else None
    return whole_number(cards)


def _listed(settings: Settings, catalogue: Catalogue) -> tuple[str, ...]:
    wanted = [
        request
        for request in settings.requests
        if not isinstance(request, Mapping)
        or (request.get("state", "started") == "started" and not _rank(request))
    ]
    return tuple(listed_names(wanted, catalogue))


def _exporter(variables: Variables, address: str) -> str:
    here = variables.text("vllm_monitoring_npu_exporter")
    if not here and not variables.flag("vllm_monitoring_npu_exporter_present"):
        return ""
    port = variables.number("vllm_monitoring_npu_exporter_port")
    if port is None or not 1 <= port <= 65535:
        raise AscendError(
            f"vllm_monitoring_npu_exporter_port is {shown(port)}; a port is needed, such as {PORT}."
        )
    return joined(variables.text("vllm_monitoring_npu_exporter_address") or address, port)
