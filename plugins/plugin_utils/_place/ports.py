# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports of a host's services: for the API, and for HCCL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class PortSettings:
    """Where a host's ports are taken from.

    base: the first API port. hccl_base: the first HCCL port of card 0. hccl_count: HCCL ports of a
    card. ephemeral: net.ipv4.ip_local_port_range, or None.
    """

    base: int
    hccl_base: int
    hccl_count: int
    ephemeral: tuple[int, int] | None

    @classmethod
    def parse(
        cls, base: object, hccl_base: object, hccl_count: object, ephemeral: object
    ) -> PortSettings:
        """ephemeral: [first, last], or [] for none. Raises AscendError."""
        return cls(
            bounded(base, "port_base", PORT_MIN, PORT_MAX),
            bounded(hccl_base, "hccl_port_base", HCCL_BASE_MIN, HCCL_BASE_MAX),
            bounded(hccl_count, "hccl_port_count", HCCL_COUNT_MIN, 4096),
            _range(ephemeral, "ephemeral_ports"),
        )

    def hccl_ports(self, name: str, card: int) -> tuple[int, int]:
        """(first, last) HCCL port of a service whose first card this is.

        They follow from the card, so ranges are disjoint because cards are, and stay when other
        services go. Raises AscendError where HCCL or the kernel has no use for them.
        """
        first = self.hccl_base + card * self.hccl_count
        last = first + self.hccl_count - 1
        label = f"service {name}: the HCCL ports {first}-{last} of card {card}"
        if last > PORT_MAX or first > HCCL_BASE_MAX:
            raise AscendError(
                f"{label} go beyond what HCCL takes (a base of at most {HCCL_BASE_MAX}, ports up to"
                f" {PORT_MAX}). Lower the base of the HCCL ports, now {self.hccl_base}."
            )
        if self.ephemeral and first <= self.ephemeral[1] and last >= self.ephemeral[0]:
            raise AscendError(
                f"{label} lie in the kernel's ephemeral range"
                f" {self.ephemeral[0]}-{self.ephemeral[1]}, where any outgoing connection may take"
                f" them. Move the base of the HCCL ports, now {self.hccl_base}, or narrow"
                " net.ipv4.ip_local_port_range."
            )
        return first, last


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
    hccl: Mapping[str, tuple[int, int]],
    settings: PortSettings,
    cards: Iterable[int],
) -> dict[str, int]:
    """An API port for each service: the one it asks for, else the one it has, else the next free.

    requested: by service, in order. existing: the ports they have now. hccl: their HCCL ports.
    cards: all of the host, whose HCCL ports are avoided, in use or not.

    Raises AscendError where two ask for one, or none is left.
    """
    ports = _requested_ports(requested, hccl)
    owner = set(ports.values())
    reserved: Sequence[range] = [
        range(first, first + settings.hccl_count)
        for first in (settings.hccl_base + card * settings.hccl_count for card in cards)
    ]

    def taken(port: int) -> bool:
        return port in owner or any(port in each for each in reserved)

    for name in requested:
        now = existing.get(name)
        if name in ports or now is None or not settings.base <= now <= PORT_MAX:
            continue
        if not taken(now):
            ports[name] = now
            owner.add(now)
    port = settings.base
    for name in requested:
        if name in ports:
            continue
        while taken(port):
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
    requested: Mapping[str, int | None], hccl: Mapping[str, tuple[int, int]]
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
        for other, (first, last) in hccl.items():
            if first <= port <= last:
                whose = "its own" if other == name else f"service {other}'s"
                raise AscendError(
                    f"service {name}: port {port} lies in {whose} HCCL ports {first}-{last}. Take"
                    " another port, or move the base of the HCCL ports."
                )
        owner[port] = name
        ports[name] = port
    return ports
