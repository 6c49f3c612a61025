# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Specs and a host's cards to placed services: which cards, which ports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import INSTANCE_NAME
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import (
    kind_of,
    whole_number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import listed

STATES = ("started", "stopped", "absent")

# CANN 8.5, "HCCL_IF_BASE_PORT": https://www.hiascend.com/document/detail/en/canncommercial/850/
# maintenref/envvar/envref_07_0074.html : an integer of 1024 to 65520; HCCL takes 32 ports from it
# on. CANN 8.0 (.../canncommercial/800/apiref/envvar/envref_07_0074.html) speaks of 16 ports.
HCCL_BASE_MIN, HCCL_BASE_MAX, HCCL_COUNT_MIN = 1024, 65520, 16
PORT_MAX = 65535
PORT_MIN = 1024  # below, only root may listen, and the services do not run as root


def slug(text: str) -> str:
    """A model's name as a service's name: `Qwen2-VL-7B` -> `qwen2-vl-7b`.

    Lower-case; every run of characters other than a-z, 0-9, `.` and `_` becomes one `-`. Empty
    where nothing is left.
    """
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")


def service_name(spec: Mapping[str, Any]) -> str:
    """The name of a spec's service, valid as a systemd instance and as a file's name.

    The lookup puts the model's name where the user gave none; that is made a slug. A name that
    the user gave is kept as it is. Raises AscendError, with a name that would do.
    """
    name, model = spec.get("name"), spec.get("model")
    if name is None:
        raise AscendError(
            "a service has no name. Pass what the lookup inferops.ascend.model returns."
        )
    if not isinstance(name, str):
        raise AscendError(
            f'service name {name!r} is {kind_of(name)}: put it between quotes, name: "{name}".'
        )
    made = slug(name) if name == model else "".join([name])
    if INSTANCE_NAME.fullmatch(made):
        return made
    advice = slug(name)[:63].strip("-._")
    reason = (
        f"it has {len(made)} characters, at most 63 fit"
        if INSTANCE_NAME.fullmatch(made[:63])
        else "it takes letters and digits of ASCII, and `.`, `_`, `-` after the first character"
    )
    raise AscendError(
        f"service name {made or name!r} cannot name a systemd unit: {reason}. "
        + (f"Write name: {advice}" if advice else "Give the service another `name`.")
    )


class _Host:
    """The cards of a host: physical id by logic id."""

    def __init__(self, cards: object, excluded: object, unavailable: object) -> None:
        self.devices = host_devices(cards)
        self.excluded = sorted(set(card_ids(excluded, "excluded cards")))
        self.unavailable = _reasons(unavailable)
        gone = {*self.excluded, *self.unavailable}
        self.usable = [card for card in sorted(self.devices) if card not in gone]
        self.position = {card: card for card in self.devices}
        # A card that may not be used counts as the host's, also where its ids are not known.
        self.all = sorted({*self.devices, *self.unavailable})

    def lay_out(self, cards: object, unit: int) -> None:
        """Count in whole boards of `unit` cards, where NPU ids tell the boards.

        Logic ids close up when a device is gone, so a pair of ids may then lie on two boards.
        """
        boards = _boards(cards)
        if unit < 2 or set(boards) != set(self.devices):
            return
        members: dict[int, list[int]] = {}
        for card in sorted(boards):
            members.setdefault(boards[card], []).append(card)
        in_step = all(len({card // unit for card in group}) == 1 for group in members.values())
        if len({card // unit for card in boards}) == len(members) and in_step:
            return  # ids and boards agree
        if any(len(group) > unit for group in members.values()):
            return  # the NPU id is no board here
        for rank, npu in enumerate(sorted(members)):
            for place_on_board, card in enumerate(members[npu]):
                self.position[card] = rank * unit + place_on_board

    def describe(self) -> str:
        text = f"the host has the cards {listed(self.all)}"
        gone = [card for card in self.excluded if card in self.all]
        text += f", of which {listed(gone)} are excluded" if gone else ""
        return text + (f"; not available: {self.reasons()}" if self.unavailable else "")

    def reasons(self) -> str:
        return "; ".join(f"card {card}, {reason}" for card, reason in self.unavailable.items())


def card_ids(value: object, what: str) -> list[int]:
    """A list of card ids; `what` names it in errors. Raises AscendError."""
    if not isinstance(value, (list, tuple)):
        raise AscendError(f"{what}: a list of card ids is needed, not {kind_of(value)}.")
    result = []
    for item in value:
        card = whole_number(item)
        if card is None or card < 0:
            raise AscendError(
                f"{what}: {item!r} is not a card id. Cards are whole numbers from 0, as"
                " ASCEND_RT_VISIBLE_DEVICES counts them."
            )
        result.append(card)
    return result


@dataclass(frozen=True)
class _Standing:
    """Where a service stands on the host now."""

    cards: list[int]
    port: int | None
    runs: bool = False


def _standing(value: object) -> dict[str, _Standing]:
    if not isinstance(value, Mapping):
        raise AscendError(
            f"standing services: a mapping of names to cards and ports is needed, not"
            f" {kind_of(value)}."
        )
    standing = {}
    for name, place_now in value.items():
        if not isinstance(place_now, Mapping):
            raise AscendError(
                f"standing service {name}: a mapping with cards and port is needed, not"
                f" {kind_of(place_now)}."
            )
        cards = sorted(card_ids(place_now.get("cards") or [], f"standing {name}"))
        standing[str(name)] = _Standing(
            cards, whole_number(place_now.get("port")), bool(place_now.get("runs"))
        )
    return standing


def _reasons(value: object) -> dict[int, str]:
    """Reasons by logic id, ascending; keys may be texts, as JSON makes them."""
    if not isinstance(value, Mapping):
        raise AscendError(
            f"unavailable cards: a mapping of card ids to reasons is needed, not {kind_of(value)}."
        )
    ids = card_ids(list(value), "unavailable cards")
    reasons = dict(zip(ids, value.values(), strict=True))
    return {card: str(reasons[card]) for card in sorted(reasons)}


def host_devices(value: object) -> dict[int, int]:
    """Physical id by logic id of a card count, a list of logic ids, or npu_info's cards.

    Raises AscendError for what is none of them, or names a card twice.
    """
    count = whole_number(value)
    if count is not None:
        if count < 0:
            raise AscendError(f"a host cannot have {count} cards.")
        return {card: card for card in range(count)}
    if not isinstance(value, (list, tuple)):
        raise AscendError(
            "the host's cards: a count, a list of card ids or the cards of npu_info are needed,"
            f" not {kind_of(value)}."
        )
    rows = list(value)
    if not any(isinstance(row, Mapping) for row in rows):
        ids = card_ids(rows, "the host's cards")
        twice = sorted({card for card in ids if ids.count(card) > 1})
        if twice:
            raise AscendError(f"the host's cards: {listed(twice)} listed twice.")
        return {card: card for card in ids}
    result: dict[int, int] = {}
    with_phy = [row for row in rows if isinstance(row, Mapping) and row.get("phy_id") is not None]
    for row in rows:
        if not isinstance(row, Mapping):
            raise AscendError("the host's cards: card ids and mappings are mixed in one list.")
        label = f"NPU {row['npu_id']}" if row.get("npu_id") is not None else f"card {dict(row)}"
        logic = whole_number(row.get("logic_id"))
        if logic is None or logic < 0:
            raise AscendError(
                f"the host's cards: {label} has no logic id (logic_id: {row.get('logic_id')!r}),"
                " so nothing can be placed on it. See `npu-smi info -m`; leave the card out, or"
                " give the number of cards instead."
            )
        # One id guessed among known ones could name another card's device node.
        if not with_phy:
            phy: int | None = logic
        else:
            phy = whole_number(row.get("phy_id"))
        if phy is None or phy < 0:
            raise AscendError(
                f"the host's cards: {label} (logic id {logic}) has no physical id while others"
                " have one, so its /dev/davinciN is unknown. See `npu-smi info -m`."
            )
        if logic in result:
            raise AscendError(f"the host's cards: the logic id {logic} is listed twice.")
        if phy in result.values():
            raise AscendError(f"the host's cards: the physical id {phy} is listed twice.")
        result[logic] = phy
    return result


def _spans(name: str, cluster: object) -> AscendError:
    hosts = cluster.get("hosts") if isinstance(cluster, Mapping) else None
    over = f" ({', '.join(map(str, hosts))})" if isinstance(hosts, (list, tuple)) and hosts else ""
    return AscendError(
        f"service {name} spans several hosts{over}. This version plans such a service and cannot"
        " start it; the role vllm_cluster, in a later version, will. To deploy the others now, take"
        f" {name} out of vllm_plan_services and plan again, or serve a smaller model, or serve it"
        " from a host with more cards."
    )


class _Wish:
    """One spec while it is being placed."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        self.name = service_name(spec)
        self.state = spec.get("state", "started")
        if self.state not in STATES:
            raise AscendError(
                f"service {self.name}: state {self.state!r} is unknown, write one of "
                f"{', '.join(STATES)}."
            )
        self.cards: list[int] = []
        self.pinned = False
        self.count = 0
        self.port: int | None = None
        if self.state == "absent":
            return
        if spec.get("cluster") is not None:
            raise _spans(self.name, spec["cluster"])
        self._read_cards()
        if spec.get("port") is not None:
            self.port = self._read_port(spec["port"])

    def _read_cards(self) -> None:
        cards, pinned = self.spec.get("cards"), self.spec.get("pinned_cards")
        if isinstance(cards, (list, tuple)):  # placed before, or as a request writes it
            cards, pinned = len(cards), cards
        if cards is None:
            raise AscendError(
                f"service {self.name} does not say how many cards it takes. Pass what the lookup"
                " inferops.ascend.model returns."
            )
        count = whole_number(cards)
        if count is None or count < 1:
            raise AscendError(
                f"service {self.name}: cards is {cards!r}; a number of cards from 1, or a list of"
                " card ids, is needed."
            )
        self.count = count
        if pinned is None:
            return
        self.pinned = True
        self.cards = sorted(card_ids(pinned, f"service {self.name}, cards"))
        twice = sorted({card for card in self.cards if self.cards.count(card) > 1})
        if twice:
            raise AscendError(f"service {self.name} names card {listed(twice)} twice.")
        if len(self.cards) != count:
            raise AscendError(
                f"service {self.name} takes {count} cards and names {len(self.cards)}:"
                f" {listed(self.cards)}. Name {count}, or leave the list out."
            )

    def _read_port(self, value: object) -> int:
        port = whole_number(value)
        if port is None or not 1 <= port <= PORT_MAX:
            raise AscendError(
                f"service {self.name}: port {value!r} is not a port number of 1 to {PORT_MAX}."
            )
        if port < PORT_MIN:
            raise AscendError(
                f"service {self.name}: port {port} is below {PORT_MIN} and only root may listen"
                " there; the service is not root. Take a higher port and a proxy before it."
            )
        return port


def _span(value: object, what: str) -> tuple[int, int] | None:
    if value is None or value == [] or value == ():
        return None
    ends = [whole_number(item) for item in value] if isinstance(value, (list, tuple)) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        raise AscendError(f"{what} is {value!r}; write [first, last] or [].")
    return ends[0], ends[1]


def _option(value: object, what: str, low: int, high: int) -> int:
    number = whole_number(value)
    if number is None or not low <= number <= high:
        raise AscendError(f"{what} is {value!r}; a number of {low} to {high} is needed.")
    return number


def _boards(cards: object) -> dict[int, int]:
    """NPU id by logic id, of the cards that have both."""
    found = {}
    for row in cards if isinstance(cards, (list, tuple)) else ():
        if isinstance(row, Mapping):
            logic, npu = whole_number(row.get("logic_id")), whole_number(row.get("npu_id"))
            if logic is not None and npu is not None:
                found[logic] = npu
    return found


def block_starts(
    cards: Iterable[int],
    count: int,
    unit: int,
    position: Mapping[int, int] = MappingProxyType({}),
    *,
    align: bool = True,
) -> list[int]:
    """First ids of the blocks of `count` consecutive cards that lie wholly in `cards`.

    A block of 2^n cards starts at a multiple of its size; one of at least `unit` cards (a power of
    two) at a multiple of that.

    position: where a card lies, counted in whole boards, if that is not its id. A block of `unit`
    or more is consecutive in that too.
    """
    free = set(cards)
    steps = []
    if align and count & (count - 1) == 0:
        steps.append(count)
    if align and count >= unit:
        steps.append(unit)
    return [
        first
        for first in sorted(free)
        if all(position.get(first, first) % step == 0 for step in steps)
        and all(card in free for card in range(first, first + count))
        and (
            not steps
            or count == 1
            or all(
                position.get(first + n, first + n) == position.get(first, first) + n
                for n in range(count)
            )
        )
    ]


def _largest(cards: list[int], count: int, unit: int, position: Mapping[int, int]) -> str:
    """How much room there is in `cards`, for a service that did not get `count` of them."""
    run = max(
        (n for n in range(1, len(cards) + 1) if block_starts(cards, n, 1, align=False)), default=0
    )
    text = f"the longest run among them has {run}"
    if count > 1 and count & (count - 1) == 0:
        aligned = max(
            (n for n in (1, 2, 4, 8, 16, 32) if block_starts(cards, n, unit, position)), default=0
        )
        text += f", the largest aligned block {aligned}"
    return text


def place(
    specs: object,
    cards: object,
    *,
    excluded: object = (),
    unavailable: object = MappingProxyType({}),
    standing: object = MappingProxyType({}),
    port_base: object = 8000,
    hccl_port_base: object = 61000,
    hccl_port_count: object = 32,
    ephemeral_ports: object = (32768, 60999),
    block_unit: object = 1,
) -> list[dict[str, Any]]:
    """Specs of one host to placed services, in the order given.

    `specs`: what the lookup returns, each with `name`, `cards` (a count), optionally
    `pinned_cards`, `port`, `state`; one with `cluster`, which spans hosts, is refused unless it is
    `absent`. `cards`: the host's, as a count (logic id = physical id), a
    list of logic ids, or a list of {logic_id, phy_id, npu_id?}; where no card has a `phy_id` it
    is taken to be the logic id, where only some have one the list is refused. `excluded`: logic
    ids not to use; ids the host does not show are passed over, for a dead card may be gone.
    `unavailable`: {logic id: why}, cards that cannot be used now, such as `health Alarm`; they need
    not be among `cards`. `standing`: {name: {cards: [logic ids], port: N, runs: bool}} of
    services as they are on the host now; `runs` where its process is on these cards.
    `ephemeral_ports`: [first, last] of net.ipv4.ip_local_port_range (the kernel's default is
    32768 to 60999), or [] for none.

    A result is the spec with `name` (slug), `cards` (logic ids, ascending), `devices`
    (`/dev/davinciN` by physical id), `port`, and `hccl_ports` [first, last]. A service that is
    `stopped` keeps all of them; an `absent` one has no cards, devices or ports.

    Pinned cards and explicit ports are taken first and honoured as they are. The others take, in
    list order, the first free block and the first free port. A block is consecutive; one of 2^n
    cards starts at a multiple of its size, and one of at least `block_unit` cards at a multiple of
    that (2 where cards come as pairs of dies). Where `npu_id` is known and logic ids have closed up
    over a missing die, what counts is the place on the boards. So an appended service moves none before it,
    unless it asks by number for what an earlier one got without asking: then the number wins.

    A service that stands on the host keeps its cards and its port if it names none, its number
    fits and they may be used: that something before it has gone is no reason to restart it. One that
    `runs` there keeps its cards also where they are unavailable, pinned or not, for it serves;
    nobody else gets them. Only where the wishes do not fit in otherwise, all get their cards anew.

    HCCL's range follows from the first card, so ranges are disjoint because cards are, and stay
    when other services go. Automatic ports keep clear of the ranges of all the host's cards, taken
    or not.

    Raises AscendError that names both sides of a conflict and the way out. Nothing is mutated.
    """
    host = _Host(cards, excluded, unavailable)
    unit = _option(block_unit, "block_unit", 1, 64)
    if unit & (unit - 1):
        raise AscendError(f"block_unit is {unit}; a power of two is needed (2 on an A3 host).")
    host.lay_out(cards, unit)
    first_port = _option(port_base, "port_base", PORT_MIN, PORT_MAX)
    hccl_base = _option(hccl_port_base, "hccl_port_base", HCCL_BASE_MIN, HCCL_BASE_MAX)
    hccl_count = _option(hccl_port_count, "hccl_port_count", HCCL_COUNT_MIN, 4096)
    ephemeral = _span(ephemeral_ports, "ephemeral_ports")
    if not isinstance(specs, (list, tuple)):
        raise AscendError(f"a list of services is needed, not {kind_of(specs)}.")
    wishes = []
    for number, spec in enumerate(specs, 1):
        if not isinstance(spec, Mapping):
            raise AscendError(f"service {number} of the list is {kind_of(spec)}, not a mapping.")
        wishes.append(_Wish(spec))
    _check_names(wishes)
    present = [wish for wish in wishes if wish.state != "absent"]
    kept = _standing(standing)
    try:
        _take_cards(present, host, unit, kept)
    except AscendError:
        if not kept:
            raise
        _take_cards(present, host, unit, kept, sticky=False)
    ranges = {wish.name: _hccl_range(wish, hccl_base, hccl_count, ephemeral) for wish in present}
    kept_clear = [
        (hccl_base + card * hccl_count, hccl_base + (card + 1) * hccl_count - 1)
        for card in host.devices
    ]
    _take_ports(present, first_port, ranges, kept_clear, kept)
    result = []
    for wish in wishes:
        placed = {key: value for key, value in wish.spec.items() if key != "hccl_ports"}
        placed["name"] = wish.name
        placed["cards"] = list(wish.cards)
        placed["devices"] = [f"/dev/davinci{host.devices[card]}" for card in wish.cards]
        if wish.state == "absent":
            placed.pop("port", None)
        else:
            placed["port"] = wish.port
            placed["hccl_ports"] = list(ranges[wish.name])
        result.append(placed)
    return result


def _check_names(wishes: list[_Wish]) -> None:
    seen: dict[str, int] = {}
    for number, wish in enumerate(wishes, 1):
        if wish.name in seen:
            raise AscendError(
                f"services {seen[wish.name]} and {number} of the list are both named"
                f" {wish.name}. Give one of them another `name`."
            )
        seen[wish.name] = number


def _take_cards(
    wishes: list[_Wish],
    host: _Host,
    unit: int,
    standing: Mapping[str, _Standing],
    *,
    sticky: bool = True,
) -> None:
    owner: dict[int, str] = {}
    total = len(host.all)

    def serving(wish: _Wish) -> list[int]:
        """Cards that it is on, whatever keeps others from them."""
        stands = standing.get(wish.name)
        return [card for card in stands.cards if stands.runs] if stands else []

    for wish in wishes:
        for card in wish.cards if wish.pinned else []:
            if card in host.unavailable and card not in serving(wish):
                raise AscendError(
                    f"service {wish.name} wants card {card}, which is not available:"
                    f" {host.unavailable[card]}. Name another card, give a number of cards instead,"
                    f" or see to card {card} first."
                )
            if card not in host.devices:
                raise AscendError(
                    f"service {wish.name} wants card {card}, which this host lacks:"
                    f" {host.describe()}."
                )
            if card in host.excluded:
                raise AscendError(
                    f"service {wish.name} wants card {card}, which is excluded on this host:"
                    f" {host.describe()}. Name another card, or take {card} off the excluded ones."
                )
            if card in owner:
                raise AscendError(
                    f"services {owner[card]} and {wish.name} both want card {card}. Name another"
                    " card for one of them, or give one of them a number of cards instead."
                )
            owner[card] = wish.name
    kept = set()
    for wish in wishes:
        # Its card is of no use to others, so moving it would gain nothing.
        stays = sticky or not host.unavailable.keys().isdisjoint(serving(wish))
        stands = standing.get(wish.name) if stays and not wish.pinned else None
        cards = stands.cards if stands else []
        mine = set(host.devices).intersection(serving(wish)).difference(host.excluded)
        if len(cards) == wish.count and set(cards) <= {*host.usable, *mine} - set(owner):
            wish.cards = cards
            kept.add(wish.name)
            owner.update(dict.fromkeys(cards, wish.name))
    for wish in wishes:
        if wish.pinned or wish.name in kept:
            continue
        free = [card for card in host.usable if card not in owner]
        starts = block_starts(free, wish.count, unit, host.position)
        if not starts:
            raise _no_room(wish, host, owner, free, unit, total)
        wish.cards = list(range(starts[0], starts[0] + wish.count))
        for card in wish.cards:
            owner[card] = wish.name


def _no_room(
    wish: _Wish, host: _Host, owner: dict[int, str], free: list[int], unit: int, total: int
) -> AscendError:
    need = f"service {wish.name} needs {wish.count} card{'s' if wish.count > 1 else ''}"
    if wish.count > total:
        return AscendError(
            f"{need}, and this host has {total}: it cannot carry the service. Serve it from a"
            " larger host, over several hosts, or choose a smaller model."
        )
    if not block_starts(host.usable, wish.count, unit, host.position):
        return AscendError(
            f"{need} in one block{block_shape(wish.count, unit)}, and this host cannot give that even"
            f" when empty: {host.describe()}. Name the cards (`cards: [..]`), give back excluded"
            " cards, or serve it from another host."
        )
    held: dict[str, list[int]] = {}
    for card, name in owner.items():
        held.setdefault(name, []).append(card)
    holders = "; ".join(f"{name}: {listed(taken)}" for name, taken in held.items())
    gone = [card for card in host.excluded if card in host.devices]
    return AscendError(
        f"{need} in one block{block_shape(wish.count, unit)}. Free cards: {listed(free)};"
        f" {_largest(free, wish.count, unit, host.position)}. Held by {holders}"
        + (f"; excluded: {listed(gone)}" if gone else "")
        + (f"; not available: {host.reasons()}" if host.unavailable else "")
        + ". Remove or shrink one of these, put the larger services first, name the cards"
        " (`cards: [..]`), or move a service to another host."
    )


def block_shape(count: int, unit: int) -> str:
    """What a block of `count` cards must be, as words after "block"."""
    if count > 1 and count & (count - 1) == 0:
        return f" that starts at a multiple of {max(count, unit)}"
    if unit > 1 and count >= unit:
        return f" that starts at a multiple of {unit}"
    return " of consecutive ids" if count > 1 else ""


def _hccl_range(
    wish: _Wish, base: int, count: int, ephemeral: tuple[int, int] | None
) -> tuple[int, int]:
    first = base + wish.cards[0] * count
    last = first + count - 1
    label = f"service {wish.name}: the HCCL ports {first}-{last} of card {wish.cards[0]}"
    if last > PORT_MAX or first > HCCL_BASE_MAX:
        raise AscendError(
            f"{label} go beyond what HCCL takes (a base of at most {HCCL_BASE_MAX}, ports up to"
            f" {PORT_MAX}). Lower the base of the HCCL ports, now {base}."
        )
    if ephemeral and first <= ephemeral[1] and last >= ephemeral[0]:
        raise AscendError(
            f"{label} lie in the kernel's ephemeral range {ephemeral[0]}-{ephemeral[1]}, where any"
            f" outgoing connection may take them. Move the base of the HCCL ports, now {base}, or"
            " narrow net.ipv4.ip_local_port_range."
        )
    return first, last


def _take_ports(
    wishes: list[_Wish],
    base: int,
    ranges: dict[str, tuple[int, int]],
    kept_clear: list[tuple[int, int]],
    standing: Mapping[str, _Standing],
) -> None:
    owner: dict[int, str] = {}
    for wish in wishes:
        if wish.port is None:
            continue
        if wish.port in owner:
            raise AscendError(
                f"services {owner[wish.port]} and {wish.name} both want port {wish.port}. Give one"
                " of them another port, or leave it out."
            )
        for name, (first, last) in ranges.items():
            if first <= wish.port <= last:
                whose = "its own" if name == wish.name else f"service {name}'s"
                raise AscendError(
                    f"service {wish.name}: port {wish.port} lies in {whose} HCCL ports"
                    f" {first}-{last}. Take another port, or move the base of the HCCL ports."
                )
        owner[wish.port] = wish.name

    def in_the_way(port: int) -> bool:
        return port in owner or any(first <= port <= last for first, last in kept_clear)

    for wish in wishes:
        now = standing[wish.name].port if wish.name in standing else None
        if wish.port is not None or now is None or not base <= now <= PORT_MAX:
            continue
        if not in_the_way(now):
            wish.port = now
            owner[now] = wish.name
    port = base
    for wish in wishes:
        if wish.port is not None:
            continue
        while in_the_way(port):
            port += 1
        if port > PORT_MAX:
            raise AscendError(
                f"service {wish.name}: no port is free from {base} to {PORT_MAX}. Lower the base of"
                " the ports, or give the service a port."
            )
        wish.port = port
        owner[port] = wish.name
