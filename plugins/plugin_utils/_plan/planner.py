# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services to the hosts of a fleet: which host, which cards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from .card_sets import CARDS_MAX, best_block, cards_of, mask_of
from .fleet import (
    COPY_NAME,
    Assignment,
    Fixed,
    Fleet,
    FleetHost,
    FleetPlan,
    FleetService,
    Move,
    Unplaced,
    by_place,
)
from .reasons import Reasons
from .repack import RepackingSearch
from .search import Item, Room
from .sharing import SharedCards, together


def plan_fleet(
    hosts: Sequence[FleetHost],
    services: Sequence[FleetService],
    existing: Sequence[Assignment],
    given: Sequence[Assignment],
    *,
    repack: bool = False,
) -> FleetPlan:
    """Place all services; the order of hosts, services and assignments does not matter.

    `existing`: what an earlier plan placed. It stays where it still fits: the host is a candidate, its
    cards may be used and are as many as wanted, in a block as this planner makes them. Where there
    are more replicas than wanted, those with the highest number in their name go, then those on the
    last hosts by name. `repack` plans as if nothing existed. `given`: written by hand. It stays, and
    is a replica of the service of its name if the host is a candidate.

    An existing assignment named NAME-2 is a replica of NAME if NAME may be twice on a host and no service
    is called NAME-2.

    A block of 2^n cards starts at a multiple of 2^n; others are consecutive, and start on a full
    board if they have one or more. Pinned services go first, then those with one possible host, then
    the largest. Each takes the block that is of least use to larger ones, on a kind of host
    where it needs fewest cards. Where that fails, placed services change places, and then all that
    compete for the same hosts are arranged again by exact search (up to EXACT_HOSTS hosts,
    EXACT_SERVICES services and EXACT_TRIALS trials). What exists does not move for it. Only if that
    fails does `priority` count: those of a higher one are placed before others.

    Replicas are on different hosts where that is possible, with spread_required always. A service
    that has more cards than the candidates of a kind takes complete ones of that kind, unless it fits on
    one host of another kind; a host counts if it has as many cards as the largest of its kind and
    all may be used. Its leader is the first by name.

    For an `all` service a candidate counts if it is open and has a card that may be used.

    Raises AscendError for input that contradicts itself. What does not fit is in the result.
    """
    fleet = _Planner(hosts, services, given)
    before = [fleet.resolve(assignment) for assignment in existing]
    kept = [] if repack else fleet.keep(before)
    outcome = fleet.fill(kept)
    repacked = fleet.fill([]) if kept and outcome.left else None
    assignments = tuple(sorted(outcome.assignments, key=by_place))
    return FleetPlan(assignments, fleet.unplaced(outcome, repacked), _moves(before, assignments))


def _moves(before: Iterable[Assignment], after: Iterable[Assignment]) -> tuple[Move, ...]:
    old, new = set(before), set(after)
    by_service: dict[str, tuple[list[Assignment], list[Assignment]]] = {}
    for side, assignments in enumerate((old - new, new - old)):
        for assignment in sorted(assignments, key=by_place):
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
        moves += [Move(service, *ends) for ends in zip_longest(left, come)]
    return tuple(moves)


@dataclass
class _Outcome:
    """What came of one way to fill the fleet."""

    assignments: list[Assignment]
    free: list[int]
    left: dict[int, list[int]]  # replicas by service, from 1
    cut: set[int]  # services that a complete search might place


