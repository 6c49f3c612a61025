# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services of a fleet that have their cards together, each a part of their memory.

The search for room knows services that have their cards alone. So those that share are put together
before it, and it places each set as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._place.taken import fits
from .fleet import Fixed, FleetService
from .search import Item


class SharedCards:
    """The cards of placed services that share them, by host and cards."""

    def __init__(self, services: Sequence[FleetService], placed: Iterable[Fixed] = ()) -> None:
        self._services = services
        self._users: dict[tuple[int, int], list[int]] = {}
        for each in placed:
            self.add(each)

    def add(self, fixed: Fixed) -> None:
        if fixed.service >= 0 and self._services[fixed.service].part:
            self._users.setdefault((fixed.host, fixed.mask), []).append(fixed.service)

    def has_room(self, service: int, host: int, mask: int) -> bool:
        """Whether others share exactly these cards, and the service fits in beside them."""
        users, part = self._users.get((host, mask), []), self._services[service].part
        parts = [self._services[each].part for each in users]
        return bool(users and part) and service not in users and fits([*parts, part])

    def with_room(self, service: int, singles: Mapping[int, int]) -> Iterator[tuple[int, int]]:
        """(host, cards) that the service may join, in order. singles: its number of cards by host."""
        for host, mask in sorted(self._users):
            if singles.get(host) == mask.bit_count() and self.has_room(service, host, mask):
                yield host, mask


@dataclass(eq=False)
class _Set:
    """Items that are to have the same cards; the first one leads."""

    items: list[Item]
    parts: list[float] = field(default_factory=list)


def together(
    items: Sequence[Item], services: Sequence[FleetService], placed: Sequence[object]
) -> dict[Item, list[Item]]:
    """Items to search room for, each with those that it is for.

    Services that may go to the same hosts, and take as many cards there, are put together, those of many
    replicas and large parts first. All replicas of a service go with those of one other service, so
    that they are on different hosts where those are. One of which `placed` (hosts, by service) has
    replicas already leads.
    """
    found: dict[Item, list[Item]] = {}
    groups: dict[tuple[int, int], list[Item]] = {}
    for item in items:
        if services[item.service].part:
            groups.setdefault((item.need.number, item.service), []).append(item)
        else:
            found[item] = [item]
    led: dict[int, dict[int, list[_Set]]] = {}  # by need and the service that leads
    order = sorted(
        groups,
        key=lambda key: (
            not placed[key[1]],
            -len(groups[key]),
            -services[key[1]].part,
            services[key[1]].name,
        ),
    )
    for need, service in order:
        group, part = groups[need, service], services[service].part
        leaders = led.setdefault(need, {})
        joined = None if placed[service] else _with_room(leaders.values(), len(group), part)
        if joined is None:
            joined = leaders[service] = [_Set([]) for _item in group]
        for item, each in zip(group, joined, strict=True):
            each.items.append(item)
            each.parts.append(part)
    for leaders in led.values():
        for each in (each for sets in leaders.values() for each in sets):
            first = each.items[0]
            alone = any(item.alone for item in each.items)
            priority = max(item.priority for item in each.items)
            lead = Item(first.need, first.service, alone, priority, first.replicas, first.place)
            found[lead] = each.items
    return found


def _with_room(leaders: Iterable[Sequence[_Set]], count: int, part: float) -> list[_Set] | None:
    """As many sets of one service that leads, with room for the part; None if none has them."""
    for sets in leaders:
        free = [each for each in sets if fits([*each.parts, part])]
        if len(free) >= count:
            return free[:count]
    return None
