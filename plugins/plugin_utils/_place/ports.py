# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports of a host's services: for the API, for HCCL, and for passing the KV cache on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from .._base.errors import AscendError
from .._base.values import whole_number

# CANN 8.5, "HCCL_IF_BASE_PORT": https://www.hiascend.com/document/detail/en/canncommercial/850/
# maintenref/envvar/envref_07_0074.html : an integer of 1024 to 65520; HCCL takes 32 ports from it
# on. CANN 8.0 (.../canncommercial/800/apiref/envvar/envref_07_0074.html) names 16 ports.
HCCL_BASE_MIN, HCCL_BASE_MAX, HCCL_COUNT_MIN = 1024, 65520, 16
PORT_MAX = 65535
# The kernel's default of net.ipv4.ip_local_port_range.
EPHEMERAL_PORTS = (32768, 60999)
PORT_MIN = 1024  # below, only root may listen, and the services do not run as root
# Mooncake listens on a port that it draws by chance for each card, 1000 for each from 20000 on: "kv_port
# Configuration Guide" of vllm-ascend's tutorial of disaggregation by Mooncake over several hosts.
# (Mooncake up to 0.3.7; later ones draw from 100 for each card, and ASCEND_BASE_PORT moves them.)
_MOONCAKE_BASE, _MOONCAKE_COUNT = 20000, 1000
# Ranges of HCCL ports between those of a card and those of a second service on it: no host has more cards.
_PER_TURN = 16
_DRAWN = "ports of Mooncake"  # of any services: each finds one that is free


@dataclass(frozen=True)
class TakenPorts:
    """Ports that no one else may have.

    service: whose; empty where no service has them yet. way_out: how they can be moved, if they can.
    """

    service: str
    what: str
    first: int
    last: int
    way_out: str = ""

    @property
    def ends(self) -> tuple[int, int]:
        return self.first, self.last

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def describe(self, asking: str = "") -> str:
        """Such as `service a's HCCL ports 61000-61031`."""
        whose = f"service {self.service}'s" if self.service else "the"
        whose = "its own" if asking and asking == self.service else whose
        return f"{whose} {self.what} {self.first}-{self.last}"


def mooncake_ports(service: str, cards: int) -> TakenPorts:
    """Of a service that passes its KV cache on by Mooncake. cards: those of the host."""
    last = _MOONCAKE_BASE + _MOONCAKE_COUNT * cards - 1
    return TakenPorts(service, _DRAWN, _MOONCAKE_BASE, last)


@dataclass(frozen=True)
class PortSettings:
    """Where a host's ports are taken from.

    base: the first API port. hccl_base: the first HCCL port of card 0. hccl_count: HCCL ports of a
    card. kv_base: the port of card 0 by which a service passes its KV cache on. group_base: the first
    port of services over several hosts. group_count: how many each of them has. ephemeral:
    net.ipv4.ip_local_port_range, or None.
    """

    base: int
    hccl_base: int
    hccl_count: int
    kv_base: int
    group_base: int
    group_count: int
    ephemeral: tuple[int, int] | None

    @classmethod
    def parse(
        cls,
        base: object,
        hccl_base: object,
        hccl_count: object,
        kv_base: object,
        group_base: object,
        group_count: int,
        ephemeral: object,
    ) -> PortSettings:
        """ephemeral: [first, last], or [] for none. Raises AscendError."""
        return cls(
            bounded(base, "port_base", PORT_MIN, PORT_MAX),
            bounded(hccl_base, "hccl_port_base", HCCL_BASE_MIN, HCCL_BASE_MAX),
            bounded(hccl_count, "hccl_port_count", HCCL_COUNT_MIN, 4096),
            bounded(kv_base, "kv_port_base", PORT_MIN, PORT_MAX),
            bounded(group_base, "cluster_port_base", PORT_MIN, PORT_MAX),
            group_count,
            _range(ephemeral, "ephemeral_ports"),
        )

    def hccl_ports(self, name: str, card: int, turn: int = 0) -> TakenPorts:
        """HCCL ports of a service whose first card this is.

        They follow from the card, so ranges are disjoint because cards are, and stay when other
        services go. turn: above 0 for further services on the same cards; their ranges lie above those
        of all cards. Raises AscendError where HCCL or the kernel has no use for them.
        """
        first = self.hccl_base + (turn * _PER_TURN + card) * self.hccl_count
        way = f"Move the base of the HCCL ports, now {self.hccl_base}"
        ports = TakenPorts(name, "HCCL ports", first, first + self.hccl_count - 1, way)
        label = f"service {name}: the HCCL ports {first}-{ports.last} of card {card}"
        advice = "Lower"
        if turn:
            label += f", which has {turn} other services before this one,"
            advice = "Let fewer services have the card together, or lower"
        if ports.last > PORT_MAX or first > HCCL_BASE_MAX:
            raise AscendError(
                f"{label} go beyond what HCCL takes (a base of at most {HCCL_BASE_MAX}, ports up to"
                f" {PORT_MAX}). {advice} the base of the HCCL ports, now {self.hccl_base}."
            )
        self._check_range(label, ports)
        return ports

    def hccl_turn(self, card: int, first: int | None) -> int | None:
        """The turn of a service on a card whose HCCL ports begin at `first`; None where none does."""
        if first is None or first < self.hccl_base:
            return None
        number, rest = divmod(first - self.hccl_base, self.hccl_count)
        turn, of = divmod(number, _PER_TURN)
        return turn if not rest and of == card else None

    def kv_ports(self, name: str, port: int | None, card: int, ranks: int) -> TakenPorts:
        """One port for each rank of a service that passes its KV cache on.

        port: the first, if the service names it; else it follows from `card`. Raises AscendError.
        """
        first = self.kv_base + card if port is None else port
        last = first + ranks - 1
        way = "Write another kv_port, or leave it out"
        if port is None:
            way = f"Move the base of these ports, now {self.kv_base}"
        ports = TakenPorts(name, "KV transfer ports", first, last, way)
        label = f"service {name}: its KV transfer ports {first}-{last}, one for each rank,"
        self._check_range(label, ports)
        return ports

    def group_ports(self, name: str, cards: int) -> TakenPorts:
        """Ports of services over several hosts, one of which is `name`, whoever leads them.

        cards: of a host. Raises AscendError.
        """
        first, last = self.group_base, self.group_base + self.group_count * cards - 1
        way = f"Move the base of the ports of services over several hosts, now {first}"
        ports = TakenPorts(name, "ports among hosts", first, last, way)
        label = f"service {name}: the ports among its hosts, {first}-{last},"
        self._check_range(label, ports)
        return ports

    def _check_range(self, label: str, ports: TakenPorts) -> None:
        if ports.last > PORT_MAX:
            raise AscendError(f"{label} go beyond {PORT_MAX}. {ports.way_out}.")
        if self.ephemeral and ports.first <= self.ephemeral[1] and ports.last >= self.ephemeral[0]:
            raise AscendError(
                f"{label} lie in the kernel's ephemeral range"
                f" {self.ephemeral[0]}-{self.ephemeral[1]}, where any outgoing connection may take"
                f" them. {ports.way_out}, or narrow net.ipv4.ip_local_port_range."
            )


