# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which cards of a host are taken, by one service or by several that share them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._base.words import listed
from .service import ServiceRequest

# Of a card's memory, for all services on it. Beside its part each process has what the runtime takes
# before the part is counted: 0.41 of 61.27 GiB in the log of vllm-ascend pull request 8289, and the
# memory of captured graphs, which versions before that request count nowhere.
SHARED_AT_MOST = 0.95


def fits(parts: Sequence[float]) -> bool:
    """Whether services with these parts of a card's memory can have it together."""
    return round(sum(parts), 6) <= SHARED_AT_MOST


class TakenCards:
    """The cards of services. Services have equal cards or none in common."""

    def __init__(self) -> None:
        self._users: dict[tuple[int, ...], list[ServiceRequest]] = {}
        self.owner: dict[int, str] = {}  # the first by card

    def take(self, request: ServiceRequest, cards: tuple[int, ...]) -> tuple[int, ...]:
        self._users.setdefault(cards, []).append(request)
        for card in cards:
            self.owner.setdefault(card, request.name)
        return cards

    def allow(self, request: ServiceRequest, cards: tuple[int, ...]) -> bool:
        """Whether a service that does not name these cards may have them."""
        if self.owner.keys().isdisjoint(cards):
            return True
        users = self._users.get(cards, [])
        willing = all(each.share for each in (request, *users))
        parts = [each.utilization for each in (*users, request)]
        return bool(users) and willing and fits(parts)

    def with_room(self, request: ServiceRequest) -> Iterator[tuple[int, ...]]:
        """Cards that others share and the service may have too, by number."""
        for cards in sorted(self._users):
            if len(cards) == request.count and self.allow(request, cards):
                yield cards

    def named_fault(self, request: ServiceRequest, cards: tuple[int, ...]) -> str | None:
        """Why a service cannot have the cards that it names, and the way out; None if it can."""
        card = next((each for each in cards if each in self.owner), None)
        if card is None:
            return None
        other = self.owner[card]
        both = f"services {other} and {request.name} both want card {card}"
        way = (
            "Name another card for one of them, or give one of them a number of cards instead. To have"
            " both on it, write the same cards for both and a gpu_memory_utilization for each, which add"
            f" up to {SHARED_AT_MOST:g} at most."
        )
        users = self._users.get(cards)
        if users is None:
            theirs = next(key for key in self._users if card in key)
            if not (request.share or any(each.share for each in self._users[theirs])):
                return f"{both}. {way}"
            return (
                f"{both}, and {other} has the cards {listed(theirs)}, {request.name} {listed(cards)}:"
                f" services share all of their cards or none. {way}"
            )
        spanning = next((each.name for each in (*users, request) if each.hosts > 1), None)
        if spanning:
            return f"{both}, and {spanning} spans several hosts and cannot share. {way}"
        unwilling = next((each.name for each in (*users, request) if each.share is False), None)
        if unwilling:
            return f"{both}, and {unwilling} has share: false. Take that out, or {_lower(way)}"
        every = (*users, request)
        if fits([each.utilization for each in every]):
            return None
        parts = " + ".join(f"{each.utilization:g}" for each in every)
        names = listed_names([each.name for each in every])
        return (
            f"services {names} {'both' if len(every) == 2 else 'all'} want card {card} and take {parts}"
            f" of its memory together (gpu_memory_utilization), of which {SHARED_AT_MOST:g} can be"
            f" shared. {way}"
        )

    def shared(self) -> str:
        """The cards that services share, with their parts, for a message; empty if there are none."""
        texts = []
        for cards, users in sorted(self._users.items()):
            if any(each.share for each in users):
                parts = ", ".join(f"{each.name} {each.utilization:g}" for each in users)
                texts.append(f"{listed(cards)} ({parts})")
        return "; ".join(texts)


def listed_names(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
