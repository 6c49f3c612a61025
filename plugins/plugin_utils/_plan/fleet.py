# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet as the planner has it: hosts, services, and where services go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType

from .._base.errors import AscendError
from .._base.words import listed
from .card_sets import CARDS_MAX


@dataclass(frozen=True)
class FleetHost:
    """A host that services may go to.

    kind: equal for hosts that are alike, such as the profile's name. cards: logic ids it has.
    excluded: those not to use. unit: cards per board, a power of two. open: False where its
    services were written by hand; nothing is placed there then.
    """

    name: str
    kind: str
    cards: tuple[int, ...]
    excluded: frozenset[int] = frozenset()
    unit: int = 1
    open: bool = True


@dataclass(frozen=True)
class FleetService:
    """What a fleet is to serve.

    replicas: a number, or None for one on each candidate. cards: number by kind of host; a kind
    that cannot carry it is absent, with the reason in `refused`. hosts: names of the candidates;
    services of the same candidates had better share one tuple, which is then read once.
    spread_required: never twice on a host. priority: higher first, where not all fits. pinned:
    cards to take on whatever host.
    """

    name: str
    replicas: int | None
    cards: Mapping[str, int]
    hosts: tuple[str, ...]
    spread_required: bool = False
    priority: int = 0
    pinned: tuple[int, ...] | None = None
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Assignment:
    """A service on a host, or its part on it where it spans hosts.

    service: the service's name. name: that of its unit on this host, which is the service's, or
    NAME-2 and so on for a second replica on a host; empty means the service's. leader, rank, hosts:
    only where it spans hosts.
    """

    service: str
    host: str
    cards: tuple[int, ...]
    leader: str | None = None
    rank: int = 0
    hosts: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.service)


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A replica without room.

    replica: from 1; for a service on every host the place of the host among the candidates. cards:
    how many it takes, the fewest where kinds differ. largest_free: cards of the largest free block
    on a candidate, aligned if `cards` is a power of two. repack_helps: planned again from the start it has room.
    """

    service: str
    replica: int
    cards: int
    largest_free: int
    repack_helps: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """A change against what existed: a new assignment, one left, or one for another."""

    service: str
    before: Assignment | None
    after: Assignment | None


@dataclass(frozen=True)
class FleetPlan:
    """assignments: all but those given, by host and name. moved: the changes, by service."""

    assignments: tuple[Assignment, ...]
    unplaced: tuple[Unplaced, ...]
    moved: tuple[Move, ...]


def by_place(assignment: Assignment) -> tuple[object, ...]:
    """To sort assignments by."""
    return assignment.host, assignment.name, assignment.cards, assignment.hosts


def check_fleet(hosts: Sequence[FleetHost], services: Sequence[FleetService]) -> None:
    """Reject numbers that the search has no bits or time for. Raises AscendError."""
    for host in hosts:
        wrong = [card for card in host.cards if not 0 <= card < CARDS_MAX]
        if wrong:
            raise AscendError(
                f"host {host.name}: {wrong[0]} is not a card id. They are integers from 0 to"
                f" {CARDS_MAX - 1}, as ASCEND_RT_VISIBLE_DEVICES counts them."
            )
    most = max(1000, sum(len(host.cards) for host in hosts))
    for service in services:
        if service.replicas is not None and not 0 <= service.replicas <= most:
            raise AscendError(
                f"service {service.name}: replicas is {service.replicas}, and the most is {most}."
                " Write fewer, or all."
            )
        pinned = service.pinned or ()
        if any(not 0 <= card < CARDS_MAX for card in pinned) or len(set(pinned)) < len(pinned):
            raise AscendError(
                f"service {service.name} names the cards {', '.join(map(str, pinned))}: each once,"
                f" and from 0 to {CARDS_MAX - 1}."
            )


def unplaced_lines(unplaced: Iterable[Unplaced]) -> list[str]:
    """A sentence or more for each service without room, replicas with the same reason in one."""
    lines = []
    for reason, group in groupby(unplaced, key=lambda each: each.reason):
        replicas = [each.replica for each in group]
        also = f" So it is with {len(replicas)} replicas ({listed(replicas)})."
        lines.append(reason + (also if len(replicas) > 1 else ""))
    return lines