def check_disjoint(taken: Sequence[TakenPorts]) -> None:
    """Raises AscendError where two ranges of ports have one in common."""
    for one, other in combinations(taken, 2):
        if one.first > other.last or other.first > one.last or one.what == other.what == _DRAWN:
            continue
        raise AscendError(
            f"{one.describe()} and {other.describe(one.service)} have ports in common."
            f" {_ways(one.way_out, other.way_out)}."
        )


def _ways(*ways: str) -> str:
    """Ways out as one sentence, without the full stop."""
    first, *others = [way for way in ways if way]
    return ", or ".join([first, *(way[0].lower() + way[1:] for way in others)])


def parse_port(value: object, name: str) -> int:
    """A port that a service asks for. Raises AscendError."""
    port = whole_number(value)
    if port is None or not 1 <= port <= PORT_MAX:
        raise AscendError(
            f"service {name}: port {value!r} is not a port number of 1 to {PORT_MAX}."
        )
    if port < PORT_MIN:
        raise AscendError(
            f"service {name}: port {port} is below {PORT_MIN} and only root may listen there; the"
            " service is not root. Take a higher port and a proxy before it."
        )
    return port


def _range(value: object, what: str) -> tuple[int, int] | None:
    if value is None or value == [] or value == ():
        return None
    ends = [whole_number(item) for item in value] if isinstance(value, (list, tuple)) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        raise AscendError(f"{what} is {value!r}; write [first, last] or [].")
    return ends[0], ends[1]


def bounded(value: object, what: str, low: int, high: int) -> int:
    """A number of a setting. Raises AscendError, which names it."""
    number = whole_number(value)
    if number is None or not low <= number <= high:
        raise AscendError(f"{what} is {value!r}; a number of {low} to {high} is needed.")
    return number


def assign_ports(
    requested: Mapping[str, int | None],
    existing: Mapping[str, int | None],
    taken: Sequence[TakenPorts],
    settings: PortSettings,
) -> dict[str, int]:
    """An API port for each service: the one it asks for, else the one it has, else the next free.

    requested: by service, in order. existing: the ports they have now. taken: for other purposes.

    Raises AscendError where two ask for one, or none is left.
    """
    ports = _requested_ports(requested, taken)
    owner = set(ports.values())

    def is_taken(port: int) -> bool:
        return port in owner or any(port in each for each in taken)

    for name in requested:
        now = existing.get(name)
        if name in ports or now is None or not settings.base <= now <= PORT_MAX:
            continue
        if not is_taken(now):
            ports[name] = now
            owner.add(now)
    port = settings.base
    for name in requested:
        if name in ports:
            continue
        while is_taken(port):
            port += 1
        if port > PORT_MAX:
            raise AscendError(
                f"service {name}: no port is free from {settings.base} to {PORT_MAX}. Lower the"
                " base of the ports, or give the service a port."
            )
        ports[name] = port
        owner.add(port)
    return ports


def _requested_ports(
    requested: Mapping[str, int | None], taken: Sequence[TakenPorts]
) -> dict[str, int]:
    ports: dict[str, int] = {}
    owner: dict[int, str] = {}
    for name, port in requested.items():
        if port is None:
            continue
        if port in owner:
            raise AscendError(
                f"services {owner[port]} and {name} both want port {port}. Give one of them another"
                " port, or leave it out."
            )
        for each in taken:
            if port in each and each.service:
                raise AscendError(
                    f"service {name}: port {port} lies in {each.describe(name)}."
                    f" {_ways('Take another port', each.way_out)}."
                )
        owner[port] = name
        ports[name] = port
    return ports
