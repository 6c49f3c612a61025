# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a fleet as lines for a terminal: a map of the cards, and the changes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from .views import (
    CLASH,
    EXCLUDED,
    FREE,
    USED,
    Place,
    View,
    all_new,
    card_fates,
    change_kind,
    change_words,
    escaped,
    location_text,
    marks_of,
    notes_of,
    place_key,
    spanning_of,
    summary_of,
)

# x is an excluded card.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWYZabcdefghijklmnopqrstuvwyz"
_CELL = {FREE: ".", EXCLUDED: "x", CLASH: "!"}
_MARK = {"added": "+", "moved": ">"}
_GROUP = 4
_LEGEND = 26


def _width(text: str) -> int:
    """Columns that a terminal gives a text: East Asian wide characters take two."""
    if text.isascii():  # nearly all, and this is asked some ten times for each host
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _ljust(text: str, width: int) -> str:
    return text + " " * max(0, width - _width(text))


def _fold(text: str, width: int, indent: str = "") -> list[str]:
    """Fold a text so that nothing of it is lost: at a space, else after punctuation, else anywhere."""
    lines: list[str] = []
    start = ""
    while _width(start + text) > width:
        end = len(text)
        while end > 1 and _width(start + text[:end]) > width:
            end -= 1
        space = text.rfind(" ", end // 2, end + 1)
        breaks = [place + 1 for place in range(end // 2, end) if text[place] in ".:-_/,"]
        cut = space if space > 0 else breaks[-1] if breaks else end
        lines.append((start + text[:cut]).rstrip())
        text = text[cut:].lstrip(" ")
        start = indent
    return [*lines, start + text] if text or not lines else lines


def _flow(items: Sequence[str], width: int) -> list[str]:
    """Set items beside each other, two spaces apart, none torn that fits a line."""
    lines: list[str] = []
    for item in items:
        if lines and _width(lines[-1]) + 2 + _width(item) <= width:
            lines[-1] += f"  {item}"
        else:
            lines += _fold(item, width, "  ")
    return lines


def _grouped(cells: Sequence[str]) -> str:
    """Cells in groups of four: ``AAAA BB.x``."""
    return " ".join(
        "".join(cells[start : start + _GROUP]) for start in range(0, len(cells), _GROUP)
    )


class _Columns:
    """The columns of the map: a name, a cell per card id, the services."""

    # Rows of a multiple of ten, so that the ids in the head apply to all rows of a host.
    ROW = 20

    def __init__(self, hosts: Sequence[View], width: int) -> None:
        ids = [card for host in hosts for card, _fate, _users in card_fates(host)]
        self.ids = range(max(ids, default=0) + 1)
        self.long = len(self.ids) > self.ROW
        self.label = len(str(self.ids[-1])) if self.long else 0
        self.per_row = self.ROW if self.long else len(self.ids)
        self.head = self._row(0, [str(card % 10) for card in range(self.per_row)])
        self.head = self.head if not self.long else " " * self.label + self.head[self.label :]
        self.cells = max(len(self.head), 5)
        room = max(width - self.cells - 4, 16)
        longest = max(_width(escaped(host["name"])) for host in hosts)
        self.name = min(max(longest, 4), max(room - _LEGEND, room // 2))
        self.legend = room - self.name

    def _row(self, start: int, cells: Sequence[str]) -> str:
        label = f"{start:>{self.label}} " if self.long else ""
        return label + _grouped(cells)

    def rows(self, cells: Mapping[int, str]) -> list[str]:
        """The cells of a host by id, in rows; a row in which the host has no card is left out."""
        rows = []
        for start in range(0, len(self.ids), self.per_row):
            row = [cells.get(card, " ") for card in range(start, start + self.per_row)]
            if any(cell != " " for cell in row):
                rows.append(self._row(start, row))
        return rows

    def line(self, name: str, cells: str, legend: str) -> str:
        return f"{_ljust(name, self.name)}  {_ljust(cells, self.cells)}  {legend}".rstrip()


def card_map(plan: View, width: int = 80) -> list[str]:
    """Return the lines of a map: a host per line, a cell per card, and the services in the cells.

    width: columns; what does not fit goes on below, nothing is cut off. The map's own characters
    are ASCII, and there is no color. Letters apply to their line alone: they name the
    services of that host, in the order of their cards.
    """
    hosts = plan["hosts"]
    marks = marks_of(plan)
    lines: list[str] = []
    seen: set[str] = set()
    if hosts:
        columns = _Columns(hosts, width)
        lines.append(columns.line("host", columns.head, "services"))
        for host in hosts:
            lines += _host_lines(host, columns, marks, seen)
        key = [text for sign, text in _KEY if sign in seen]
        lines += ["", *_flow(key, width)] if key else [""]
        lines += _fold(summary_of(plan), width)
        for each in spanning_of(plan):
            on = ", ".join(escaped(host) for host, _cards in each.hosts)
            text = f"{escaped(each.name)} over {on}: {', '.join(filter(None, each[3:]))}"
            lines += _fold(text, width, "  ")
    else:
        lines.append("No hosts.")
    return lines + _change_lines(plan, width)


_KEY = (
    (".", ". free"),
    ("x", "x excluded"),
    ("!", "! conflict: wanted twice, or excluded and wanted"),
    ("+", "+ added by this plan"),
    (">", "> moved here by this plan"),
)


def _host_lines(
    host: View, columns: _Columns, marks: Mapping[Place, str], seen: set[str]
) -> list[str]:
    services = host["services"]
    order = sorted(range(len(services)), key=lambda number: services[number]["cards"] or [1 << 30])
    fates = list(card_fates(host))
    # Services that have the same cards together have one letter.
    first = {number: users[0] for _card, fate, users in fates for number in users if fate == USED}
    with_cards = [n for n in order if services[n]["cards"] and first.get(n, n) == n]
    # More services than letters on one host: the rest share a sign, the list still names them.
    letters = dict(zip_longest(with_cards, _LETTERS[: len(with_cards)], fillvalue="?"))
    letters.update({number: letters[leads] for number, leads in first.items()})
    cells = {
        card: letters[users[0]] if fate == USED else _CELL[fate] for card, fate, users in fates
    }
    seen.update(cells.values())
    legend = ["(by hand)"] if host["given"] else []
    for number in order:
        service = services[number]
        mark = _MARK.get(marks.get(place_key(host["name"], service), ""), "")
        seen.add(mark)
        notes = notes_of(service, host)
        about = f" ({'; '.join(notes)})" if notes else ""
        legend.append(f"{letters.get(number, '-')} {mark}{escaped(service['name'])}{about}")
    return [
        columns.line(name or "", row or "", text or "")
        for name, row, text in zip_longest(
            _fold(escaped(host["name"]), columns.name),
            columns.rows(cells),
            _flow(legend, columns.legend),
        )
    ]


def _change_lines(plan: View, width: int) -> list[str]:
    """What the map cannot show: where a service came from, and what is gone."""
    words = change_words(plan)
    if not words:
        return []
    if all_new(plan):
        return ["", f"Changes: {words}; everything that this plan places is new."]
    lines = ["", f"Changes: {words}."]
    for change in plan["changes"]:
        kind = change_kind(change)
        service = escaped(change["service"])
        if kind == "moved":
            text = f"> {service}: {location_text(change['before'])} -> {location_text(change['after'])}"
        elif kind == "removed":
            text = f"- {service}: {location_text(change['before'])}"
        else:
            continue
        lines += _fold(text, width, "  ")
    return lines
