# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Cards that change from one service to another: an order of writes that never shows two owners of one.

A host may go down between any two writes, and then starts what its files say. So a service that
gives a card to another has no cards in its files before the other one's are written:

1. those that give cards stop, and their placement becomes `without_cards`;
2. after that all placements are written, in any order.

Services that share cards (`SHARE` in their files) are no owners to each other, so none of them stops
for another one.

In the first step cards only get free. In the second one a service gets cards that its former owner
either never had, or has no more; all new placements together have no card twice.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

from .._base.files import mark
from .._base.systemctl import unit_variables
from . import cards

# In the placement of a service that may have its cards together with others that have it too.
SHARE = "INFEROPS_SHARE"
_NONE: frozenset[int] = frozenset()


def placed(text: str | None) -> frozenset[int]:
    """The cards (logic ids) that a drop-in gives its service."""
    return frozenset(cards.visible(unit_variables(text or "", [cards.VISIBLE])) or ())


def shares(text: str | None) -> bool:
    """Whether a drop-in says that its service may have its cards together with others."""
    return unit_variables(text or "", [SHARE]) == {SHARE: "1"}


def without_cards(unit: str, path: str) -> str:
    """The drop-in `path` of a unit while its cards change: it does not start as long as this is there."""
    return (
        f"{mark(unit)}# Another service gets cards of this one. A run was ended before it wrote the new cards of this\n"
        f"# one, and the next run does that. Until then it does not start.\n"
        f"[Unit]\nAssertPathExists=!{path}\n"
    )


class Placements(NamedTuple):
    """Cards by service: in the files of the host, in those that are written now, and of running processes.

    A process may have been started from other files than those that are there. shared: services that
    share their cards, in the files of the host and by their processes; to_share: in those files that
    are written now.
    """

    before: dict[str, frozenset[int]]
    after: dict[str, frozenset[int]]
    in_use: dict[str, frozenset[int]]
    shared: frozenset[str] = frozenset()
    to_share: frozenset[str] = frozenset()

    def takes(self, name: str) -> frozenset[int]:
        """The cards that a service gets and did not have."""
        return self.after.get(name, _NONE) - self.before.get(name, _NONE)

    def givers(self) -> list[str]:
        """The services of which another one gets a card, by name."""
        return sorted(
            name
            for name in {*self.before, *self.in_use}
            if any(
                self._has(name) & self.takes(other) and not self._together(name, other)
                for other in self.after
                if other != name
            )
        )

    def blocked(self, unwritten: Iterable[str], running: Iterable[str]) -> dict[str, str]:
        """Services whose files cannot be written yet, each with the service that has their cards.

        unwritten: services whose files stay as they are. running: those whose processes go on. What
        is blocked keeps its files, so others that would get cards of it are blocked as well.
        """
        found: dict[str, str] = {}
        held = {name: self.in_use.get(name, _NONE) for name in running}
        unwritten = list(unwritten)
        stays = unwritten
        while True:
            for name in stays:
                held[name] = held.get(name, _NONE) | self.before.get(name, _NONE)
            new = {
                name: other
                for name in self.after
                if name not in found and name not in unwritten
                for other in sorted(held)
                if other != name and self.takes(name) & held[other]
                if not self._together(other, name)
            }
            if not new:
                return found
            found.update(new)
            stays = list(new)

    def _together(self, owner: str, other: str) -> bool:
        """Whether a service that gets cards may have them together with the one that has them."""
        return owner in self.shared and other in self.to_share

    def _has(self, name: str) -> frozenset[int]:
        return self.before.get(name, _NONE) | self.in_use.get(name, _NONE)
