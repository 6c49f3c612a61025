# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a service of a fleet has no room, in words."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._base.words import counted, listed
from .._place.blocks import block_shape, power_of_two
from .card_sets import cards_of, largest_block, longest_run
from .fleet import Fleet, Unplaced
from .search import Span


@dataclass(frozen=True)
class _Hosts:
    """Hosts by number, and the first of each kind."""

    all: list[int]
    kinds: dict[str, int]


class Reasons:
    """Explains it.

    free: cards free in the end, by host. placed: assignments by service's name. cut: services for
    which not every arrangement was tried. instead: services without room if all is planned again
    from the start; None if that was not tried.
    """

    def __init__(
        self,
        fleet: Fleet,
        free: Sequence[int],
        placed: Mapping[str, int],
        cut: Container[int],
        instead: Sequence[str] | None,
    ) -> None:
        self.fleet, self.free, self.placed = fleet, free, placed
        self.cut, self.instead = cut, instead
        self._found: dict[object, _Hosts] = {}
        self._free_count: dict[int, int] = {}
        self._largest: dict[object, tuple[int, int]] = {}

    def why(self, number: int, on: int | None, *, helps: bool) -> Unplaced:
        """Why a service has no room; `replica` is to be set.

        on: the host, of a service on every host. helps: whether planning all again makes room.
        """
        found = _Explanation(self, number, on)
        reason = found.impossible_reason()
        if not reason:
            reason = found.no_capacity_reason() + self._advice(number, helps)
        name = found.service.name
        return Unplaced(name, 0, found.cards, found.largest()[0], helps, reason)

    def _advice(self, number: int, helps: bool) -> str:
        remedy = " Add a host, exclude fewer cards, or remove or shrink a service."
        if helps and self.instead:
            # Nothing is written unless all has room, so this is no way out.
            this = self.fleet.services[number].name
            others = ["all its replicas" if name == this else name for name in self.instead]
            text = ", ".join(others[:3]) + (" and others" if len(others) > 3 else "")
            return f" A repack would make room for it, but not for {text}.{remedy}"
        if helps:
            return (
                " A repack would make room: plan again with vllm_plan_repack=true, and look at"
                " what it moves."
            )
        return _NO_WAY[self.instead is not None, number in self.cut] + remedy

    def open(self, number: int) -> _Hosts:
        """Candidates of a service that are not closed."""
        group = self.fleet.groups[number]
        if id(group) not in self._found:
            hosts = [host for host in group.hosts if self.fleet.hosts[host].open]
            self._found[id(group)] = self._hosts(hosts)
        return self._found[id(group)]

    def able(self, number: int) -> _Hosts:
        """Those of a kind that can carry it."""
        cards = self.fleet.services[number].cards
        key = (id(self.fleet.groups[number]), tuple(sorted(cards)))
        if key not in self._found:
            hosts = [host for host in self.open(number).all if self.fleet.hosts[host].kind in cards]
            self._found[key] = self._hosts(hosts)
        return self._found[key]

    def _hosts(self, numbers: list[int]) -> _Hosts:
        return _Hosts(numbers, {self.fleet.hosts[host].kind: host for host in reversed(numbers)})

    def free_count(self, span: Span) -> int:
        """How many of these hosts are completely free."""
        if id(span) not in self._free_count:
            full = (self.free[host] == self.fleet.all[host] for host in span.among)
            self._free_count[id(span)] = sum(full)
        return self._free_count[id(span)]

    def largest(self, hosts: list[int], cards: int) -> tuple[int, int]:
        """Cards of the largest free block on these hosts, and on which."""
        aligned = power_of_two(cards)
        key = (id(hosts), aligned) if len(hosts) > 1 else (hosts[0], aligned, "one")
        if key not in self._largest:
            measure = largest_block if aligned else longest_run
            found = max(((measure(self.free[host]), -host) for host in hosts), default=(0, 0))
            self._largest[key] = found[0], -found[1]
        return self._largest[key]


