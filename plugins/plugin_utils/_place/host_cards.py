# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cards of a host, and those among them that may be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from .._base.errors import AscendError
from .._base.values import kind_of, shown, whole_number
from .._base.words import listed
from .blocks import power_of_two

# Of a host: the largest have 16, and a number in error is not to fill the memory.
MOST_CARDS = 1024
_NONE: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class HostCards:
    """The cards of a host by logic id.

    devices: physical ids; N of /dev/davinciN. excluded: cards not to use, sorted; those that the
    host does not show are ignored, for a dead card may be gone. unavailable: reasons of cards that
    cannot be used now, which need not be among `devices`. unit: cards per board, a power of two.
    position: where a card is, counted in complete boards, if that is not its id.
    """

    devices: Mapping[int, int]
    excluded: tuple[int, ...] = ()
    unavailable: Mapping[int, str] = field(default_factory=dict)
    unit: int = 1
    position: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def parse(
        cls,
        cards: object,
        excluded: object = (),
        unavailable: object = _NONE,
        unit: object = 1,
    ) -> HostCards:
        """Read what a user or a module reports.

        cards: a count (logic id = physical id), a list of logic ids, or a list of {logic_id, phy_id,
        npu_id?}; where no card has a `phy_id` it is taken to be the logic id, where only some have
        one the list is rejected. unavailable: {logic id: why}, such as `health Alarm`.

        Raises AscendError.
        """
        number = whole_number(unit)
        if number is None or not 1 <= number <= 64:
            raise AscendError(f"block_unit is {unit!r}; a number of 1 to 64 is needed.")
        if not power_of_two(number):
            raise AscendError(
                f"block_unit is {number}; a power of two is needed (2 on an A3 host)."
            )
        devices = host_devices(cards)
        return cls(
            devices,
            tuple(sorted(set(card_ids(excluded, "excluded cards")))),
            _reasons(unavailable),
            number,
            _positions(cards, devices, number),
        )

    @cached_property
    def usable(self) -> list[int]:
        """Cards that may be used, ascending."""
        gone = {*self.excluded, *self.unavailable}
        return [card for card in sorted(self.devices) if card not in gone]

    @cached_property
    def all(self) -> list[int]:
        """All cards. One that is unavailable counts, also where its ids are not known."""
        return sorted({*self.devices, *self.unavailable})

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
    _check_length(value, what)
    result = []
    for item in value:
        card = whole_number(item)
        if card is None or not 0 <= card < MOST_CARDS:
            raise AscendError(
                f"{what}: {shown(item)} is not a card id. Cards are integers from 0 to"
                f" {MOST_CARDS - 1}, as ASCEND_RT_VISIBLE_DEVICES counts them."
            )
        result.append(card)
    return result


def _check_length(value: Sequence[object], what: str) -> None:
    if len(value) > MOST_CARDS:
        raise AscendError(f"{what}: a list of {len(value)} is read up to {MOST_CARDS} cards.")


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
        if not 0 <= count <= MOST_CARDS:
            raise AscendError(
                f"a host cannot have {shown(count)} cards; at most {MOST_CARDS} are read."
            )
        return {card: card for card in range(count)}
    if not isinstance(value, (list, tuple)):
        raise AscendError(
            "the host's cards: a count, a list of card ids or the cards of npu_info are needed,"
            f" not {kind_of(value)}."
        )
    _check_length(value, "the host's cards")
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


def _boards(cards: object) -> dict[int, int]:
    """NPU id by logic id, of the cards that have both."""
    found = {}
    for row in cards if isinstance(cards, (list, tuple)) else ():
        if isinstance(row, Mapping):
            logic, npu = whole_number(row.get("logic_id")), whole_number(row.get("npu_id"))
            if logic is not None and npu is not None:
                found[logic] = npu
    return found


def _positions(cards: object, devices: Mapping[int, int], unit: int) -> dict[int, int]:
    """Where each card is, counted in complete boards of `unit` cards; empty where that is its id.

    Logic ids close up when a device is gone, so a pair of ids may then be on two boards. The NPU
    ids tell the boards.
    """
    boards = _boards(cards)
    if unit < 2 or set(boards) != set(devices):
        return {}
    members: dict[int, list[int]] = {}
    for card in sorted(boards):
        members.setdefault(boards[card], []).append(card)
    in_step = all(len({card // unit for card in group}) == 1 for group in members.values())
    if len({card // unit for card in boards}) == len(members) and in_step:
        return {}  # ids and boards agree
    if any(len(group) > unit for group in members.values()):
        return {}  # the NPU id is not a board here
    return {
        card: rank * unit + place_on_board
        for rank, npu in enumerate(sorted(members))
        for place_on_board, card in enumerate(members[npu])
    }
