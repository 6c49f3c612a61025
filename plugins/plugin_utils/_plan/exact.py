# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Exact search: every arrangement of a small part of a fleet, up to a bound."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from .needs import Item, Room
from .search import Search

EXACT_TRIALS = 5_000


class Bound(Exception):
    """The exact search has taken all its trials."""


class ExactSearch(Search):
    """Places items of a few hosts in any way that there is, where other ways have failed."""

    def __init__(self, rooms: Sequence[Room], held: list[dict[int, int]]) -> None:
        super().__init__(rooms, held)
        self._exact_trials = EXACT_TRIALS

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


def _three(way: tuple[object, ...]) -> tuple[object, ...]:
    return way[:3]
