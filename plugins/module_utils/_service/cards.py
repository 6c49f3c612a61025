# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the memory of cards is free again after the services on them were stopped.

A process ends before the driver has freed its memory, and an engine that starts meanwhile finds too
little memory and fails.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
# Seconds between two calls; npu-smi itself takes a second or two where there are eight cards.
PAUSE = 1.0
# Seconds that one call of npu-smi may take.
CALL = 30.0


def visible(environ: Mapping[str, str]) -> list[int] | None:
    """ASCEND_RT_VISIBLE_DEVICES as logic ids; None where it is not set or not a list of numbers."""
    text = environ.get(VISIBLE)
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    numbers = all(word.isdecimal() and len(word) < 10 for word in words)
    return [int(word) for word in words] if numbers else None


def _mb_of_processes(card: Mapping[str, Any], staying: Iterable[str]) -> int:
    """MB that processes use, as far as can be told, without those of units that stay.

    npu-smi may list none though memory is in use, as where they run in a container. No idle card
    has half of its memory in use.
    """
    used, total = card["memory_used_mb"], card["memory_total_mb"]
    if not card["processes"] and used and total and used > total / 2:
        return int(used)
    return sum(each["memory_mb"] or 0 for each in _leaving(card, staying))


def _leaving(card: Mapping[str, Any], staying: Iterable[str]) -> list[Mapping[str, Any]]:
    """The processes of a card that are not of units that stay on it."""
    return [each for each in card["processes"] if each.get("unit") not in staying]


class Freed:
    """Waits until cards are free, for a bounded time.

    A card is free when no process is listed on it but those of the units `staying`, which share it, and
    more than half of the memory that the others used before is back: that is more than rounding.
    """

    def __init__(
        self,
        npu_smi: str | None,
        timeout: float,
        cards: Sequence[int],
        read: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
        staying: Iterable[str] = (),
    ) -> None:
        self.staying = frozenset(staying)
        self.timeout = timeout
        self.cards = cards if timeout > 0 else []
        self.earlier: dict[int, Mapping[str, Any]] = {}
        self.read = read or (lambda: _cards(npu_smi))

    def _now(self) -> dict[int, Mapping[str, Any]]:
        found = sorted(self.read(), key=lambda card: card["logic_id"])
        return {card["logic_id"]: card for card in found if card["logic_id"] in self.cards}

    def before(self) -> None:
        """Record what is on the cards before services are stopped."""
        if self.cards:
            self.earlier = self._now()

    def _in_use(self) -> list[str]:
        """What uses each card that is not free."""
        found = []
        for number, card in self._now().items():
            earlier, used = self.earlier.get(number), card["memory_used_mb"]
            leaving = _leaving(card, self.staying)
            freed = _mb_of_processes(earlier, self.staying) if earlier else 0
            if leaving:
                who = ", ".join(
                    f"PID {each['pid']} ({each.get('command') or each.get('name') or '?'})"
                    for each in leaving
                )
                found.append(f"card {number} is in use by {who}")
            elif (
                earlier
                and used is not None
                and earlier["memory_used_mb"] is not None
                and used > earlier["memory_used_mb"] - freed / 2
                # What stays on the card may take more meanwhile, and nothing is to come back.
                and (freed or not card["processes"])
            ):
                found.append(
                    f"card {number} has {used} MB in use though no process is listed on it"
                )
        return found

    def wait(self) -> list[str]:
        """Wait; return a sentence for each card that is still in use when the time is over."""
        end = time.monotonic() + self.timeout
        while self.cards:
            in_use = self._in_use()
            if not in_use:
                break
            if time.monotonic() >= end:
                return [
                    f"{each}, {self.timeout:g} s after the services on it were stopped. What starts "
                    "there may find too little memory. End that process; a reset of the card frees what "
                    "is left of a dead one."
                    for each in in_use
                ]
            time.sleep(PAUSE)
        return []


def _cards(npu_smi: str | None) -> Sequence[Mapping[str, Any]]:
    """Where npu-smi is missing or fails no card is listed, and there is nothing to wait for."""
    # A host compiles what it imports at each run, and few runs stop a service.
    from .._host.npu import npu_facts

    found: Sequence[Mapping[str, Any]] = npu_facts(npu_smi, CALL, Path("/"))["cards"]
    return found
