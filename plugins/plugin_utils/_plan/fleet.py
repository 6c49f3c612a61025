# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet as the planner has it: hosts, services, where services go, and where they may go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from .._base.errors import AscendError
from .card_sets import CARDS_MAX, best_block, mask_of
from .search import Need, Span

COPY_NAME = re.compile(r"(.+)-([1-9][0-9]{0,3})")
_NAME_MAX = 58  # of what gets a number behind it; a name has 63 characters at most


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
    cards to take on whatever host. part: of the memory of its cards, where it may have them together
    with others; 0 where not.
    """

    name: str
    replicas: int | None
    cards: Mapping[str, int]
    hosts: tuple[str, ...]
    spread_required: bool = False
    priority: int = 0
    pinned: tuple[int, ...] | None = None
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    part: float = 0.0


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


@dataclass(frozen=True)
class Group:
    """Candidate hosts, by number."""

    hosts: tuple[int, ...]
    members: frozenset[int]
    sizes: Mapping[str, int]  # cards of the largest host, by kind


@dataclass(frozen=True, slots=True)
class Fixed:
    """An assignment that stays, and where it is."""

    service: int
    host: int
    mask: int
    assignment: Assignment


class Fleet:
    """Hosts and services by number, in the order of their names."""

    def __init__(
        self,
        hosts: Sequence[FleetHost],
        services: Sequence[FleetService],
        given: Sequence[Assignment],
    ) -> None:
        self.hosts = sorted(hosts, key=lambda host: host.name)
        self.services = sorted(services, key=lambda service: service.name)
        check_fleet(self.hosts, self.services)
        self.host_at = {host.name: number for number, host in enumerate(self.hosts)}
        self.service_at = {service.name: number for number, service in enumerate(self.services)}
        self.all = [mask_of(host.cards) for host in self.hosts]
        self.usable = [
            cards & ~mask_of(card for card in host.excluded if 0 <= card < CARDS_MAX)
            for host, cards in zip(self.hosts, self.all, strict=True)
        ]
        self._groups: dict[object, Group] = {}
        self.groups = [self._group(service.hosts) for service in self.services]
        self.given = list(self._given(given))
        self.names: dict[int, set[str]] = {}  # of units given, by host
        for fixed in self.given:
            self.names.setdefault(fixed.host, set()).add(fixed.assignment.name)
        # What the planner may use of a host that has nothing on it but what is given.
        self.room = [
            usable if host.open else 0 for host, usable in zip(self.hosts, self.usable, strict=True)
        ]
        for fixed in self.given:
            self.room[fixed.host] &= ~fixed.mask
        # Hosts that a service on every host is to be on.
        self.targets = [
            [host for host in group.hosts if self.hosts[host].open and self.usable[host]]
            if service.replicas is None
            else []
            for group, service in zip(self.groups, self.services, strict=True)
        ]
        self._needs: dict[object, Need] = {}
        self.needs = [
            self._need(group, service)
            for group, service in zip(self.groups, self.services, strict=True)
        ]

    def _group(self, names: tuple[str, ...]) -> Group:
        found = self._groups.get(id(names))  # shared by many services, so not even hashed
        if found is None:
            hosts = tuple(sorted({self.host_at[name] for name in names if name in self.host_at}))
            found = self._groups.get(hosts)
            if found is None:
                sizes: dict[str, int] = {}
                for number in hosts:
                    host = self.hosts[number]
                    sizes[host.kind] = max(sizes.get(host.kind, 0), len(host.cards))
                found = self._groups[hosts] = Group(hosts, frozenset(hosts), sizes)
            self._groups[id(names)] = found
        return found

    def may_double(self, service: FleetService) -> bool:
        return (
            service.replicas is not None
            and service.replicas > 1
            and not service.spread_required
            and service.pinned is None
            and len(service.name) <= _NAME_MAX
        )

    def resolve(self, assignment: Assignment) -> Assignment:
        """The assignment with its service's name, which is not that of the unit for a second replica."""
        service = assignment.service
        match = COPY_NAME.fullmatch(service)
        base = self.service_at.get(match[1]) if match else None
        if (
            base is not None
            and service not in self.service_at
            and self.may_double(self.services[base])
        ):
            service = self.services[base].name
        return replace(assignment, service=service, cards=tuple(sorted(assignment.cards)))

    def _given(self, assignments: Iterable[Assignment]) -> Iterator[Fixed]:
        for assignment in sorted(assignments, key=by_place):
            host = self.host_at.get(assignment.host)
            if host is None:
                continue
            service = self.service_at.get(assignment.service, -1)
            if service >= 0 and host not in self.groups[service].members:
                service = -1
            cards = (card for card in assignment.cards if 0 <= card < CARDS_MAX)
            yield Fixed(service, host, mask_of(cards), assignment)

    def _need(self, group: Group, service: FleetService) -> Need:
        key = (id(group), tuple(sorted(service.cards.items())), service.pinned)
        need = self._needs.get(key)
        if need is None:
            singles = {}
            for number in group.hosts:
                cards = self._single(number, group, service)
                if cards:
                    singles[number] = cards
            spans = () if service.pinned else tuple(self._spans(group, service))
            pinned = mask_of(service.pinned or ())
            need = self._needs[key] = Need(len(self._needs), singles, spans, pinned)
        return need

    def _need_on(self, number: int, service: FleetService, cards: int) -> Need:
        """Of a service that is to be on this host."""
        key = (number, cards, service.pinned)
        need = self._needs.get(key)
        if need is None:
            pinned = mask_of(service.pinned or ())
            need = self._needs[key] = Need(len(self._needs), {number: cards}, (), pinned)
        return need

    def _single(self, number: int, group: Group, service: FleetService) -> int:
        """Cards that the service takes on this host; 0 if it can't be there, even if all is free."""
        host, room = self.hosts[number], self.room[number]
        cards = service.cards.get(host.kind)
        if not room or cards is None or cards > group.sizes[host.kind]:
            return 0
        if service.pinned is not None:
            fits = len(service.pinned) == cards and not mask_of(service.pinned) & ~room
        else:
            fits = best_block(room, host.unit, cards) is not None
        return cards if fits else 0

    def _spans(self, group: Group, service: FleetService) -> Iterator[Span]:
        """Ways to take complete hosts, that with the fewest cards first."""
        for cards, kind in sorted((cards, kind) for kind, cards in service.cards.items()):
            size = group.sizes.get(kind, 0)
            if not 0 < size < cards:
                continue
            among = tuple(self.free_hosts(group, kind))
            count = -(-cards // size)
            if count <= len(among):
                yield Span(cards, count, among)

    def free_hosts(self, group: Group, kind: str) -> Iterator[int]:
        """Hosts of a kind that can be taken completely."""
        for number in group.hosts:
            host, full = self.hosts[number], self.room[number] == self.all[number]
            if full and (host.kind, len(host.cards)) == (kind, group.sizes[kind]):
                yield number
