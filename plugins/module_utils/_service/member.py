# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the guard of a member reports of a service over several hosts (docs/group-protocol.md)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Mapping, NamedTuple, Sequence

_GUARD = "group: "  # before the guard's lines in the journal
_STARTS = re.compile(_GUARD + r"all [0-9]+ members are here, starting$")
_RANK = re.compile(r"\brank ([0-9]+) \(")
_SINCE = re.compile(r" since ([0-9-]+ [0-9:]+ [+-][0-9]+)")


class Membership(NamedTuple):
    """A member's place in its service, and what its guard reports.

    described: {rank, members, port, digest} of NAME.group.json. status: of the guard, or empty.
    """

    described: Mapping[str, Any]
    status: str

    @property
    def leads(self) -> bool:
        return not self.described["rank"]

    @property
    def is_complete(self) -> bool:
        """Whether the engine's processes run on all members."""
        return self.status.startswith("running")

    @property
    def missing(self) -> list[int]:
        """Ranks that it waits for."""
        if not self.status.startswith("waiting"):
            return []
        return [int(rank) for rank in _RANK.findall(self.status.partition(";")[0])]

    @property
    def since(self) -> float | None:
        """When it began to wait or to run, in seconds since 1970; None where it does neither."""
        found = _SINCE.search(self.status.partition(";")[0])
        if found is None:
            return None
        try:
            return datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S %z").timestamp()
        except ValueError:
            return None

    def lines(self, journal: Sequence[str]) -> list[str]:
        """Of the lines of a start of the unit those of the last start of the engine.

        The guard starts the engine again without a start of the unit.
        """
        begins = [number for number, line in enumerate(journal) if _STARTS.match(line)]
        return list(journal[begins[-1] if begins else 0 :])

    def current_lines(self, journal: Sequence[str]) -> list[str]:
        """The same of the start that goes on; while no engine runs, what the guard says now.

        Of the peers it may have said other things before, and its last engine was stopped.
        """
        return [_GUARD + self.status] if self.missing else self.lines(journal)

    def as_dict(self) -> dict[str, Any]:
        return {**self.described, "status": self.status, "missing": self.missing}
