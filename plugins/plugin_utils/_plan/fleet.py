# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services to the hosts of a fleet: which host, which cards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from types import MappingProxyType

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import listed
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.reasons import Reasons
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.search import (
    CARDS_MAX,
    Item,
    Need,
    Room,
    Search,
    Span,
    best_block,
    cards_of,
    mask_of,
    power_of_two,
)

_COPY = re.compile(r"(.+)-([1-9][0-9]{0,3})")
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
    on a candidate, aligned if `cards` is a power of two. repack_helps: planned anew it has room.
    """

    service: str
    replica: int
    cards: int
    largest_free: int
    repack_helps: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """A change against what stood: a new spot, one left, or one for another."""

    service: str
    before: Assignment | None
    after: Assignment | None


@dataclass(frozen=True)
class FleetPlan:
    """spots: all but those given, by host and name. moved: the changes, by service."""

    assignments: tuple[Assignment, ...]
    unplaced: tuple[Unplaced, ...]
    moved: tuple[Move, ...]


def plan_fleet(
    hosts: Sequence[FleetHost],
    services: Sequence[FleetService],
    existing: Sequence[Assignment],
    given: Sequence[Assignment],
    *,
    repack: bool = False,
) -> FleetPlan:
    """Place all services; the order of hosts, services and spots does not matter.

    `standing`: what an earlier plan known. It stays where it still fits: the host is a candidate, its
    cards may be used and are as many as wanted, in a block as this planner makes them. Where there
    are more replicas than wanted, those with the highest number in their name go, then those on the
    last hosts by name. `repack` plans as if nothing stood. `given`: written by hand. It stays, and
    is a replica of the service of its name if the host is a candidate.

    A standing spot named NAME-2 is a replica of NAME if NAME may be twice on a host and no service
    is called NAME-2.

    A block of 2^n cards starts at a multiple of 2^n; others are consecutive, and start on a whole
    board if they have one or more. Pinned services go first, then those with one possible host, then
    the largest. Each takes the block that is of least use to larger ones, on a kind of host
    where it needs fewest cards. Where that fails, placed services change places, and then all that
    compete for the same hosts are arranged anew by exact search (up to EXACT_HOSTS hosts,
    EXACT_SERVICES services and EXACT_TRIALS trials). What stands does not move for it. Only if that
    fails does `priority` count: those of a higher one are placed before others are looked at.

    Replicas are on different hosts where that is possible, with spread_required always. A service
    that has more cards than the candidates of a kind takes whole ones of that kind, unless it fits on
    one host of another kind; a host counts if it has as many cards as the largest of its kind and
    all may be used. Its leader is the first by name.

    For an `all` service a candidate counts if it is open and has a card that may be used.

    Raises AscendError for input that contradicts itself. What does not fit is in the result.
    """
    fleet = Fleet(hosts, services, given)
    before = [fleet.resolve(assignment) for assignment in existing]
    kept = [] if repack else fleet.keep(before)
    outcome = fleet.fill(kept)
    repacked = fleet.fill([]) if kept and outcome.left else None
    assignments = tuple(
        sorted(outcome.assignments, key=lambda assignment: (assignment.host, assignment.name))
    )
    return FleetPlan(assignments, fleet.unplaced(outcome, repacked), _moves(before, assignments))


def unplaced_lines(unplaced: Iterable[Unplaced]) -> list[str]:
    """A sentence or more for each service without room, replicas with the same reason in one."""
    lines = []
    for reason, group in groupby(unplaced, key=lambda each: each.reason):
        replicas = [each.replica for each in group]
        also = f" So it is with {len(replicas)} replicas ({listed(replicas)})."
        lines.append(reason + (also if len(replicas) > 1 else ""))
    return lines


def _moves(before: Iterable[Assignment], after: Iterable[Assignment]) -> tuple[Move, ...]:
    old, new = set(before), set(after)
    by_service: dict[str, tuple[list[Assignment], list[Assignment]]] = {}
    for side, assignments in enumerate((old - new, new - old)):
        for assignment in sorted(
            assignments,
            key=lambda assignment: (
                assignment.host,
                assignment.name,
                assignment.cards,
                assignment.hosts,
            ),
        ):
            by_service.setdefault(assignment.service, ([], []))[side].append(assignment)
    moves = []
    for service in sorted(by_service):
        left, come = by_service[service]
        # What changes on one host is one move, whatever else comes and goes.
        same = {(assignment.host, assignment.name): assignment for assignment in come}
        for assignment in left[:]:
            found = same.get((assignment.host, assignment.name))
            if found is not None and found in come:
                moves.append(Move(service, assignment, found))
                left.remove(assignment)
                come.remove(found)
        for number in range(max(len(left), len(come))):
            moves.append(
                Move(
                    service,
                    left[number] if number < len(left) else None,
                    come[number] if number < len(come) else None,
                )
            )
    return tuple(moves)


@dataclass(frozen=True)
class Group:
    """Candidate hosts, by number."""

    hosts: tuple[int, ...]
    members: frozenset[int]
    sizes: Mapping[str, int]  # cards of the largest host, by kind


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A spot that stays, and where that is."""

    service: int
    host: int
    mask: int
    assignment: Assignment


