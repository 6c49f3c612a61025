# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a service that spans hosts is split by default, from `vars/spans.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .needs import Need, Subject

_SCOPE = ("models", "except", "since")
NEWEST = "9999.0.0"  # where no version is known


@dataclass(frozen=True)
class Span:
    """An entry of the file, whose head says what its keys mean; `scope` has its other conditions.

    Attributes:
        sources: as they are written in the registry of the file.
    """

    engine: str
    scope: Need
    experts: bool | None = None
    cards: int | None = None
    tensor: int | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    unverified: str | None = None

    def counts_for(self, subject: Subject, experts: bool, cards: int) -> bool:
        """Whether all conditions hold."""
        return (
            self.experts in (None, experts)
            and self.cards in (None, cards)
            and self.scope.counts_for(subject)
        )


@lru_cache(maxsize=1)
def load_spans() -> tuple[Span, ...]:
    """All entries, in the order of the file."""
    file = vars_file("spans.yml")
    registry = file["source_registry"]
    return tuple(
        Span(
            engine=entry["engine"],
            scope=Need.from_dict({key: entry[key] for key in _SCOPE if key in entry}),
            experts=entry.get("experts"),
            cards=entry.get("cards"),
            tensor=entry.get("tensor_parallel_size"),
            args=entry.get("args", {}),
            sources=tuple(registry[source] for source in entry["sources"]),
            unverified=entry.get("unverified"),
        )
        for entry in file["spans"]
    )


def span_of(subject: Subject, experts: bool, cards: int, engine: str | None = None) -> Span:
    """The entry of a service with so many cards on each host; `engine`: of this engine alone.

    An engine that no entry gives for such a model has no default but itself.
    """
    for span in load_spans():
        if engine in (None, span.engine) and span.counts_for(subject, experts, cards):
            return span
    return Span(engine or "native", Need())
