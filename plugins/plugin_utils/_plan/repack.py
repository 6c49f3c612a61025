# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placed services are arranged again: best fit in another order, then every arrangement there is."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._place.blocks import power_of_two
from .card_sets import LEVELS, blocks_of
from .search import Item, Need, Room, Search

EXACT_HOSTS, EXACT_SERVICES, EXACT_TRIALS = 32, 200, 5_000
ROUNDS, ROUND_TRIALS = 100, 20_000


class Bound(Exception):
    """The exact search has taken all its trials."""


class RepackingSearch(Search):
    """Places items; arranges placed ones again where that makes room."""

    def __init__(self, rooms: Sequence[Room], placed_on: list[dict[int, int]]) -> None:
        super().__init__(rooms, placed_on)
        self._exact_trials = EXACT_TRIALS

    def place(self, items: Iterable[Item]) -> list[Item]:
        """Place all of them, keeping all placed before; return those without room."""
        self._current = set(items)
        left = self._in_turn(sorted(self._current, key=lambda item: item.order))
        return self._repack(left) if left else []

    def _repack(self, left: list[Item]) -> list[Item]:
        """Place those left again with all that competes with them; what is left then."""
        waiting: dict[int, list[Item]] = {}
        for item in {item.need.number: item for item in left}.values():
            for host in self._hosts(item):
                waiting.setdefault(host, []).append(item)
        still: list[Item] = []
        pending = list(left)
        while pending:
            hosts, placed, needs = self._component(pending[0], waiting)
            wanted = [item for item in pending if item.need.number in needs]
            pending = [item for item in pending if item.need.number not in needs]
            still += self._solve(sorted(hosts), placed, wanted)
        return still

    @staticmethod
    def _hosts(item: Item) -> set[int]:
        return set(item.need.singles).union(*(span.among for span in item.need.spans))

    def _component(
        self, item: Item, waiting: Mapping[int, list[Item]]
    ) -> tuple[set[int], list[Item], set[int]]:
        """(hosts that may matter to an item, the items on them, numbers of all needs for them).

        waiting: items that are on no host, by the hosts that they might go to.
        """
        todo = deque([item])
        hosts: set[int] = set()
        found: dict[Item, None] = {}
        needs: set[int] = set()
        while todo:
            each = todo.popleft()
            if each.need.number in needs:
                continue
            needs.add(each.need.number)
            for host in sorted(self._hosts(each) - hosts):
                hosts.add(host)
                found.update(dict.fromkeys(self.on[host]))
                todo.extend(self.on[host])
                todo.extend(waiting.get(host, ()))
        return hosts, list(found), needs

    def _solve(self, hosts: list[int], placed: list[Item], left: list[Item]) -> list[Item]:
        """What is left of these on these hosts, to which nothing else goes."""
        items = sorted([*placed, *left], key=lambda item: item.order)
        if self._short(hosts, items):
            return left
        best = len(left), left, {host: self.on[host] for host in hosts}  # all placed before stay
        urgency: Counter[Item] = Counter()
        for _unused in range(min(ROUNDS, ROUND_TRIALS // (len(hosts) + len(items)))):
            # Best fit again, with what had no room, or more cards than on other hosts, before the rest.
            urgency.update(left)
            for host in hosts:
                for item in self.on[host]:
                    if item.need.singles.get(host, 0) > item.need.size:
                        urgency[item] += 1
            self._restore(dict.fromkeys(hosts, {}))
            self._exchange_trials = self._exchange_bound // ROUNDS
            left = self._in_turn(sorted(items, key=lambda item: (-urgency[item], item.order)))
            if not left:
                return []
            if len(left) < best[0] and self._current.issuperset(left):
                best = len(left), left, {host: self.on[host] for host in hosts}
        self._restore(dict.fromkeys(hosts, {}))
        try:
            if len(hosts) > EXACT_HOSTS or len(items) > EXACT_SERVICES:
                raise Bound
            if self._descend(items, hosts):
                return []
        except Bound:
            self.cut.update(best[1])
        self._restore(best[2])
        return best[1]

    def _restore(self, contents: Mapping[int, dict[Item, int]]) -> None:
        for host in contents:
            self._set(host, {})
        for host, items in contents.items():
            self._set(host, items)
        self._dead.clear()
        self._cursor.clear()

    def _short(self, hosts: list[int], items: list[Item]) -> bool:
        """Whether there are too few blocks of some size, however all is arranged."""
        supply, demand = [0] * LEVELS, [0] * LEVELS
        for host in hosts:
            for level, number in enumerate(blocks_of(self.rooms[host].free)):
                supply[level] += number
        for need, items_of_it in Counter(item.need for item in items).items():
            for level, number in enumerate(self._least(need)):
                demand[level] += items_of_it * number
        return any(wanted > there for wanted, there in zip(demand, supply, strict=True))

    def _least(self, need: Need) -> list[int]:
        """How many aligned blocks of 1, 2, 4, ... cards a service takes at the very least."""
        if need.pinned:
            return blocks_of(need.pinned)
        ways = {(count, self.rooms[host].unit) for host, count in need.singles.items()}
        least = [[_inside(count, unit, 1 << n) for n in range(LEVELS)] for count, unit in ways]
        for span in need.spans:
            sizes = {self.rooms[host].cards for host in span.among}
            fewest = map(min, zip(*map(blocks_of, sizes), strict=True))
            least.append([span.hosts * number for number in fewest])
        return [min(column) for column in zip(*least, strict=True)]

    def _descend(self, items: list[Item], hosts: list[int]) -> bool:
        """Depth first, what has the fewest ways next; hosts that are alike are tried once.

        Raises Bound when the trials are used up.
        """
        needs = list({item.need.number: item.need for item in items}.values())
        services = sorted({item.service for item in items})
        alike = {
            host: repr(
                (
                    self.rooms[host],
                    [need.singles.get(host) for need in needs],
                    [host in span.among for need in needs for span in need.spans],
                    [self._fixed[service].get(host) for service in services],
                )
            )
            for host in hosts
        }
        todo: dict[tuple[int, int], list[Item]] = {}
        for item in reversed(items):
            todo.setdefault(item.kind, []).append(item)
        cards = sum(item.need.size for item in items)
        dead: set[tuple[object, ...]] = set()

        def appearance(host: int) -> tuple[str, tuple[tuple[int, int], ...]]:
            return alike[host], tuple(sorted(item.kind for item in self.on[host]))

        def ways(item: Item, number: int) -> list[dict[int, dict[Item, int]]]:
            """Where the first of so many equal items may go; empty too if the last can't."""
            placed_on = self._placed_on[item.service]
            singles, rooms = [], 0
            tried: dict[object, dict[Item, int] | None] = {}
            for host in item.need.singles:
                if host in placed_on and item.alone:
                    continue
                key = appearance(host)
                if key not in tried:
                    tried[key] = arranged = self._arrange(host, item)
                    if arranged is not None:
                        offer = self._offer(item.need, host)
                        order = offer[:2] if offer else (item.need.singles[host], sys.maxsize)
                        singles.append((placed_on.get(host, 0), order, host, arranged))
                rooms += tried[key] is not None
            found = [
                {host: arranged}
                for _load, _order, host, arranged in sorted(singles, key=lambda way: way[:3])
            ]
            for span in item.need.spans:
                groups: dict[str, list[int]] = {}
                for host in filter(self._is_free, span.among):
                    groups.setdefault(alike[host], []).append(host)
                for chosen in _choices(list(groups.values()), span.hosts):
                    self._exact_trials -= 1
                    if self._exact_trials < 0:
                        raise Bound
                    found.append({host: {item: self.rooms[host].cards} for host in chosen})
            if item.alone and item.replicas > 1 and not item.need.spans and rooms < number:
                return []
            return found

        def descend(cards: int) -> bool:
            if not cards:
                return True
            if cards > sum(self.free[host].bit_count() for host in hosts):
                return False
            state = tuple(sorted(map(appearance, hosts)))
            if state in dead:
                return False
            best: list[dict[int, dict[Item, int]]] | None = None
            for equal in todo.values():
                if equal:
                    found = ways(equal[-1], len(equal))
                    if best is None or len(found) < len(best):
                        best, chosen = found, equal
                    if not best:
                        break
            for way in best or []:  # none only where no cards are wanted
                self._exact_trials -= 1
                if self._exact_trials < 0:
                    raise Bound
                item = chosen.pop()
                undo = [(host, self._set(host, contents)) for host, contents in way.items()]
                if descend(cards - item.need.size):
                    return True
                for host, contents in undo:
                    self._set(host, contents)
                chosen.append(item)
            dead.add(state)
            return False

        return descend(cards)


def _choices(groups: list[list[int]], count: int) -> Iterator[list[int]]:
    """So many of these, those of a group being interchangeable; many of the first group first."""
    if not count:
        yield []
    elif count <= sum(map(len, groups)):
        for taken in range(min(count, len(groups[0])), -1, -1):
            for rest in _choices(groups[1:], count - taken):
                yield [*groups[0][:taken], *rest]


def _inside(count: int, unit: int, size: int) -> int:
    """Aligned blocks of `size` that surely lie in a block of `count` cards, wherever it is."""
    if power_of_two(count) or (size <= unit <= count):
        return count // size
    return max(0, (count - size + 1) // size)
