# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Room for services on many hosts: best fit, and exchange where that fails.

Hosts and services are numbers here.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from .card_sets import aligned_blocks, best_block, blocks_in, pack

# Bounds. All count trials (one service on one host), so the outcome does not depend on the machine.
EXCHANGE_TRIALS = 200_000


@dataclass(frozen=True)
class Room:
    """A host: all its cards, those free to place on, and cards per board."""

    cards: int
    free: int
    unit: int


@dataclass(frozen=True)
class Span:
    """A way to take complete hosts: how many, of those that are completely usable."""

    cards: int
    hosts: int
    among: tuple[int, ...]


@dataclass(eq=False)
class Need:
    """What equal services want: cards by host, and ways over several hosts, the best first."""

    number: int
    singles: dict[int, int]
    spans: tuple[Span, ...] = ()
    pinned: int = 0

    def __post_init__(self) -> None:
        self.size = min([*self.singles.values(), *(span.cards for span in self.spans)], default=0)
        # What a pin or a lone host leaves no choice of goes first; then what takes complete hosts.
        forced = len(self.singles) == 1 and not self.spans
        wide = 0 if self.singles or not self.spans else min(span.hosts for span in self.spans)
        rank = 0 if self.pinned else 1 if forced else 2
        self.order = (rank, -wide, -self.size, len(self.singles), self.number)


@dataclass(eq=False, slots=True)
class Item:
    """One replica to be placed. `alone`: not on a host with another of its service."""

    need: Need
    service: int
    alone: bool
    priority: int = 0
    replicas: int = 1
    place: int = 0  # of its host among all, where it is to be on every host
    kind: tuple[int, int] = field(init=False)
    order: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Services of one replica and equal needs are interchangeable.
        self.kind = (self.need.number, self.service if self.replicas > 1 else -1)
        self.order = (*self.need.order, -self.priority, -self.replicas, self.service)


