# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a fleet for people: lines for a terminal, Markdown, and one HTML page.

All three read the dictionary that the action ``plan`` returns and are pure: the same plan gives
the same text. Its shape::

    hosts:    [{name, profile, card_memory_gb, cards: [ids], excluded: [ids], given: bool, services}]
              services: [{name, service, model, kind, cards: [ids], port, max_model_len (tokens),
                          basis, table, row, state, given: bool,
                          cluster: {leader, rank, hosts} or None, engine (of a cluster),
                          sizes: [data, tensor, pipeline parallel],
                          part: of the memory of its cards}]
    changes:  [{service, before: {host, cards} or None, after: {host, cards} or None}]

A view of what runs adds ``wrong`` and ``notes`` (texts) to services and ``wrong`` to hosts, and ``status``
instead of changes: {title, moment, problems, waiting, sections}.

``service`` is whose replica it is where ``name`` has a number behind it for being the second on a
host; it may be left out, as ``part``. ``given`` is what was written by hand. Names are shown as they are, whatever they contain: characters
that a terminal or a browser would act on are written as escapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .._base.words import listed
from .._place.taken import fits

View = Mapping[str, Any]  # of the plan, a host, a service or a change, as above
Place = tuple[str, tuple[int, ...], str]  # a host, cards and what they serve

# With more hosts or changes than this a list is folded away, and the page starts as an overview.
LONG = 40

# CLASH: wanted twice, or excluded and wanted.
USED, FREE, EXCLUDED, CLASH = "used", "free", "excluded", "clash"


def escaped(value: object) -> str:
    """Return a text without control, formatting (bidirectional) and other unprintable characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(value)
    )


def ranges(cards: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``0-2, 5``; nothing where there are none."""
    return listed(cards) if cards else ""


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def share_cards(services: Sequence[View]) -> bool:
    """Whether services have the same cards, and parts of their memory that they can have together."""
    parts = [service.get("part") or 1.0 for service in services]
    return len({tuple(service["cards"]) for service in services}) == 1 and fits(parts)


def card_fates(host: View) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """Yield each card with its fate, also a card that only a service names."""
    wanted: dict[int, list[int]] = {card: [] for card in host["cards"]}
    for number, service in enumerate(host["services"]):
        for card in service["cards"]:
            wanted.setdefault(card, []).append(number)
    excluded = set(host["excluded"])
    for card in sorted(wanted):
        users = tuple(wanted[card])
        shared = len(users) > 1 and share_cards([host["services"][number] for number in users])
        if (bool(users) if shared else len(users)) + (card in excluded) > 1:
            yield card, CLASH, users
        elif users:
            yield card, USED, users
        else:
            yield card, EXCLUDED if card in excluded else FREE, ()


def change_kind(change: Mapping[str, Any]) -> str:
    if change["before"] is None:
        return "added"
    return "removed" if change["after"] is None else "moved"


def all_new(plan: View) -> bool:
    """Whether a long list of changes would only repeat the placement: a first plan."""
    changes = plan["changes"]
    placed = sum(not service["given"] for host in plan["hosts"] for service in host["services"])
    return (
        len(changes) > LONG
        and len(changes) == placed
        and set(map(change_kind, changes)) == {"added"}
    )


def place_key(host: str, service: View) -> Place:
    return host, tuple(sorted(service["cards"])), replica_of(service)


def marks_of(plan: View) -> dict[Place, str]:
    """Host and cards to what this plan did there, where that sets it apart: ``added``, ``moved``.

    Changes name the service, and a second replica on a host is called NAME-2.
    """
    if all_new(plan):
        return {}
    return {
        place_key(change["after"]["host"], {**change["after"], "name": change["service"]}): kind
        for change, kind in zip(plan["changes"], map(change_kind, plan["changes"]), strict=True)
        if change["after"] is not None
    }


def change_words(plan: View) -> str:
    """How many changes of each kind, the kinds that there are, in a fixed order."""
    found = Counter(map(change_kind, plan["changes"]))
    kinds = ("added", "moved", "removed")
    return ", ".join(f"{found[kind]:,} {kind}" for kind in kinds if found[kind])


def location_text(location: View | None, name: Callable[[object], str] = escaped) -> str:
    return f"{name(location['host'])} {ranges(location['cards'])}".rstrip() if location else ""


def totals_of(plan: View) -> Counter[str]:
    """Numbers of hosts, cards, cards of each fate, services, instances (one that spans hosts is one)."""
    total = Counter(fate for host in plan["hosts"] for _card, fate, _users in card_fates(host))
    services = [service for host in plan["hosts"] for service in host["services"]]
    total.update(
        cards=total.total(),
        hosts=len(plan["hosts"]),
        services=len(set(map(replica_of, services))),
        instances=sum(map(is_instance, services)),
    )
    return total


def summary_of(plan: View) -> str:
    total = totals_of(plan)
    words = {USED: "in use", FREE: "free", EXCLUDED: "excluded", CLASH: "in conflict"}
    fates = [fate for fate in words if total[fate] or fate in (USED, FREE)]
    cards = ", ".join(f"{total[fate]:,} {words[fate]}" for fate in fates)
    services = count(total["services"], "service")
    if total["instances"] != total["services"]:
        services += f" in {count(total['instances'], 'instance')}"
    return f"{count(total['hosts'], 'host')}, {count(total['cards'], 'card')}: {cards}; {services}."


def notes_of(service: View, host: View) -> list[str]:
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
    same = [each for each in host["services"] if each["cards"] == service["cards"]]
    if service["cards"] and len(same) > 1 and share_cards(same):
        notes.append(f"{service['part']:g} of the memory")
    return notes + list(service.get("notes", ()))


def replica_of(service: View) -> str:
    return str(service.get("service") or service["name"])


def is_instance(service: View) -> bool:
    """Whether it is not a further part of a service that spans hosts."""
    return not (service["cluster"] or {}).get("rank")


class Spanning(NamedTuple):
    """A service over several hosts, as one. hosts: by rank, with their cards of it."""

    name: str
    model: str
    hosts: list[tuple[str, list[int]]]
    engine: str
    sizes: str


def spanning_of(plan: View) -> list[Spanning]:
    """Services over several hosts, in the order of their leaders; those that a host has no part of too."""
    parts: dict[tuple[str, tuple[str, ...]], dict[str, View]] = {}
    for host in plan["hosts"]:
        for service in host["services"]:
            if service["cluster"]:
                key = str(service["name"]), tuple(service["cluster"]["hosts"])
                parts.setdefault(key, {})[str(host["name"])] = service
    found = []
    for (name, hosts), by_host in parts.items():
        first = next(iter(by_host.values()))
        places = [(host, list(by_host[host]["cards"]) if host in by_host else []) for host in hosts]
        engine = str(first["engine"] or "").replace("_", " ")
        found.append(
            Spanning(name, str(first["model"] or ""), places, engine, sizes_text(first["sizes"]))
        )
    return found


def sizes_text(sizes: Sequence[int]) -> str:
    """``data 4 x tensor 4``: the sizes above one that multiply to the cards."""
    names = zip(("data", "tensor", "pipeline"), sizes, strict=True)
    return " x ".join(f"{name} {size}" for name, size in names if size > 1)


def source_of(service: View) -> str:
    """Where the length comes from: ``ascend-64gb row 24``."""
    table = escaped(service["table"] or "")
    return f"{table} row {escaped(service['row'])}" if service["row"] else table
