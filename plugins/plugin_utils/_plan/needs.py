# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the search places: items with their needs, on hosts with their rooms."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    kind: tuple[int, int] = field(init=False)
    order: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Services of one replica and equal needs are interchangeable.
        self.kind = (self.need.number, self.service if self.replicas > 1 else -1)
        self.order = (*self.need.order, -self.priority, -self.replicas, self.service)
