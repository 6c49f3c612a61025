# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Specs and a host's cards to placed services: which cards, which ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from types import MappingProxyType

from .._base.errors import AscendError
from .._base.words import listed
from .blocks import block_shape, block_starts, largest_blocks
from .host_cards import HostCards
from .kv_transfer import check_pairs
from .ports import PortSettings, TakenPorts, assign_ports, check_disjoint, mooncake_ports
from .service import ExistingPlacement, Placement, ServiceRequest
from .taken import TakenCards

_NOTHING: Mapping[str, ExistingPlacement] = MappingProxyType({})


def place(
    requests: Sequence[ServiceRequest],
    host: HostCards,
    ports: PortSettings,
    existing: Mapping[str, ExistingPlacement] = _NOTHING,
) -> list[Placement]:
    """Cards and ports of the services of one host, in the order given.

    A service that is `stopped` keeps cards and ports; an `absent` one has none.

    Pinned cards and explicit ports are taken first and honored as they are. The others take, in
    list order, the first free block and the first free port. A block is consecutive; one of 2^n
    cards starts at a multiple of its size, and one of at least a board at a multiple of that (2
    where cards come as pairs of dies). Where `npu_id` is known and logic ids have closed up over a
    missing die, what counts is the position on the boards. So an appended service moves none before
    it, unless it asks by number for what an earlier one got without asking: then the number wins.

    A service that is on the host keeps its cards and its port if it names none, its number fits and
    they may be used: that something before it has gone is no reason to restart it. One that runs
    keeps its cards also where they are unavailable, pinned or not, for it serves; nobody else gets
    them. Only where the requests do not fit otherwise, all get their cards again from the start.

    Services that name the same cards have them together, unless one has `share: false`, as far as
    their parts of the memory add up. With `share: true` and a number of cards, a service takes the
    first cards that others with it have and that have room for it, and else cards of its own.

    Raises AscendError that names both sides of a conflict and the way out.
    """
    _check_names(requests)
    present = [request for request in requests if request.state != "absent"]
    try:
        cards = _assign_cards(present, host, existing)
    except AscendError:
        if not existing:
            raise
        cards = _assign_cards(present, host, existing, keep=False)
    turns = _turns(present, cards, ports, existing)
    hccl = {
        each.name: ports.hccl_ports(each.name, cards[each.name][0], turns[each.name])
        for each in present
    }
    kv = _kv_ports(present, cards, ports)
    taken = [*kv.values(), *_chosen_ports(present, host, ports), *hccl.values()]
    check_disjoint(taken)
    check_pairs([each.kv_transfer for each in present if each.kv_transfer])
    api = assign_ports(
        {each.name: each.port for each in present},
        {name: each.port for name, each in existing.items()},
        # Those of cards that no service has yet are left free too.
        [*taken, *(ports.hccl_ports("", card) for card in host.devices)],
        ports,
    )
    return [
        Placement(
            each.name,
            cards[each.name],
            tuple(f"/dev/davinci{host.devices[card]}" for card in cards[each.name]),
            api[each.name],
            hccl[each.name].ends,
            kv[each.name].ends if each.name in kv else None,
        )
        if each.name in api
        else Placement(each.name)
        for each in requests
    ]


def _turns(
    requests: Sequence[ServiceRequest],
    cards: Mapping[str, tuple[int, ...]],
    ports: PortSettings,
    existing: Mapping[str, ExistingPlacement],
) -> dict[str, int]:
    """Each service's number among those on its cards, from 0; those on the host keep theirs."""
    turns: dict[str, int] = {}
    taken: set[tuple[int, int]] = set()
    for each in requests:
        card, now = cards[each.name][0], existing.get(each.name)
        turn = ports.hccl_turn(card, now.hccl_port) if now else None
        if turn is not None and (card, turn) not in taken:
            turns[each.name] = turn
            taken.add((card, turn))
    for each in requests:
        if each.name in turns:
            continue
        card = cards[each.name][0]
        turns[each.name] = next(n for n in count() if (card, n) not in taken)
        taken.add((card, turns[each.name]))
    return turns


def _kv_ports(
    requests: Sequence[ServiceRequest], cards: Mapping[str, tuple[int, ...]], ports: PortSettings
) -> dict[str, TakenPorts]:
    """Of the services that pass their KV cache on."""
    found = {}
    for each in requests:
        transfer = each.kv_transfer
        if transfer is None or not transfer.listens:
            continue
        # Equal on all hosts of a service, whatever cards it has on each.
        card = cards[each.name][0] if each.hosts == 1 else 0
        first = None if transfer.port is None else transfer.port + transfer.first_rank
        ranks = each.count * each.hosts
        found[each.name] = ports.kv_ports(each.name, first, card, ranks)
    return found


