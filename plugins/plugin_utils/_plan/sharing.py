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
from .search import Item, Need


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

    Services are put together with one that leads, if they may go wherever it may, and take as many
    cards there. Those of many replicas, few hosts and large parts lead. All replicas of a service go
    with those of one that leads, so that they are on different hosts where those are; if they have to
    be, those have to be too. One of which `placed` (hosts, by service) has replicas already leads.
    """
    found: dict[Item, list[Item]] = {}
    groups: dict[tuple[int, int], list[Item]] = {}
    for item in items:
        if services[item.service].part:
            groups.setdefault((item.need.number, item.service), []).append(item)
        else:
            found[item] = [item]
    led: list[list[_Set]] = []  # of each service that leads

    def order(group: list[Item]) -> tuple[bool, int, int, float, str]:
        first = group[0]
        service = services[first.service]
        hosts = len(first.need.singles)
        return not placed[first.service], -len(group), hosts, -service.part, service.name

    for group in sorted(groups.values(), key=order):
        number = group[0].service
        part = services[number].part
        joined = None if placed[number] else _with_room(led, group, part)
        if joined is None:
            joined = [_Set([]) for _item in group]
            led.append(joined)
        for item, each in zip(group, joined, strict=True):
            each.items.append(item)
            each.parts.append(part)
    for each in (each for sets in led for each in sets):
        first = each.items[0]
        priority = max(item.priority for item in each.items)
        lead = Item(first.need, first.service, first.alone, priority, first.replicas, first.place)
        found[lead] = each.items
    return found


def _with_room(
    led: Iterable[Sequence[_Set]], group: Sequence[Item], part: float
) -> list[_Set] | None:
    """As many sets of one service that leads, with room for the part; None if none has them."""
    for sets in led:
        first, leads = group[0], sets[0].items[0]
        if not _may_follow(first.need, leads.need) or (first.alone and not leads.alone):
            continue
        free = [each for each in sets if fits([*each.parts, part])]
        if len(free) >= len(group):
            return free[: len(group)]
    return None


def _may_follow(need: Need, leads: Need) -> bool:
    """Whether a service may go wherever the one that leads may, on as many cards."""
    same = all(need.singles.get(host) == cards for host, cards in leads.singles.items())
    return same and need.pinned == leads.pinned and not need.spans and not leads.spans
