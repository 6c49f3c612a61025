# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a fleet in GitHub flavored Markdown, for pull requests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

from .views import (
    CLASH,
    EXCLUDED,
    FREE,
    LONG,
    USED,
    View,
    all_new,
    card_fates,
    change_kind,
    change_words,
    count,
    escaped,
    is_instance,
    location_text,
    notes_of,
    ranges,
    replica_of,
    source_of,
    spanning_of,
    summary_of,
)

# GitHub rejects a longer comment or description: "Body is too long (maximum is 65536 characters)".
COMMENT_LIMIT = 65536

_PLAIN = re.compile(r"[A-Za-z0-9._:/+-]+", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9 .,;()/-]", re.ASCII)


def _entities(text: str) -> str:
    """Write all that Markdown or HTML could act on as character references."""
    return "".join(
        char if _WORD.match(char) or ord(char) > 127 else f"&#{ord(char)};" for char in text
    )


def _code(value: object) -> str:
    """A name as code, so that nothing in it is markup, a mention or a link."""
    text = escaped(value)
    return f"`{text}`" if _PLAIN.fullmatch(text) else f"<code>{_entities(text)}</code>"


_RIGHT = frozenset(("max-model-len", "port", "instances"))


def _head(*names: str) -> str:
    align = "|".join("--:" if name in _RIGHT else "---" for name in names)
    return f"{_cells(names)}\n|{align}|"


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class _Document:
    """Blocks of Markdown, within a number of characters."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.text = ""

    def add(self, block: str) -> None:
        self.text += f"{block}\n\n"

    def add_long(
        self, title: str, head: str, parts: Sequence[str], noun: str, fold: bool, share: float
    ) -> None:
        """Add a heading and as many complete parts as its share of the room allows; report what is left out."""
        shown = len(parts)
        if self.limit is not None:
            room = int((self.limit - len(self.text)) * share)
            sizes = accumulate((len(part) + 1 for part in parts), initial=len(title + head) + 300)
            shown = sum(size <= room for size in sizes) - 1
        shown = max(0, shown)
        body = [head, *parts[:shown]] if shown else []
        missing = len(parts) - shown
        self.add(f"### {title}")
        if fold and shown:
            self.add(f"<details><summary>{count(shown, noun)}</summary>")
        if body:
            self.add("\n".join(body))
        if fold and shown:
            self.add("</details>")
        if missing:
            self.add(
                f"**{count(missing, noun)} left out**: GitHub takes {COMMENT_LIMIT:,} characters"
                " for a comment."
            )


def markdown(plan: View, limit: int | None = COMMENT_LIMIT) -> str:
    """Return the plan in GitHub flavoured Markdown: what changed, then where everything is.

    limit: characters. A longer text is cut between rows and reports how much is left out; changes
    come first and have up to 70 % of the room. None sets no limit.
    """
    document = _Document(limit)
    document.add("## Fleet plan")
    document.add(summary_of(plan))
    _markdown_changes(plan, document)
    if len(plan["hosts"]) > LONG:
        _markdown_services(plan, document)
    _markdown_spanning(plan, document)
    if plan["hosts"]:
        parts = ["\n".join(_cells(row) for row in _placement(host)) for host in plan["hosts"]]
        head = _head("host", "cards", "service", "model", "max-model-len", "basis", "port")
        document.add_long("Placement", head, parts, "host", len(parts) > LONG, 1)
    return document.text.rstrip("\n") + "\n"


def _markdown_changes(plan: View, document: _Document) -> None:
    changes = plan["changes"]
    if not changes:
        document.add("### Changes")
        document.add("None: everything stays where it is.")
        return
    if all_new(plan):
        document.add(f"### Changes: {change_words(plan)}")
        document.add("Everything that this plan places is new.")
        return
    rows = [
        _cells(
            [
                change_kind(change),
                _code(change["service"]),
                location_text(change["before"], _code),
                location_text(change["after"], _code),
            ]
        )
        for change in changes
    ]
    head = _head("change", "service", "before", "after")
    title = f"Changes: {change_words(plan)}"
    document.add_long(title, head, rows, "change", len(rows) > LONG, 0.7)


def _length_cells(service: View) -> tuple[str, str]:
    length = "" if service["max_model_len"] is None else str(service["max_model_len"])
    source = source_of(service)
    basis = _entities(escaped(service["basis"] or ""))
    return length, f"{basis} ({_entities(source)})" if source else basis


def _markdown_services(plan: View, document: _Document) -> None:
    """A long fleet by service: what a reviewer reads when there are too many hosts to read."""
    found: dict[tuple[str, ...], int] = {}
    for host in plan["hosts"]:
        for service in host["services"]:
            if not is_instance(service):
                continue
            hosts = len((service["cluster"] or {}).get("hosts") or [host])
            cards = str(len(service["cards"])) + (f" x {hosts} hosts" if hosts > 1 else "")
            length, basis = _length_cells(service)
            key = (replica_of(service), service["model"] or "", cards, length, basis)
            found[key] = found.get(key, 0) + 1
    rows = [
        _cells((_code(name), _code(model) if model else "", cards, str(number), length, basis))
        for (name, model, cards, length, basis), number in sorted(found.items())
    ]
    head = _head("service", "model", "cards each", "instances", "max-model-len", "basis")
    document.add_long("Services", head, rows, "row", len(rows) > LONG, 0.5)


def _markdown_spanning(plan: View, document: _Document) -> None:
    rows = [
        _cells(
            (
                _code(each.name),
                _code(each.model) if each.model else "",
                "<br>".join(
                    location_text({"host": host, "cards": cards}, _code)
                    for host, cards in each.hosts
                ),
                each.engine,
                each.sizes,
            )
        )
        for each in spanning_of(plan)
    ]
    if rows:
        head = _head("service", "model", "hosts by rank", "engine", "parallel")
        title = "Services over several hosts"
        document.add_long(title, head, rows, "service", len(rows) > LONG, 0.5)


def _placement(host: View) -> list[tuple[str, ...]]:
    """The rows of a host; its name is in the first."""
    rows: list[tuple[int, tuple[str, ...]]] = []
    free: dict[str, list[int]] = {FREE: [], EXCLUDED: [], CLASH: []}
    for card, fate, _users in card_fates(host):
        if fate != USED:
            free[fate].append(card)
    for service in host["services"]:
        length, basis = _length_cells(service)
        notes = notes_of(service, host)
        rows.append(
            (
                min(service["cards"], default=1 << 30),
                (
                    ranges(service["cards"]),
                    _code(service["name"]) + (f" ({_entities('; '.join(notes))})" if notes else ""),
                    _code(service["model"]) if service["model"] else "",
                    length,
                    basis,
                    "" if service["port"] is None else str(service["port"]),
                ),
            )
        )
    for fate, words in ((FREE, "free"), (EXCLUDED, "excluded"), (CLASH, "conflict: wanted twice")):
        if free[fate]:
            rows.append((min(free[fate]), (ranges(free[fate]), f"*{words}*", "", "", "", "")))
    cells = [row for _first, row in sorted(rows, key=lambda row: row[0])] or [("",) * 6]
    name = _code(host["name"]) + (" (by hand)" if host["given"] else "")
    return [(name if number == 0 else "", *row) for number, row in enumerate(cells)]