class Search:
    """Places items. `placed_on`: fixed replicas, {host: number} by service."""

    def __init__(self, rooms: Sequence[Room], placed_on: list[dict[int, int]]) -> None:
        self.rooms = rooms
        self.free = [room.free for room in rooms]
        self.on: list[dict[Item, int]] = [{} for _unused in rooms]
        self.cut: set[Item] = set()  # left over by a search that was not complete
        self._current: set[Item] = set()
        self._placed_on = placed_on
        self._fixed = [dict(hosts) for hosts in placed_on]
        self._version = [0] * len(rooms)
        self._touched: list[int] = []
        self._cursor: dict[tuple[int, int], int] = {}
        self._dead: set[tuple[object, ...]] = set()
        self._exchange_bound = self._exchange_trials = EXCHANGE_TRIALS

    def _in_turn(self, items: Iterable[Item]) -> list[Item]:
        left: list[Item] = []
        for _unused, run in groupby(items, key=lambda item: item.need.number):
            left += self._fill(list(run))
        return left

    def _fill(self, items: list[Item]) -> list[Item]:
        """Items of one need, ordered by service. Grows with (hosts + items) * log(hosts)."""
        need = items[0].need
        heap = [offer for host in need.singles if (offer := self._offer(need, host))]
        heapq.heapify(heap)
        self._touched.clear()
        left: list[Item] = []
        for service, group in groupby(items, key=lambda item: item.service):
            pending, placed_on, level = deque(group), self._placed_on[service], 0
            aside = []
            while pending:
                item = pending[0]
                for host in self._touched:
                    if host in need.singles and (offer := self._offer(need, host)):
                        heapq.heappush(heap, offer)
                self._touched.clear()
                if heap:
                    offer = heapq.heappop(heap)
                    host = offer[3]
                    if offer[4] != self._version[host]:
                        continue
                    if placed_on.get(host, 0) > level:
                        aside.append(offer)
                        continue
                    self._set(host, {**self.on[host], item: offer[5]})
                elif self._exchange(item, double=False) or self._span(item):
                    pass
                elif aside and not item.alone:
                    level = min(placed_on.get(offer[3], 0) for offer in aside)
                    heap, aside = aside, []
                    heapq.heapify(heap)
                    continue
                elif item.alone or not self._exchange(item, double=True):
                    left += pending
                    break
                pending.popleft()
            for offer in aside:
                heapq.heappush(heap, offer)
        return left

    def _offer(self, need: Need, host: int) -> tuple[int, int, int, int, int, int] | None:
        """(cards, loss, free cards, host, version, block), the better the less."""
        count, free = need.singles[host], self.free[host]
        if need.pinned:
            if need.pinned & ~free:
                return None
            loss, block = aligned_blocks(free) - aligned_blocks(free & ~need.pinned), need.pinned
        else:
            found = blocks_in(free, self.rooms[host].unit, count)
            if not found:
                return None
            loss, block = found[0]
        return count, loss, free.bit_count(), host, self._version[host], block

    def _set(self, host: int, contents: dict[Item, int]) -> dict[Item, int]:
        """Let these be on the host, and no others; return what was."""
        old = self.on[host]
        for item in old:
            if item not in contents:
                placed_on = self._placed_on[item.service]
                placed_on[host] -= 1
                if not placed_on[host]:
                    del placed_on[host]
        taken = 0
        for item, block in contents.items():
            taken |= block
            if item not in old:
                placed_on = self._placed_on[item.service]
                placed_on[host] = placed_on.get(host, 0) + 1
        self.on[host] = contents
        self.free[host] = self.rooms[host].free & ~taken
        self._version[host] += 1
        self._touched.append(host)
        return old

    def _span(self, item: Item) -> bool:
        """Take completely free hosts, the first ones by number; clear some if there are too few."""
        for number, span in enumerate(item.need.spans):
            key = (item.need.number, number)
            chosen: list[int] = []
            for place in range(self._cursor.get(key, 0), len(span.among)):
                host = span.among[place]
                if self._is_free(host):
                    chosen.append(host)
                if len(chosen) == span.hosts:
                    self._cursor[key] = place + 1
                    self._take(item, chosen)
                    return True
        return any(self._clear(item, span) for span in item.need.spans)

    def _is_free(self, host: int) -> bool:
        return self.free[host] == self.rooms[host].cards

    def _take(self, item: Item, hosts: Iterable[int]) -> None:
        for host in hosts:
            self._set(host, {item: self.rooms[host].cards})

    def _clear(self, item: Item, span: Span) -> bool:
        """Empty hosts by moving what is on them to others."""
        key = ("clear", item.need.number, span.cards)
        if key in self._dead:
            return False
        usable = [host for host in span.among if self.rooms[host].free == self.rooms[host].cards]
        chosen = [host for host in usable if self._is_free(host)][: span.hosts]
        emptied = set(chosen)
        undo: list[tuple[int, dict[Item, int]]] = []
        for host in sorted(usable, key=lambda host: (-self.free[host].bit_count(), host)):
            if len(chosen) >= span.hosts:
                break
            if host in emptied:
                continue
            mark = len(undo)
            emptied.add(host)
            if all(self._move_off(host, other, emptied, undo) for other in [*self.on[host]]):
                chosen.append(host)
                continue
            emptied.discard(host)
            while len(undo) > mark:
                self._set(*undo.pop())
        if len(chosen) == span.hosts:
            self._take(item, chosen)
            return True
        while undo:
            self._set(*undo.pop())
        self._dead.add(key)
        return False

    def _move_off(
        self, host: int, item: Item, barred: set[int], undo: list[tuple[int, dict[Item, int]]]
    ) -> bool:
        for other in item.need.singles:
            if other in barred or self._placed_on[item.service].get(other):
                continue
            self._exchange_trials -= 1
            if self._exchange_trials < 0:
                return False
            arranged = self._arrange(other, item)
            if arranged is not None:
                undo.append((other, self._set(other, arranged)))
                contents = {each: block for each, block in self.on[host].items() if each != item}
                undo.append((host, self._set(host, contents)))
                return True
        return False

    def _exchange(self, item: Item, *, double: bool) -> bool:
        """Place the item by moving placed ones, each to the room that the next one leaves.

        Breadth first, so with the fewest moves. double: services that may be twice on a host.
        """
        key = (*item.kind, double)
        if key in self._dead or not item.need.singles or self._exchange_trials < 0:
            return False
        seen = {item.kind}
        # Items that need a host, each with the moves that wait for it to leave its own.
        queue: deque[tuple[Item, tuple[tuple[Item, int], ...]]] = deque([(item, ())])
        while queue:
            mover, waiting = queue.popleft()
            hosts = self._reachable(mover, {host for _item, host in waiting}, double)
            self._exchange_trials -= len(hosts)
            if self._exchange_trials < 0:
                return False
            offers = (offer for host in hosts if (offer := self._offer(mover.need, host)))
            best = min(offers, default=None)
            fits = (host for host in hosts if self._arrange(host, mover) is not None)
            free = best[3] if best else next(fits, None)
            if free is not None:
                self._move_all((*waiting, (mover, free)))
                return True
            for host in hosts:
                for other in self.on[host]:
                    if other.kind in seen or len(other.need.singles) < 2:
                        continue
                    self._exchange_trials -= 1
                    if self._arrange(host, mover, without=other) is not None:
                        seen.add(other.kind)
                        queue.append((other, (*waiting, (mover, host))))
        self._dead.add(key)
        return False

    def _reachable(self, item: Item, used: Container[int], double: bool) -> list[int]:
        placed_on = self._placed_on[item.service]
        anywhere = double and not item.alone
        return [
            host
            for host in item.need.singles
            if host not in used and (anywhere or host not in placed_on)
        ]

    def _move_all(self, moves: Sequence[tuple[Item, int]]) -> None:
        """Do these moves, the last one first: it makes room for the one before."""
        gone: Item | None = None
        for item, host in reversed(moves):
            arranged = self._arrange(host, item, without=gone)
            if arranged is None:  # hosts of a chain differ, so nothing has changed on them
                raise AssertionError(f"a chain of moves no longer fits on host {host}")
            self._set(host, arranged)
            gone = item

    def _arrange(
        self, host: int, item: Item, without: Item | None = None
    ) -> dict[Item, int] | None:
        """The host's items with this one, moved about on the host if need be; None if they don't fit."""
        contents, free = self.on[host], self.free[host]
        count, pinned = item.need.singles[host], item.need.pinned
        if without is not None:
            contents = {each: block for each, block in contents.items() if each is not without}
            free |= self.on[host][without]
        if free.bit_count() < count:
            return None
        unit = self.rooms[host].unit
        if pinned:
            if not pinned & ~free:
                return {**contents, item: pinned}
        else:
            best = best_block(free, unit, count)
            if best is not None:
                return {**contents, item: best[1]}
        base, movable = self.rooms[host].free, []
        arranged = {}
        for each in (*contents, item):
            if each.need.pinned:
                if each.need.pinned & ~base:
                    return None
                base &= ~each.need.pinned
                arranged[each] = each.need.pinned
            else:
                movable.append(each)
        movable.sort(key=lambda each: -each.need.singles[host])
        blocks = pack(base, unit, tuple(each.need.singles[host] for each in movable))
        if blocks is None:
            return None
        return {**arranged, **dict(zip(movable, blocks, strict=True))}