def _chosen_ports(
    requests: Sequence[ServiceRequest], host: HostCards, ports: PortSettings
) -> list[TakenPorts]:
    """Where Mooncake, or the leader of a service over several hosts, chooses which it takes."""
    cards = max(host.devices, default=-1) + 1
    found = [
        mooncake_ports(each.name, cards)
        for each in requests
        if each.kv_transfer and each.kv_transfer.uses_mooncake
    ]
    spanning = [each.name for each in requests if each.hosts > 1]
    return [*found, *(ports.group_ports(name, cards) for name in spanning[:1])]


def _check_names(requests: Sequence[ServiceRequest]) -> None:
    seen: dict[str, int] = {}
    for number, request in enumerate(requests, 1):
        if request.name in seen:
            raise AscendError(
                f"services {seen[request.name]} and {number} of the list are both named"
                f" {request.name}. Give one of them another `name`."
            )
        seen[request.name] = number


def _assign_cards(
    requests: Sequence[ServiceRequest],
    host: HostCards,
    existing: Mapping[str, ExistingPlacement],
    *,
    keep: bool = True,
) -> dict[str, tuple[int, ...]]:
    """Cards by service. keep: those that a service has now stay its own."""

    def used_now(name: str) -> tuple[int, ...]:
        """Cards that it runs on, whatever keeps others from them."""
        now = existing.get(name)
        return now.cards if now and now.running else ()

    cards: dict[str, tuple[int, ...]] = {}
    taken = TakenCards()
    for request in requests:
        if request.pinned is not None:
            for card in request.pinned:
                _check_pinned(request.name, card, host, used_now(request.name))
            fault = taken.named_fault(request, request.pinned)
            if fault:
                raise AscendError(fault)
            cards[request.name] = taken.take(request, request.pinned)
    for request in requests:
        now = existing.get(request.name)
        if request.pinned is not None or now is None:
            continue
        running = used_now(request.name)
        # An unavailable card is of no use to others, so moving its service would gain nothing.
        if not keep and host.unavailable.keys().isdisjoint(running):
            continue
        allowed = set(host.devices).intersection(running).difference(host.excluded)
        if (
            len(now.cards) == request.count
            and set(now.cards) <= {*host.usable, *allowed}
            and taken.allow(request, now.cards)
        ):
            cards[request.name] = taken.take(request, now.cards)
    for request in requests:
        if request.name in cards:
            continue
        shared = (each for each in taken.with_room(request) if set(each) <= set(host.usable))
        block = next(shared, None)
        if block is None:
            free = [card for card in host.usable if card not in taken.owner]
            starts = block_starts(free, request.count, host.unit, host.position)
            if not starts:
                raise _no_room(request, host, taken, free)
            block = tuple(range(starts[0], starts[0] + request.count))
        cards[request.name] = taken.take(request, block)
    return cards


def _check_pinned(name: str, card: int, host: HostCards, used_now: Sequence[int]) -> None:
    if card in host.unavailable and card not in used_now:
        raise AscendError(
            f"service {name} wants card {card}, which is not available: {host.unavailable[card]}."
            f" Name another card, give a number of cards instead, or make card {card} available"
            " first."
        )
    if card not in host.devices:
        raise AscendError(
            f"service {name} wants card {card}, which this host does not have: {host.describe()}."
        )
    if card in host.excluded:
        raise AscendError(
            f"service {name} wants card {card}, which is excluded on this host: {host.describe()}."
            f" Name another card, or remove {card} from the excluded ones."
        )


def _no_room(
    request: ServiceRequest, host: HostCards, taken: TakenCards, free: list[int]
) -> AscendError:
    count, unit = request.count, host.unit
    need = f"service {request.name} needs {count} card{'s' if count > 1 else ''}"
    if count > len(host.all):
        return AscendError(
            f"{need}, and this host has {len(host.all)}: it cannot run the service. Serve it from a larger host, over several"
            " hosts, or choose a smaller model."
        )
    if not block_starts(host.usable, count, unit, host.position):
        return AscendError(
            f"{need} in one block{block_shape(count, unit)}, and this host has no such block even"
            f" when empty: {host.describe()}. Name the cards (`cards: [..]`), exclude fewer cards,"
            " or serve it from another host."
        )
    used: dict[str, list[int]] = {}
    for card, name in taken.owner.items():
        used.setdefault(name, []).append(card)
    users = "; ".join(f"{name}: {listed(cards)}" for name, cards in used.items())
    gone = [card for card in host.excluded if card in host.devices]
    return AscendError(
        f"{need} in one block{block_shape(count, unit)}. Free cards: {listed(free)};"
        f" {largest_blocks(free, count, unit, host.position)}. In use by {users}"
        + (f"; shared: {taken.shared()}" if request.share and taken.shared() else "")
        + (f"; excluded: {listed(gone)}" if gone else "")
        + (f"; not available: {host.reasons()}" if host.unavailable else "")
        + ". Remove or shrink one of these, list the larger services first, name the cards"
        " (`cards: [..]`), or move a service to another host."
    )