@dataclass
class _Outcome:
    """What came of one way to fill the fleet."""

    assignments: list[Assignment]
    free: list[int]
    left: dict[int, list[int]] = field(default_factory=dict)  # replicas by service, from 1
    cut: set[int] = field(default_factory=set)  # services that a complete search might place


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
        _check(self.hosts, self.services)
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
        """The spot with its service's name, which is not that of the unit for a second replica."""
        service = assignment.service
        match = _COPY.fullmatch(service)
        base = self.service_at.get(match[1]) if match else None
        if (
            base is not None
            and service not in self.service_at
            and self.may_double(self.services[base])
        ):
            service = self.services[base].name
        return replace(assignment, service=service, cards=tuple(sorted(assignment.cards)))

    def _given(self, assignments: Iterable[Assignment]) -> Iterator[_Fixed]:
        for assignment in sorted(assignments, key=_by_place):
            host = self.host_at.get(assignment.host)
            if host is None:
                continue
            service = self.service_at.get(assignment.service, -1)
            if service >= 0 and host not in self.groups[service].members:
                service = -1
            cards = (card for card in assignment.cards if 0 <= card < CARDS_MAX)
            yield _Fixed(service, host, mask_of(cards), assignment)

    # What services want

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
        """Ways to take whole hosts, that with the fewest cards first."""
        for cards, kind in sorted((cards, kind) for kind, cards in service.cards.items()):
            size = group.sizes.get(kind, 0)
            if not 0 < size < cards:
                continue
            among = tuple(self.whole(group, kind))
            count = -(-cards // size)
            if count <= len(among):
                yield Span(cards, count, among)

    def whole(self, group: Group, kind: str) -> Iterator[int]:
        """Hosts of a kind that can be taken whole."""
        for number in group.hosts:
            host, full = self.hosts[number], self.room[number] == self.all[number]
            if full and (host.kind, len(host.cards)) == (kind, group.sizes[kind]):
                yield number

    # What stays

    def keep(self, existing: Iterable[Assignment]) -> list[_Fixed]:
        """The standing spots that still fit, for as many replicas as are wanted."""
        parts: dict[tuple[int, int, tuple[str, ...], str], list[Assignment]] = {}
        for assignment in existing:
            number = self.service_at.get(assignment.service)
            if number is not None:
                one = "" if len(assignment.hosts) > 1 else assignment.host
                parts.setdefault((number, _copy(assignment), assignment.hosts, one), []).append(
                    assignment
                )
        have = Counter(each.service for each in self._replicas(self.given))
        on = {(each.service, each.host) for each in self.given}
        names = {(each.host, each.assignment.name) for each in self.given}
        room = list(self.room)
        kept = []
        for key in sorted(parts):
            number, service = key[0], self.services[key[0]]
            assignments = self._located(number, parts[key])
            if service.replicas is not None and have[number] >= service.replicas:
                continue
            if any(
                each.mask & ~room[each.host]
                or (each.host, each.assignment.name) in names
                or ((number, each.host) in on and not self.may_double(service))
                for each in assignments
            ):
                continue
            if not (self._span_fits if key[2] else self._fits)(service, assignments):
                continue
            have[number] += 1
            for each in assignments:
                room[each.host] &= ~each.mask
                names.add((each.host, each.assignment.name))
                on.add((number, each.host))
            kept += assignments
        return kept

    def _located(self, number: int, assignments: list[Assignment]) -> list[_Fixed]:
        """The spots of one replica by rank; none if one of them cannot be."""
        found = [
            _Fixed(number, self.host_at[assignment.host], mask_of(assignment.cards), assignment)
            for assignment in sorted(assignments, key=lambda assignment: assignment.rank)
            if assignment.host in self.host_at
            and all(0 <= card < CARDS_MAX for card in assignment.cards)
            and len(set(assignment.cards)) == len(assignment.cards)
        ]
        return found if len(found) == len(assignments) else []

    def _fits(self, service: FleetService, assignments: list[_Fixed]) -> bool:
        """Whether this spot is one that the planner could have chosen on an empty host."""
        if len(assignments) != 1:
            return False
        fixed = assignments[0]
        host = self.hosts[fixed.host]
        count = service.cards.get(host.kind)
        if fixed.host not in self.groups[fixed.service].members or count != fixed.mask.bit_count():
            return False
        if service.pinned is not None:
            return fixed.mask == mask_of(service.pinned)
        return best_block(fixed.mask, host.unit, count) is not None

    def _span_fits(self, service: FleetService, assignments: list[_Fixed]) -> bool:
        if not assignments or service.replicas is None:
            return False
        hosts = [self.hosts[fixed.host] for fixed in assignments]
        names = tuple(host.name for host in hosts)
        size = len(hosts[0].cards)
        count = service.cards.get(hosts[0].kind, 0)
        return (
            service.pinned is None
            and names == tuple(sorted(names))
            and -(-count // size) == len(assignments) > 1
            and all(
                fixed.host in self.groups[fixed.service].members
                and (host.kind, len(host.cards)) == (hosts[0].kind, size)
                and fixed.mask == self.all[fixed.host]
                and (fixed.assignment.hosts, fixed.assignment.leader, fixed.assignment.rank)
                == (names, names[0], rank)
                for rank, (fixed, host) in enumerate(zip(assignments, hosts, strict=True))
            )
        )

    def _replicas(self, fixed: Iterable[_Fixed]) -> list[_Fixed]:
        """One of each replica of a service."""
        seen = set()
        replicas = []
        for each in fixed:
            key = (
                each.service,
                each.assignment.hosts or (each.assignment.host, each.assignment.name),
            )
            if each.service >= 0 and key not in seen:
                seen.add(key)
                replicas.append(each)
        return replicas

    # Placing the others

    def fill(self, kept: list[_Fixed]) -> _Outcome:
        """Place what is not kept."""
        # Services that may be twice on a host are, only if not all has room otherwise.
        items, where, left = self._items(kept, double=False)
        search = self._search(kept)
        without = search.place(items)
        if without and any(self.may_double(self.services[item.service]) for item in items):
            items, where, left = self._items(kept, double=True)
            search = self._search(kept)
            without = search.place(items)
        levels = sorted({item.priority for item in items}, reverse=True)
        if any(item.priority > levels[-1] for item in without):
            # Not all has room: what is of less priority comes after.
            search, without = self._search(kept), []
            for level in levels:
                without += search.place([item for item in items if item.priority == level])
        cut = {item.service for item in without if item in search.cut}
        for item in without:
            left.setdefault(item.service, []).append(where.get(item, 0))
        outcome = _Outcome([fixed.assignment for fixed in kept], search.free, cut=cut)
        for number in sorted(left):
            replicas = self.services[number].replicas
            outcome.left[number] = (
                sorted(left[number])
                if replicas is None
                else list(range(replicas - len(left[number]) + 1, replicas + 1))
            )
        outcome.assignments += self._assignments(search, kept)
        return outcome

    def _search(self, kept: Iterable[_Fixed]) -> Search:
        free = list(self.room)
        held: list[dict[int, int]] = [{} for _unused in self.services]
        for fixed in (*self.given, *kept):
            free[fixed.host] &= ~fixed.mask
            if fixed.service >= 0:
                on = held[fixed.service]
                on[fixed.host] = on.get(fixed.host, 0) + 1
        return Search(
            [
                Room(cards, room, host.unit)
                for cards, room, host in zip(self.all, free, self.hosts, strict=True)
            ],
            held,
        )

    def _items(
        self, kept: Iterable[_Fixed], *, double: bool
    ) -> tuple[list[Item], dict[Item, int], dict[int, list[int]]]:
        """(what is to be placed, its place among all hosts, what has no room anyway by service).

        double: let services be twice on a host, also where there are hosts enough for all replicas.
        """
        fixed = [*self.given, *kept]
        have = [0] * len(self.services)
        held: list[set[int]] = [set() for _unused in self.services]
        for each in self._replicas(fixed):
            have[each.service] += 1
        for each in fixed:
            if each.service >= 0:
                held[each.service].add(each.host)
        items: list[Item] = []
        where: dict[Item, int] = {}
        left: dict[int, list[int]] = {}
        for number, service in enumerate(self.services):
            need = self.needs[number]
            if service.replicas is None:
                for place, host in enumerate(self.targets[number], 1):
                    if host in held[number]:
                        continue
                    if host not in need.singles:
                        left.setdefault(number, []).append(place)
                        continue
                    alone = self._need_on(host, service, need.singles[host])
                    item = Item(alone, number, True, service.priority)
                    items.append(item)
                    where[item] = place
                continue
            missing = max(0, service.replicas - have[number])
            taken = sum(host in need.singles for host in held[number])
            apart = len(need.singles) - taken
            twice = self.may_double(service) and (double or missing > apart)
            possible = missing
            if not need.spans and not (need.singles and self.may_double(service)):
                possible = min(missing, apart)
            if missing > possible:
                left[number] = [0] * (missing - possible)
            items += [
                Item(need, number, not twice, service.priority, service.replicas)
                for _unused in range(possible)
            ]
        return items, where, left

    def _assignments(self, search: Search, kept: Iterable[_Fixed]) -> Iterator[Assignment]:
        names = {number: set(names) for number, names in self.names.items()}
        for fixed in kept:
            names.setdefault(fixed.host, set()).add(fixed.assignment.name)
        spans: dict[Item, list[int]] = {}
        for host, contents in enumerate(search.on):
            taken = names.setdefault(host, set())
            here = self.hosts[host]
            for item, block in sorted(
                contents.items(), key=lambda each: (each[0].service, each[1])
            ):
                if host not in item.need.singles:
                    spans.setdefault(item, []).append(host)
                    continue
                service = self.services[item.service].name
                name, copy = service, 2
                while name in taken or (name != service and name in self.service_at):
                    name, copy = f"{service}-{copy}", copy + 1
                taken.add(name)
                yield Assignment(service, here.name, tuple(cards_of(block)), name=name)
        for item, numbers in spans.items():
            hosts = tuple(self.hosts[number].name for number in numbers)
            for rank, number in enumerate(numbers):
                cards = tuple(cards_of(self.all[number]))
                name = self.services[item.service].name
                yield Assignment(name, hosts[rank], cards, hosts[0], rank, hosts)

    # What has no room

    def unplaced(self, outcome: _Outcome, repacked: _Outcome | None) -> tuple[Unplaced, ...]:
        found = []
        reasons = Reasons(
            self, outcome.free, Counter(assignment.service for assignment in outcome.assignments)
        )
        instead = (
            [self.services[number].name for number in sorted(repacked.left)] if repacked else []
        )
        for number, replicas in outcome.left.items():
            service = self.services[number]
            known: dict[object, tuple[int, int, bool, str]] = {}
            for replica in replicas:
                on = self.targets[number][replica - 1] if service.replicas is None else None
                helps = repacked is not None and replica not in repacked.left.get(number, ())
                if (on, helps) not in known:
                    cut = number in (repacked or outcome).cut
                    cards, largest, reason = reasons.why(
                        number,
                        on,
                        helps=helps,
                        tried=repacked is not None,
                        cut=cut,
                        instead=instead,
                    )
                    known[on, helps] = (cards, largest, helps, reason)
                found.append(Unplaced(service.name, replica, *known[on, helps]))
        return tuple(found)


def _copy(assignment: Assignment) -> int:
    """1 for a service's own name, n for NAME-n."""
    match = _COPY.fullmatch(assignment.name) if assignment.name != assignment.service else None
    return int(match[2]) if match else 1


def _by_place(assignment: Assignment) -> tuple[object, ...]:
    return assignment.host, assignment.name, assignment.cards, assignment.hosts


def _check(hosts: Sequence[FleetHost], services: Sequence[FleetService]) -> None:
    for before, host in zip([None, *hosts], hosts, strict=False):
        if before is not None and before.name == host.name:
            raise AscendError(f"host {host.name} is listed twice. List it once.")
        if host.unit < 1 or not power_of_two(host.unit):
            raise AscendError(
                f"host {host.name} has boards of {host.unit} cards; a power of two is needed (2 on"
                " an A3 host)."
            )
        wrong = [card for card in host.cards if not 0 <= card < CARDS_MAX]
        if wrong:
            raise AscendError(
                f"host {host.name}: {wrong[0]} is not a card id. They are whole numbers from 0 to"
                f" {CARDS_MAX - 1}, as ASCEND_RT_VISIBLE_DEVICES counts them."
            )
        if len(set(host.cards)) < len(host.cards):
            raise AscendError(f"host {host.name} lists a card twice: {listed(list(host.cards))}.")
    most = max(1000, sum(len(host.cards) for host in hosts))
    for previous, service in zip([None, *services], services, strict=False):
        if previous is not None and previous.name == service.name:
            raise AscendError(
                f"two services are named {service.name}. Give one of them another `name`, or one"
                " of them `replicas`."
            )
        if service.replicas is not None and not 0 <= service.replicas <= most:
            raise AscendError(
                f"service {service.name}: replicas is {service.replicas}, and the most is {most}."
                " Write fewer, or all."
            )
        for kind, cards in sorted(service.cards.items()):
            if cards < 1:
                raise AscendError(
                    f"service {service.name} takes {cards} cards on {kind}; at least 1 is needed."
                )
        pinned = service.pinned or ()
        wrong = [card for card in pinned if not 0 <= card < CARDS_MAX]
        if wrong or len(set(pinned)) < len(pinned):
            raise AscendError(
                f"service {service.name} names the cards {', '.join(map(str, pinned))}: each once,"
                f" and from 0 to {CARDS_MAX - 1}."
            )