class _Planner(Fleet):
    """Keeps what exists, places the rest, and explains what has no room."""

    def keep(self, existing: Iterable[Assignment]) -> list[Fixed]:
        """The existing assignments that still fit, for as many replicas as are wanted."""
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
        shared = SharedCards(self.services)
        kept = []
        for key in sorted(parts):
            number, service = key[0], self.services[key[0]]
            assignments = self._located(number, parts[key])
            if service.replicas is not None and have[number] >= service.replicas:
                continue
            if any(
                (each.mask & ~room[each.host] and not shared.has_room(number, each.host, each.mask))
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
                shared.add(each)
                names.add((each.host, each.assignment.name))
                on.add((number, each.host))
            kept += assignments
        return kept

    def _located(self, number: int, assignments: list[Assignment]) -> list[Fixed]:
        """The assignments of one replica by rank; none if one of them cannot be."""
        found = [
            Fixed(number, self.host_at[assignment.host], mask_of(assignment.cards), assignment)
            for assignment in sorted(assignments, key=lambda assignment: assignment.rank)
            if assignment.host in self.host_at
            and all(0 <= card < CARDS_MAX for card in assignment.cards)
            and len(set(assignment.cards)) == len(assignment.cards)
        ]
        return found if len(found) == len(assignments) else []

    def _fits(self, service: FleetService, assignments: list[Fixed]) -> bool:
        """Whether this assignment is one that the planner could have chosen on an empty host."""
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

    def _span_fits(self, service: FleetService, assignments: list[Fixed]) -> bool:
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

    def _replicas(self, fixed: Iterable[Fixed]) -> list[Fixed]:
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

    def _join(self, kept: Sequence[Fixed]) -> list[Fixed]:
        """Replicas that have room on cards which kept ones share."""
        shared = SharedCards(self.services, kept)
        have = Counter(each.service for each in self._replicas([*self.given, *kept]))
        on = {(each.service, each.host) for each in (*self.given, *kept)}
        names = {(each.host, each.assignment.name) for each in (*self.given, *kept)}
        joined = []
        for number, service in enumerate(self.services):
            need = self.needs[number]
            for host, mask in list(shared.with_room(number, need.singles)):
                if service.replicas is not None and have[number] >= service.replicas:
                    break
                if (
                    (number, host) in on
                    or (host, service.name) in names
                    or (service.replicas is None and host not in self.targets[number])
                    or need.pinned not in (0, mask)
                ):
                    continue
                assignment = Assignment(service.name, self.hosts[host].name, tuple(cards_of(mask)))
                fixed = Fixed(number, host, mask, assignment)
                shared.add(fixed)
                have[number] += 1
                on.add((number, host))
                names.add((host, service.name))
                joined.append(fixed)
        return joined

    def fill(self, kept: list[Fixed]) -> _Outcome:
        """Place what is not kept."""
        kept = [*kept, *self._join(kept)]
        # Services that may be twice on a host are, only if not all has room otherwise.
        sets, left = self._items(kept, double=False)
        search = self._search(kept)
        without = search.place(sets)
        if without and any(
            self.may_double(self.services[item.service])
            for items in sets.values()
            for item in items
        ):
            sets, left = self._items(kept, double=True)
            search = self._search(kept)
            without = search.place(sets)
        levels = sorted({item.priority for item in sets}, reverse=True)
        if any(item.priority > levels[-1] for item in without):
            # Not all has room: what is of less priority comes after.
            search, without = self._search(kept), []
            for level in levels:
                without += search.place([item for item in sets if item.priority == level])
        cut = {each.service for item in without if item in search.cut for each in sets[item]}
        for each in (each for item in without for each in sets[item]):
            left.setdefault(each.service, []).append(each.place)
        for number, places in left.items():
            replicas = self.services[number].replicas
            if replicas is not None:  # the last ones
                places[:] = range(replicas - len(places) + 1, replicas + 1)
        return _Outcome(
            [*(fixed.assignment for fixed in kept), *self._assignments(search, kept, sets)],
            search.free,
            {number: sorted(left[number]) for number in sorted(left)},
            cut,
        )

    def _search(self, kept: Iterable[Fixed]) -> RepackingSearch:
        free = list(self.room)
        placed_on: list[dict[int, int]] = [{} for _unused in self.services]
        for fixed in (*self.given, *kept):
            free[fixed.host] &= ~fixed.mask
            if fixed.service >= 0:
                on = placed_on[fixed.service]
                on[fixed.host] = on.get(fixed.host, 0) + 1
        return RepackingSearch(
            [
                Room(cards, room, host.unit)
                for cards, room, host in zip(self.all, free, self.hosts, strict=True)
            ],
            placed_on,
        )

    def _items(
        self, kept: Iterable[Fixed], *, double: bool
    ) -> tuple[dict[Item, list[Item]], dict[int, list[int]]]:
        """(what is to be placed, with all that it is for; what has no room anyway by service).

        double: let services be twice on a host, also where there are hosts enough for all replicas.
        """
        fixed = [*self.given, *kept]
        have = [0] * len(self.services)
        placed_on: list[set[int]] = [set() for _unused in self.services]
        for each in self._replicas(fixed):
            have[each.service] += 1
        for each in fixed:
            if each.service >= 0:
                placed_on[each.service].add(each.host)
        items: list[Item] = []
        left: dict[int, list[int]] = {}
        for number, service in enumerate(self.services):
            need = self.needs[number]
            if service.replicas is None:
                for place, host in enumerate(self.targets[number], 1):
                    if host in placed_on[number]:
                        continue
                    if host not in need.singles:
                        left.setdefault(number, []).append(place)
                        continue
                    alone = self._need_on(host, service, need.singles[host])
                    items.append(Item(alone, number, True, service.priority, place=place))
                continue
            missing = max(0, service.replicas - have[number])
            taken = sum(host in need.singles for host in placed_on[number])
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
        return together(items, self.services, placed_on), left

    def _assignments(
        self, search: RepackingSearch, kept: Iterable[Fixed], sets: Mapping[Item, list[Item]]
    ) -> Iterator[Assignment]:
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
                for each in sets[item]:
                    service = self.services[each.service].name
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

    def unplaced(self, outcome: _Outcome, repacked: _Outcome | None) -> tuple[Unplaced, ...]:
        """What has no room, and why. repacked: what came of planning all again from the start."""
        reasons = Reasons(
            self,
            outcome.free,
            Counter(assignment.service for assignment in outcome.assignments),
            (repacked or outcome).cut,
            None if repacked is None else [self.services[n].name for n in sorted(repacked.left)],
        )
        found = []
        for number, replicas in outcome.left.items():
            service = self.services[number]
            known: dict[object, Unplaced] = {}
            for replica in replicas:
                on = self.targets[number][replica - 1] if service.replicas is None else None
                helps = repacked is not None and replica not in repacked.left.get(number, ())
                if (on, helps) not in known:
                    known[on, helps] = reasons.why(number, on, helps=helps)
                found.append(replace(known[on, helps], replica=replica))
        return tuple(found)


def _copy(assignment: Assignment) -> int:
    """1 for a service's own name, n for NAME-n."""
    match = COPY_NAME.fullmatch(assignment.name) if assignment.name != assignment.service else None
    return int(match[2]) if match else 1
