# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a fleet for people: lines for a terminal, Markdown, and one HTML page.

All three read the dictionary that the action ``plan`` returns and are pure: the same plan gives
the same text. Its shape::

    hosts:    [{name, profile, card_memory_gb, cards: [ids], excluded: [ids], given: bool, services}]
              services: [{name, service, model, kind, cards: [ids], port, max_model_len (tokens),
                          basis, table, row, state, given: bool,
                          cluster: {leader, rank, hosts} or None}]
    changes:  [{service, before: {host, cards} or None, after: {host, cards} or None}]

``service`` is whose replica it is where ``name`` has a number behind it for being the second on a
host; it may be left out. ``given`` is what was written by hand. Names are shown as they are, whatever they hold: characters
that a terminal or a browser would act on are written as escapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping, Sequence

from .._base.words import listed

PlanView = Mapping[str, Any]
HostView = Mapping[str, Any]
ServiceView = Mapping[str, Any]
Place = tuple[str, tuple[int, ...]]  # a host and cards

# With more hosts or changes than this a list is folded away, and the page starts as an overview.
LONG = 40

USED, FREE, EXCLUDED, CLASH = "used", "free", "excluded", "clash"


def escaped(value: object) -> str:
    """Return a text without control, formatting (bidirectional) and other unprintable characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(value)
    )


def ranges(cards: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``0-2, 5``; nothing where there are none."""
    return listed(list(cards)) if cards else ""


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class CardRun:
    """Cards of a host, one beside the other, with the same fate."""

    fate: str  # USED, FREE, EXCLUDED or CLASH: wanted twice, or excluded and wanted
    cards: tuple[int, ...]
    services: tuple[int, ...]  # places in the host's list of services


def card_fates(host: HostView) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """Yield each card with its fate, also a card that only a service names."""
    wanted: dict[int, list[int]] = {card: [] for card in host["cards"]}
    for number, service in enumerate(host["services"]):
        for card in service["cards"]:
            wanted.setdefault(card, []).append(number)
    excluded = set(host["excluded"])
    for card in sorted(wanted):
        users = tuple(wanted[card])
        if len(users) + (card in excluded) > 1:
            yield card, CLASH, users
        elif users:
            yield card, USED, users
        else:
            yield card, EXCLUDED if card in excluded else FREE, ()


def runs_of(host: HostView, row: int) -> list[CardRun]:
    """Return the runs of a host, cut after every `row` cards unless a run is made of complete rows."""
    runs: list[CardRun] = []
    for place, (card, fate, services) in enumerate(card_fates(host)):
        last = runs[-1] if runs else None
        if last and (last.fate, last.services) == (fate, services):
            whole_rows = len(last.cards) % row == 0
            if place % row or whole_rows:
                runs[-1] = CardRun(fate, (*last.cards, card), services)
                continue
        runs.append(CardRun(fate, (card,), services))
    return [part for run in runs for part in _cut(run, row)]


def _cut(run: CardRun, row: int) -> Iterator[CardRun]:
    """Cut a run of several rows where its last row is not complete."""
    whole = len(run.cards) // row * row
    for cards in (run.cards[:whole], run.cards[whole:]):
        if cards:
            yield CardRun(run.fate, cards, run.services)


def change_kind(change: Mapping[str, Any]) -> str:
    if change["before"] is None:
        return "added"
    return "removed" if change["after"] is None else "moved"


def all_new(plan: PlanView) -> bool:
    """Whether a long list of changes would only repeat the placement: a first plan."""
    changes = plan["changes"]
    placed = sum(not service["given"] for host in plan["hosts"] for service in host["services"])
    return (
        len(changes) > LONG
        and len(changes) == placed
        and set(map(change_kind, changes)) == {"added"}
    )


def place_key(host: str, cards: Iterable[int]) -> Place:
    return host, tuple(sorted(cards))


def marks_of(plan: PlanView) -> dict[Place, str]:
    """Host and cards to what this plan did there, where that sets it apart: ``added``, ``moved``.

    By the cards, because changes name the service, and a second replica on a host is called NAME-2.
    """
    if all_new(plan):
        return {}
    return {
        place_key(change["after"]["host"], change["after"]["cards"]): change_kind(change)
        for change in plan["changes"]
        if change["after"] is not None
    }


def _changes_by_kind(plan: PlanView) -> dict[str, int]:
    """How many changes of each kind, the kinds that there are, in a fixed order."""
    kinds = [change_kind(change) for change in plan["changes"]]
    return {kind: kinds.count(kind) for kind in ("added", "moved", "removed") if kind in kinds}


def change_words(plan: PlanView) -> str:
    found = _changes_by_kind(plan)
    return ", ".join(f"{number:,} {kind}" for kind, number in found.items())


def location_text(location: Mapping[str, Any] | None) -> str:
    return (
        ""
        if location is None
        else f"{escaped(location['host'])} {ranges(location['cards'])}".rstrip()
    )


@dataclass(frozen=True)
class Totals:
    hosts: int
    cards: int
    used: int
    free: int
    excluded: int
    clash: int
    services: int
    instances: int


def totals_of(plan: PlanView) -> Totals:
    """Count the fleet. A service that spans hosts is one instance."""
    fates = [fate for host in plan["hosts"] for _card, fate, _users in card_fates(host)]
    services = [service for host in plan["hosts"] for service in host["services"]]
    return Totals(
        hosts=len(plan["hosts"]),
        cards=len(fates),
        used=fates.count(USED),
        free=fates.count(FREE),
        excluded=fates.count(EXCLUDED),
        clash=fates.count(CLASH),
        services=len(set(map(replica_of, services))),
        instances=sum(not (service["cluster"] or {}).get("rank") for service in services),
    )


def summary_of(plan: PlanView) -> str:
    total = totals_of(plan)
    parts = [f"{total.used:,} in use", f"{total.free:,} free"]
    if total.excluded:
        parts.append(f"{total.excluded:,} excluded")
    if total.clash:
        parts.append(f"{total.clash:,} in conflict")
    services = count(total.services, "service")
    if total.instances != total.services:
        services += f" in {count(total.instances, 'instance')}"
    return (
        f"{count(total.hosts, 'host')}, {count(total.cards, 'card')}: {', '.join(parts)};"
        f" {services}."
    )


def notes_of(service: ServiceView, host: HostView) -> list[str]:
    """What is out of the ordinary with a service, in words."""
    notes = []
    if service["state"] == "stopped":
        notes.append("stopped")
    if service["given"] and not host["given"]:
        notes.append("by hand")
    cluster = service["cluster"]
    if cluster:
        leader = f", leader {escaped(cluster['leader'])}" if cluster["rank"] else ""
        notes.append(f"rank {cluster['rank']} of {len(cluster['hosts'])}{leader}")
    if not service["cards"]:
        notes.append("no cards named")
    return notes


def replica_of(service: ServiceView) -> str:
    return str(service.get("service") or service["name"])


def source_of(service: ServiceView) -> str:
    """Where the length comes from: ``ascend-64gb row 24``."""
    table = escaped(service["table"] or "")
    return f"{table} row {escaped(service['row'])}" if service["row"] else table


def ends_of(change: Mapping[str, Any]) -> tuple[Any, Any]:
    return change["before"], change["after"]
