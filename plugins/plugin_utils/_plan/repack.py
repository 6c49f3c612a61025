# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last step of the search: all that competes for the same hosts is arranged again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping

from .._place.blocks import power_of_two
from .card_sets import LEVELS, blocks_of
from .exact import Bound, ExactSearch
from .needs import Item, Need

EXACT_HOSTS, EXACT_SERVICES = 32, 200


ROUNDS, ROUND_TRIALS = 100, 20_000


class RepackingSearch(ExactSearch):
    """Places items; arranges placed ones again where that makes room."""

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
            whole = map(min, zip(*map(blocks_of, sizes), strict=True))
            least.append([span.hosts * number for number in whole])
        return [min(column) for column in zip(*least, strict=True)]


def _inside(count: int, unit: int, size: int) -> int:
    """Aligned blocks of `size` that surely lie in a block of `count` cards, wherever it is."""
    if power_of_two(count) or (size <= unit <= count):
        return count // size
    return max(0, (count - size + 1) // size)
