# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Room for services on many hosts: best fit, exchange where that fails, exact search of small parts.

Hosts and services are numbers here, the cards of a host are the bits of an int.
"""

from __future__ import annotations

import heapq
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

from ansible_collections.inferops.ascend.plugins.plugin_utils._place.blocks import block_starts

CARDS_MAX = 1024  # per host; card ids are below
LEVELS = CARDS_MAX.bit_length()  # sizes of aligned blocks: 1, 2, 4, ... CARDS_MAX
_BITS = 11  # of one number in `aligned_blocks`, which is at most CARDS_MAX

# Bounds. All count trials (one service on one host), so the outcome does not depend on the machine.
EXCHANGE_TRIALS = 200_000
EXACT_TRIALS = 5_000
EXACT_HOSTS, EXACT_SERVICES = 32, 200
PACK_TRIALS = 5_000
ROUNDS, ROUND_TRIALS = 100, 20_000


def mask_of(cards: Iterable[int]) -> int:
    mask = 0
    for card in cards:
        mask |= 1 << card
    return mask


def cards_of(mask: int) -> list[int]:
    return [card for card in range(mask.bit_length()) if mask >> card & 1]


def power_of_two(count: int) -> bool:
    return count & (count - 1) == 0


_EVERY = {size: mask_of(range(0, CARDS_MAX, size)) for size in (1 << n for n in range(LEVELS))}


@lru_cache(maxsize=1 << 15)
def aligned_blocks(mask: int) -> int:
    """How many aligned blocks of 1, 2, 4, ... cards lie in `mask`, eleven bits each.

    As a number it is greater where there are more of the largest blocks.
    """
    packed, size, starts = 0, 1, mask
    while starts:
        packed |= starts.bit_count() << _BITS * (size.bit_length() - 1)
        starts &= starts >> size & _EVERY.get(2 * size, 0)
        size *= 2
    return packed


def blocks_of(mask: int) -> list[int]:
    """How many aligned blocks of 1, 2, 4, ... CARDS_MAX cards lie in `mask`."""
    packed = aligned_blocks(mask)
    return [packed >> _BITS * level & (1 << _BITS) - 1 for level in range(LEVELS)]


def largest_block(mask: int) -> int:
    """Cards of the largest aligned block in `mask`."""
    packed = aligned_blocks(mask)
    return 1 << (packed.bit_length() - 1) // _BITS if packed else 0


@lru_cache(maxsize=1 << 15)
def longest_run(mask: int) -> int:
    """Cards of the longest run of consecutive ones."""
    length = 0
    while mask:
        mask &= mask >> 1
        length += 1
    return length


@lru_cache(maxsize=1 << 15)
def _blocks(free: int, unit: int, count: int) -> tuple[tuple[int, int], ...]:
    """(loss, block) of all blocks of `count` cards in `free`, the best first.

    The loss is in aligned blocks that are free no longer, so a service takes what is of least use
    to larger ones: the buddy system's best fit, which also tells odd counts where to go.
    """
    before, full = aligned_blocks(free), (1 << count) - 1
    found = []
    for start in block_starts(cards_of(free), count, unit):
        rest = free & ~(full << start)
        found.append((before - aligned_blocks(rest), -longest_run(rest), start))
    return tuple((loss, full << start) for loss, _unused, start in sorted(found))


def best_block(free: int, unit: int, count: int) -> tuple[int, int] | None:
    """(loss, block) of the best block of `count` cards in `free`, or None."""
    found = _blocks(free, unit, count)
    return found[0] if found else None


@lru_cache(maxsize=1 << 15)
def pack(free: int, unit: int, counts: tuple[int, ...]) -> tuple[int, ...] | None:
    """Blocks of these counts, which descend, side by side in `free`; None if there is no way.

    Powers of two from the largest down fit if they can at all, wherever each goes. Other counts are
    tried everywhere, up to PACK_TRIALS; beyond, None.
    """
    if sum(counts) > free.bit_count():
        return None
    exact = all(map(power_of_two, counts))
    trials = 0
    dead: set[tuple[int, int]] = set()

    def lay(number: int, free: int) -> list[int] | None:
        nonlocal trials
        if number == len(counts):
            return []
        if (number, free) in dead:
            return None
        for _unused, block in _blocks(free, unit, counts[number])[: 1 if exact else None]:
            trials += 1
            if trials > PACK_TRIALS:
                return None
            rest = lay(number + 1, free & ~block)
            if rest is not None:
                return [block, *rest]
        dead.add((number, free))
        return None

    laid = lay(0, free)
    return None if laid is None else tuple(laid)


@dataclass(frozen=True)
class Room:
    """A host: all its cards, those free to place on, and cards per board."""

    cards: int
    free: int
    unit: int


@dataclass(frozen=True)
class Span:
    """A way to take whole hosts: how many, of those that are wholly usable."""

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
        # What a pin or a lone host leaves no choice of goes first; then what takes hosts whole.
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
    kind: tuple[int, int] = field(init=False)
    order: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Services of one replica and equal needs are interchangeable.
        self.kind = (self.need.number, self.service if self.replicas > 1 else -1)
        self.order = (*self.need.order, -self.priority, -self.replicas, self.service)


@dataclass(eq=False)
class _Step:
    """An item that appearance for room, so that its host has room for the item before it."""

    item: Item
    before: _Step | None = None
    host: int = -1


class _Bound(Exception):
    """The exact search has taken all its trials."""


class Search:
    """Places items. `held`: fixed replicas, {host: number} by service."""

    def __init__(self, rooms: Sequence[Room], held: list[dict[int, int]]) -> None:
        self.rooms = rooms
        self.free = [room.free for room in rooms]
        self.on: list[dict[Item, int]] = [{} for _unused in rooms]
        self.cut: set[Item] = set()  # left over by a search that was not complete
        self._current: set[Item] = set()
        self._held = held
        self._fixed = [dict(hosts) for hosts in held]
        self._version = [0] * len(rooms)
        self._touched: list[int] = []
        self._cursor: dict[tuple[int, int], int] = {}
        self._dead: set[tuple[object, ...]] = set()
        self._exchange_trials = EXCHANGE_TRIALS
        self._exact_trials = EXACT_TRIALS

    def place(self, items: Iterable[Item]) -> list[Item]:
        """Place all of them, keeping all placed before; return those without room."""
        self._current = set(items)
        left = self._in_turn(sorted(self._current, key=lambda item: item.order))
        return self._repack(left) if left else []

    def _in_turn(self, items: Iterable[Item]) -> list[Item]:
        left: list[Item] = []
        for _unused, run in groupby(items, key=lambda item: item.need.number):
            left += self._fill(list(run))
        return left

    # Best fit

    def _fill(self, items: list[Item]) -> list[Item]:
        """Items of one need, ordered by service. Grows with (hosts + items) * log(hosts)."""
        need = items[0].need
        heap = [offer for host in need.singles if (offer := self._offer(need, host))]
        heapq.heapify(heap)
        self._touched.clear()
        left: list[Item] = []
        for service, group in groupby(items, key=lambda item: item.service):
            pending, held, level = deque(group), self._held[service], 0
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
                    if held.get(host, 0) > level:
                        aside.append(offer)
                        continue
                    self._set(host, {**self.on[host], item: offer[5]})
                elif self._exchange(item, double=False) or self._span(item):
                    pass
                elif aside and not item.alone:
                    level = min(held.get(offer[3], 0) for offer in aside)
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
            found = _blocks(free, self.rooms[host].unit, count)
            if not found:
                return None
            loss, block = found[0]
        return count, loss, free.bit_count(), host, self._version[host], block

    def _set(self, host: int, contents: dict[Item, int]) -> dict[Item, int]:
        """Let these be on the host, and no others; return what was."""
        old = self.on[host]
        for item in old:
            if item not in contents:
                held = self._held[item.service]
                held[host] -= 1
                if not held[host]:
                    del held[host]
        taken = 0
        for item, block in contents.items():
            taken |= block
            if item not in old:
                held = self._held[item.service]
                held[host] = held.get(host, 0) + 1
        self.on[host] = contents
        self.free[host] = self.rooms[host].free & ~taken
        self._version[host] += 1
        self._touched.append(host)
        return old

    def _span(self, item: Item) -> bool:
        """Take whole free hosts, the first ones by number; clear some if there are too few."""
        for number, span in enumerate(item.need.spans):
            key = (item.need.number, number)
            chosen: list[int] = []
            for place in range(self._cursor.get(key, 0), len(span.among)):
                host = span.among[place]
                if self._whole(host):
                    chosen.append(host)
                if len(chosen) == span.hosts:
                    self._cursor[key] = place + 1
                    self._take(item, chosen)
                    return True
        return any(self._clear(item, span) for span in item.need.spans)

    def _whole(self, host: int) -> bool:
        return self.free[host] == self.rooms[host].cards

    def _take(self, item: Item, hosts: Iterable[int]) -> None:
        for host in hosts:
            self._set(host, {item: self.rooms[host].cards})

    def _clear(self, item: Item, span: Span) -> bool:
        """Make hosts whole by moving what is on them to others."""
        key = ("clear", item.need.number, span.cards)
        if key in self._dead:
            return False
        usable = [host for host in span.among if self.rooms[host].free == self.rooms[host].cards]
        chosen = [host for host in usable if self._whole(host)][: span.hosts]
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
            if other in barred or self._held[item.service].get(other):
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

    # Exchange

    def _exchange(self, item: Item, *, double: bool) -> bool:
        """Place the item by moving placed ones, each to the room that the next one leaves.

        Breadth first, so with the fewest moves. double: services that may be twice on a host.
        """
        key = (*item.kind, double)
        if key in self._dead or not item.need.singles or self._exchange_trials < 0:
            return False
        seen = {item.kind}
        queue = deque([_Step(item)])
        while queue:
            step = queue.popleft()
            hosts = self._reachable(step, double)
            self._exchange_trials -= len(hosts)
            if self._exchange_trials < 0:
                return False
            offers = (offer for host in hosts if (offer := self._offer(step.item.need, host)))
            best = min(offers, default=None)
            if best is not None:
                self._walk(step, best[3])
                return True
            for host in hosts:
                if self._arrange(host, step.item) is not None:
                    self._walk(step, host)
                    return True
            for host in hosts:
                for other in self.on[host]:
                    if other.kind in seen or len(other.need.singles) < 2:
                        continue
                    self._exchange_trials -= 1
                    if self._arrange(host, step.item, without=other) is not None:
                        seen.add(other.kind)
                        queue.append(_Step(other, step, host))
        self._dead.add(key)
        return False

    def _reachable(self, step: _Step, double: bool) -> list[int]:
        item, held = step.item, self._held[step.item.service]
        used = set()
        walk: _Step | None = step
        while walk is not None:
            used.add(walk.host)
            walk = walk.before
        anywhere = double and not item.alone
        return [
            host
            for host in item.need.singles
            if host not in used and (anywhere or host not in held)
        ]

    def _walk(self, step: _Step, host: int) -> None:
        """Move the items of a chain of steps, the last one to `host`, where it has room."""
        gone: Item | None = None
        walk: _Step | None = step
        while walk is not None:
            arranged = self._arrange(host, walk.item, without=gone)
            if arranged is None:  # hosts of a chain differ, so nothing has changed on them
                raise AssertionError(f"a chain of moves no longer fits on host {host}")
            self._set(host, arranged)
            gone, host, walk = walk.item, walk.host, walk.before

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

    # Anew

    def _repack(self, left: list[Item]) -> list[Item]:
        """Place anew those left with all that competes with them; what is left then."""
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
            self._exchange_trials = EXCHANGE_TRIALS // ROUNDS
            left = self._in_turn(sorted(items, key=lambda item: (-urgency[item], item.order)))
            if not left:
                return []
            if len(left) < best[0] and self._current.issuperset(left):
                best = len(left), left, {host: self.on[host] for host in hosts}
        self._restore(dict.fromkeys(hosts, {}))
        try:
            if len(hosts) > EXACT_HOSTS or len(items) > EXACT_SERVICES:
                raise _Bound
            if self._descend(items, hosts):
                return []
        except _Bound:
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
            whole = map(min, zip(*map(blocks_of, sizes), strict=True))
            least.append([span.hosts * number for number in whole])
        return [min(column) for column in zip(*least, strict=True)]

    def _descend(self, items: list[Item], hosts: list[int]) -> bool:
        """Depth first, what has the fewest ways next; hosts that are alike are tried once.

        Raises _Bound when the trials are used up.
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
            held = self._held[item.service]
            singles, rooms = [], 0
            tried: dict[object, dict[Item, int] | None] = {}
            for host in item.need.singles:
                if host in held and item.alone:
                    continue
                key = appearance(host)
                if key not in tried:
                    tried[key] = arranged = self._arrange(host, item)
                    if arranged is not None:
                        offer = self._offer(item.need, host)
                        order = offer[:2] if offer else (item.need.singles[host], sys.maxsize)
                        singles.append((held.get(host, 0), order, host, arranged))
                rooms += tried[key] is not None
            found = [
                {host: arranged} for _load, _order, host, arranged in sorted(singles, key=_three)
            ]
            for span in item.need.spans:
                groups: dict[str, list[int]] = {}
                for host in filter(self._whole, span.among):
                    groups.setdefault(alike[host], []).append(host)
                for chosen in _choices(list(groups.values()), span.hosts):
                    self._exact_trials -= 1
                    if self._exact_trials < 0:
                        raise _Bound
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
                    raise _Bound
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


def _three(way: tuple[object, ...]) -> tuple[object, ...]:
    return way[:3]


def _inside(count: int, unit: int, size: int) -> int:
    """Aligned blocks of `size` that surely lie in a block of `count` cards, wherever it is."""
    if power_of_two(count) or (size <= unit <= count):
        return count // size
    return max(0, (count - size + 1) // size)