class _Explanation:
    """A service without room, in words. on: the host, of a service on every host."""

    def __init__(self, reasons: Reasons, number: int, on: int | None) -> None:
        self.reasons, self.on = reasons, on
        self.fleet = fleet = reasons.fleet
        self.service, self.group = fleet.services[number], fleet.groups[number]
        self.need = fleet.needs[number]
        self.open = reasons.open(number)
        able = reasons.able(number)
        if on is not None:
            kind = fleet.hosts[on].kind
            able = _Hosts([on], {kind: on}) if kind in self.service.cards else _Hosts([], {})
        self.hosts, kinds = able.all, able.kinds
        counts = sorted((self.service.cards[kind], kind) for kind in kinds)
        self.cards = counts[0][0] if counts else min(self.service.cards.values(), default=0)
        self.name = f"service {self.service.name}"
        shape = block_shape(self.cards, fleet.hosts[kinds[counts[0][1]]].unit) if counts else ""
        if self.service.pinned is not None:
            self.need_text = f"{self.name} asks for the cards {listed(self.service.pinned)}"
        elif len({count for count, _unused in counts}) > 1:
            each = " or ".join(f"{counted(count, 'card')} on {kind}" for count, kind in counts)
            self.need_text = f"{self.name} needs {each}, in one block"
        else:
            block = f" in one block{shape}" if self.cards > 1 else ""
            self.need_text = f"{self.name} needs {counted(self.cards, 'card')}{block}"

    def impossible_reason(self) -> str:
        """Why it can't be placed even if nothing else is; empty if it could."""
        hosts = self.fleet.hosts
        if not self.group.hosts:
            return (
                f"{self.name} has no candidate host: no host lists it, or its `hosts` leaves none of"
                " those that do. Widen `hosts`, or list it for a host."
            )
        if not self.open.all:
            return (
                f"{self.name} has no open host: the services of {self._who(self.group.hosts)} were"
                " written by hand, and nothing is placed beside them. Add it there by hand, or"
                " widen `hosts`."
            )
        if not self.hosts and self.on is not None:
            return (
                f"{self.name} is to be on every candidate and cannot be on {hosts[self.on].name}:"
                f" {self._refused([hosts[self.on].kind])}. Narrow its `hosts`, or give a number of"
                " replicas."
            )
        if not self.hosts:
            return (
                f"{self.name} can run on none of its candidates: {self._refused(self.open.kinds)}."
            )
        if any(host in self.need.singles for host in self.hosts) or self.need.spans:
            if self.on is not None and not self.need.singles.get(self.on):
                return self._impossible_here()
            return self._too_many_replicas()
        return self._impossible_here()

    def _impossible_here(self) -> str:
        service, hosts = self.service, self.fleet.hosts
        kind = hosts[self.hosts[0]].kind
        size = self.group.sizes[kind]
        if service.pinned is None and service.cards[kind] > size and self.on is not None:
            return (
                f"{self.name} needs {counted(service.cards[kind], 'card')} and {hosts[self.on].name} has"
                f" {size}. It is to be on every candidate, so it does not span hosts: give a number"
                " of replicas."
            )
        if service.pinned is None and service.cards[kind] > size:
            complete = len(list(self.fleet.free_hosts(self.group, kind)))
            return (
                f"{self.name} needs {counted(service.cards[kind], 'card')}, which is"
                f" {-(-service.cards[kind] // size)} complete hosts of {size} of one kind;"
                f" {complete} of {self._who(self.hosts)} can be taken completely. No card of such a host may"
                " be excluded, missing or taken by hand. Add hosts of this kind, or serve a smaller"
                f" model.{self._others()}"
            )
        text = f"{self.need_text}, and {self._who(self.hosts)} cannot provide that even when empty"
        shown = "; ".join(map(self._describe, self.hosts[:3]))
        shown += "; and so on" if len(self.hosts) > 3 else ""
        way = (
            "Name other cards, or give a number of cards"
            if service.pinned is not None
            else "Exclude fewer cards, name the cards by number, or widen `hosts`"
        )
        return f"{text}: {shown}. {way}.{self._others()}"

    def _too_many_replicas(self) -> str:
        service = self.service
        if service.replicas is None or self.need.spans or self.fleet.may_double(service):
            return ""
        if service.replicas <= len(self.need.singles):
            return ""
        given = {each.host for each in self.fleet.given if each.assignment.service == service.name}
        possible = len(self.need.singles.keys() | (given & self.group.members))
        if service.replicas <= possible:
            return ""
        rule = "`spread: required`" if service.spread_required else "it"
        return (
            f"{self.name} asks for {service.replicas} replicas and {rule} allows one on a host, of"
            f" which {possible} could carry one. Lower `replicas`, or widen `hosts`"
            + (", or leave `spread` out." if service.spread_required else ".")
            + self._others()
        )

    def no_capacity_reason(self) -> str:
        """What is free instead of what it needs."""
        hosts = self.fleet.hosts
        who = self._who(self.hosts)
        if self.need.spans and not self.need.singles:
            span = self.need.spans[0]
            complete = self.reasons.free_count(span)
            return (
                f"{self.name} needs {counted(span.cards, 'card')}, which is {span.hosts} complete hosts of one"
                f" kind, and {complete} of {who} {'is' if complete == 1 else 'are'} completely free."
                f"{self._others()}"
            )
        if self.service.pinned is not None:
            return f"{self.need_text}, and they are not free on {who}.{self._others()}"
        largest, host = self.largest()
        block = (
            f"the largest free block on {who} has {counted(largest, 'card')} ({hosts[host].name})"
        )
        text = (
            f"{self.need_text}; {block}."
            if largest
            else f"{self.need_text}, and none is free on {who}."
        )
        placed = self.reasons.placed.get(self.service.name, 0)
        if placed and not self.fleet.may_double(self.service) and self.on is None:
            text += f" It is on {placed} of them, and may be on each once."
        return text + self._others()

    def largest(self) -> tuple[int, int]:
        return self.reasons.largest(self.hosts, self.cards) if self.hosts else (0, 0)

    def _others(self) -> str:
        refused = self._refused(self.open.kinds) if self.on is None else ""
        return f" Others of its candidates cannot carry it: {refused}." if refused else ""

    def _refused(self, kinds: Iterable[str]) -> str:
        return "; ".join(
            f"on {kind}, {self.service.refused.get(kind, 'it is not offered').rstrip('. ')}"
            for kind in sorted(set(kinds) - self.service.cards.keys())
        )

    def _who(self, numbers: Sequence[int]) -> str:
        if len(numbers) > 3:
            return f"its {len(numbers)} candidate hosts"
        names = ", ".join(self.fleet.hosts[number].name for number in numbers)
        return f"its candidate host{'s' if len(numbers) > 1 else ''} {names}"

    def _describe(self, number: int) -> str:
        host = self.fleet.hosts[number]
        text = f"{host.name} has the cards {listed(host.cards)}"
        gone = sorted(host.excluded.intersection(host.cards))
        hand = cards_of(self.fleet.usable[number] & ~self.fleet.room[number])
        text += f", excluded {listed(gone)}" if gone else ""
        return text + (f", taken by hand {listed(hand)}" if hand else "")


# By whether all was planned again from the start, and not in every way there is.
_NO_WAY = {
    (True, True): " A repack found no room either, but not every arrangement was tried.",
    (True, False): " A repack would not make room.",
    (False, True): " Not every arrangement was tried; naming `cards` or `hosts` of large services"
    " helps.",
    (False, False): " No other arrangement makes room.",
}
