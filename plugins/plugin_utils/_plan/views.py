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

import base64
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import jinja2
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import listed
from markupsafe import Markup

Plan = Mapping[str, Any]
Host = Mapping[str, Any]
Service = Mapping[str, Any]
Place = tuple[str, tuple[int, ...]]  # a host and cards

PAGE = Path(__file__).resolve().parent / "page"

# GitHub refuses a longer comment or description: "Body is too long (maximum is 65536 characters)".
COMMENT_LIMIT = 65536
# With more hosts or changes than this a list is folded away, and the page starts as an overview.
LONG = 40

USED, FREE, EXCLUDED, CLASH = "used", "free", "excluded", "clash"


# --- what all three views share -------------------------------------------------------------------


def _shown(value: object) -> str:
    """Return a text without control, formatting (bidirectional) and other unprintable characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(value)
    )


def _ranges(cards: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``0-2, 5``; nothing where there are none."""
    return listed(list(cards)) if cards else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class _Run:
    """Cards of a host, one beside the other, with the same fate."""

    fate: str  # USED, FREE, EXCLUDED or CLASH: wanted twice, or excluded and wanted
    cards: tuple[int, ...]
    services: tuple[int, ...]  # places in the host's list of services


def _fates(host: Host) -> Iterator[tuple[int, str, tuple[int, ...]]]:
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


def _runs(host: Host, row: int) -> list[_Run]:
    """Return the runs of a host, cut after every `row` cards unless a run is made of whole rows."""
    runs: list[_Run] = []
    for place, (card, fate, services) in enumerate(_fates(host)):
        last = runs[-1] if runs else None
        if last and (last.fate, last.services) == (fate, services):
            whole_rows = len(last.cards) % row == 0
            if place % row or whole_rows:
                runs[-1] = _Run(fate, (*last.cards, card), services)
                continue
        runs.append(_Run(fate, (card,), services))
    return [part for run in runs for part in _cut(run, row)]


def _cut(run: _Run, row: int) -> Iterator[_Run]:
    """Cut a run of several rows where its last row is not whole."""
    whole = len(run.cards) // row * row
    for cards in (run.cards[:whole], run.cards[whole:]):
        if cards:
            yield _Run(run.fate, cards, run.services)


def _kind_of(change: Mapping[str, Any]) -> str:
    if change["before"] is None:
        return "added"
    return "removed" if change["after"] is None else "moved"


def _all_new(plan: Plan) -> bool:
    """Whether a long list of changes would only repeat the placement: a first plan."""
    changes = plan["changes"]
    placed = sum(not service["given"] for host in plan["hosts"] for service in host["services"])
    return (
        len(changes) > LONG and len(changes) == placed and set(map(_kind_of, changes)) == {"added"}
    )


def _place(host: str, cards: Iterable[int]) -> Place:
    return host, tuple(sorted(cards))


def _marks(plan: Plan) -> dict[Place, str]:
    """Host and cards to what this plan did there, where that sets it apart: ``added``, ``moved``.

    By the cards, because changes name the service, and a second replica on a host is called NAME-2.
    """
    if _all_new(plan):
        return {}
    return {
        _place(change["after"]["host"], change["after"]["cards"]): _kind_of(change)
        for change in plan["changes"]
        if change["after"] is not None
    }


def _changes_by_kind(plan: Plan) -> dict[str, int]:
    """How many changes of each kind, the kinds that there are, in a fixed order."""
    kinds = [_kind_of(change) for change in plan["changes"]]
    return {kind: kinds.count(kind) for kind in ("added", "moved", "removed") if kind in kinds}


def _change_words(plan: Plan) -> str:
    found = _changes_by_kind(plan)
    return ", ".join(f"{number:,} {kind}" for kind, number in found.items())


def _location(location: Mapping[str, Any] | None) -> str:
    return (
        ""
        if location is None
        else f"{_shown(location['host'])} {_ranges(location['cards'])}".rstrip()
    )


@dataclass(frozen=True)
class _Totals:
    hosts: int
    cards: int
    used: int
    free: int
    excluded: int
    clash: int
    services: int
    instances: int


def _totals(plan: Plan) -> _Totals:
    """Count the fleet. A service that spans hosts is one instance."""
    fates = [fate for host in plan["hosts"] for _card, fate, _users in _fates(host)]
    services = [service for host in plan["hosts"] for service in host["services"]]
    return _Totals(
        hosts=len(plan["hosts"]),
        cards=len(fates),
        used=fates.count(USED),
        free=fates.count(FREE),
        excluded=fates.count(EXCLUDED),
        clash=fates.count(CLASH),
        services=len(set(map(_replica_of, services))),
        instances=sum(not (service["cluster"] or {}).get("rank") for service in services),
    )


def _summary(plan: Plan) -> str:
    total = _totals(plan)
    parts = [f"{total.used:,} in use", f"{total.free:,} free"]
    if total.excluded:
        parts.append(f"{total.excluded:,} excluded")
    if total.clash:
        parts.append(f"{total.clash:,} in conflict")
    services = _count(total.services, "service")
    if total.instances != total.services:
        services += f" in {_count(total.instances, 'instance')}"
    return (
        f"{_count(total.hosts, 'host')}, {_count(total.cards, 'card')}: {', '.join(parts)};"
        f" {services}."
    )


def _notes(service: Service, host: Host) -> list[str]:
    """What is out of the ordinary with a service, in words."""
    notes = []
    if service["state"] == "stopped":
        notes.append("stopped")
    if service["given"] and not host["given"]:
        notes.append("by hand")
    cluster = service["cluster"]
    if cluster:
        leader = f", leader {_shown(cluster['leader'])}" if cluster["rank"] else ""
        notes.append(f"rank {cluster['rank']} of {len(cluster['hosts'])}{leader}")
    if not service["cards"]:
        notes.append("no cards named")
    return notes


def _replica_of(service: Service) -> str:
    return str(service.get("service") or service["name"])


def _source(service: Service) -> str:
    """Where the length comes from: ``ascend-64gb row 24``."""
    table = _shown(service["table"] or "")
    return f"{table} row {_shown(service['row'])}" if service["row"] else table


# --- the terminal ---------------------------------------------------------------------------------

# x stands for an excluded card.
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

    # Rows of a multiple of ten, so that the ids in the head hold for all rows of a host.
    ROW = 20

    def __init__(self, hosts: Sequence[Host], width: int) -> None:
        ids = [card for host in hosts for card, _fate, _users in _fates(host)]
        self.ids = range(max(ids, default=0) + 1)
        self.long = len(self.ids) > self.ROW
        self.label = len(str(self.ids[-1])) if self.long else 0
        self.per_row = self.ROW if self.long else len(self.ids)
        self.head = self._row(0, [str(card % 10) for card in range(self.per_row)])
        self.head = self.head if not self.long else " " * self.label + self.head[self.label :]
        self.cells = max(len(self.head), 5)
        room = max(width - self.cells - 4, 16)
        longest = max(_width(_shown(host["name"])) for host in hosts)
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


def card_map(plan: Plan, width: int = 80) -> list[str]:
    """Return the lines of a map: a host per line, a cell per card, and the services in the cells.

    width: columns; what does not fit goes on below, nothing is cut off. The map's own characters
    are ASCII, and there is no colour. Letters hold for the line they stand in: they name the
    services of that host, in the order of their cards.
    """
    hosts = plan["hosts"]
    marks = _marks(plan)
    lines: list[str] = []
    seen: set[str] = set()
    if hosts:
        columns = _Columns(hosts, width)
        lines.append(columns.line("host", columns.head, "services"))
        for host in hosts:
            lines += _host_lines(host, columns, marks, seen)
        key = [text for sign, text in _KEY if sign in seen]
        lines += ["", *_flow(key, width)] if key else [""]
        lines += _fold(_summary(plan), width)
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
    host: Host, columns: _Columns, marks: Mapping[Place, str], seen: set[str]
) -> list[str]:
    services = host["services"]
    order = sorted(range(len(services)), key=lambda number: services[number]["cards"] or [1 << 30])
    with_cards = [number for number in order if services[number]["cards"]]
    # More services than letters on one host: the rest share a sign, the list still names them.
    letters = dict(zip_longest(with_cards, _LETTERS[: len(with_cards)], fillvalue="?"))
    cells = {
        card: letters[users[0]] if fate == USED else _CELL[fate]
        for card, fate, users in _fates(host)
    }
    seen.update(cells.values())
    legend = ["(by hand)"] if host["given"] else []
    for number in order:
        service = services[number]
        mark = _MARK.get(marks.get(_place(host["name"], service["cards"]), ""), "")
        seen.add(mark)
        notes = _notes(service, host)
        about = f" ({'; '.join(notes)})" if notes else ""
        legend.append(f"{letters.get(number, '-')} {mark}{_shown(service['name'])}{about}")
    return [
        columns.line(name or "", row or "", text or "")
        for name, row, text in zip_longest(
            _fold(_shown(host["name"]), columns.name),
            columns.rows(cells),
            _flow(legend, columns.legend),
        )
    ]


def _change_lines(plan: Plan, width: int) -> list[str]:
    """What the map cannot show: where a service came from, and what is gone."""
    words = _change_words(plan)
    if not words:
        return []
    if _all_new(plan):
        return ["", f"Changes: {words}; everything that this plan places is new."]
    lines = ["", f"Changes: {words}."]
    for change in plan["changes"]:
        kind = _kind_of(change)
        service = _shown(change["service"])
        if kind == "moved":
            text = f"> {service}: {_location(change['before'])} -> {_location(change['after'])}"
        elif kind == "removed":
            text = f"- {service}: {_location(change['before'])}"
        else:
            continue
        lines += _fold(text, width, "  ")
    return lines


# --- Markdown -------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9._:/+-]+", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9 .,;()/-]", re.ASCII)


def _entities(text: str) -> str:
    """Write all that Markdown or HTML could act on as character references."""
    return "".join(
        char if _WORD.match(char) or ord(char) > 127 else f"&#{ord(char)};" for char in text
    )


def _code(value: object) -> str:
    """A name as code, so that nothing in it is markup, a mention or a link."""
    text = _shown(value)
    return f"`{text}`" if _PLAIN.fullmatch(text) else f"<code>{_entities(text)}</code>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    align = "|".join("--:" if name in _RIGHT else "---" for name in head)
    return [_cells(head), f"|{align}|", *(_cells(row) for row in rows)]


_RIGHT = frozenset(("max-model-len", "port", "instances"))


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class _Document:
    """Blocks of Markdown, within a number of characters."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.text = ""

    def left(self, share: float) -> int | None:
        """Characters that a block may take: a share of what is left, or no bound."""
        return None if self.limit is None else int((self.limit - len(self.text)) * share)

    def add(self, block: str) -> None:
        self.text += f"{block}\n\n"

    def add_long(
        self, title: str, head: str, parts: Sequence[str], noun: str, fold: bool, share: float
    ) -> None:
        """Add a heading and as many whole parts as its share of the room allows; say what is left out."""
        room = self.left(share)
        shown = len(parts)
        if room is not None:
            spent = len(title) + len(head) + 300
            shown = 0
            for part in parts:
                spent += len(part) + 1
                if spent > room:
                    break
                shown += 1
        body = [head] if head and shown else []
        body += parts[:shown]
        missing = len(parts) - shown
        self.add(f"### {title}")
        if fold and shown:
            self.add(f"<details><summary>{_count(shown, noun)}</summary>")
        if body:
            self.add("\n".join(body))
        if fold and shown:
            self.add("</details>")
        if missing:
            self.add(
                f"**{_count(missing, noun)} left out**: GitHub takes {COMMENT_LIMIT:,} characters"
                " for a comment."
            )


def markdown(plan: Plan, limit: int | None = COMMENT_LIMIT) -> str:
    """Return the plan in GitHub flavoured Markdown: what changed, then where everything is.

    limit: characters. A longer text is cut between rows and says how much is left out; changes
    come first and have up to 70 % of the room. None sets no limit.
    """
    document = _Document(limit)
    document.add("## Fleet plan")
    document.add(_summary(plan))
    _markdown_changes(plan, document)
    if len(plan["hosts"]) > LONG:
        _markdown_services(plan, document)
    if plan["hosts"]:
        parts = ["\n".join(_cells(row) for row in _placement(host)) for host in plan["hosts"]]
        columns = ("host", "cards", "service", "model", "max-model-len", "basis", "port")
        head = "\n".join(_table(columns, ()))
        document.add_long("Placement", head, parts, "host", len(parts) > LONG, 1)
    return document.text.rstrip("\n") + "\n"


def _markdown_changes(plan: Plan, document: _Document) -> None:
    changes = plan["changes"]
    if not changes:
        document.add("### Changes")
        document.add("None: everything stays where it is.")
        return
    if _all_new(plan):
        document.add(f"### Changes: {_change_words(plan)}")
        document.add("Everything that this plan places is new.")
        return
    rows = [
        _cells(
            [_kind_of(change), _code(change["service"]), *map(_markdown_location, _ends(change))]
        )
        for change in changes
    ]
    head = "\n".join(_table(("change", "service", "before", "after"), ()))
    title = f"Changes: {_change_words(plan)}"
    document.add_long(title, head, rows, "change", len(rows) > LONG, 0.7)


def _ends(change: Mapping[str, Any]) -> tuple[Any, Any]:
    return change["before"], change["after"]


def _markdown_location(location: Mapping[str, Any] | None) -> str:
    return (
        ""
        if location is None
        else f"{_code(location['host'])} {_ranges(location['cards'])}".rstrip()
    )


def _length_cells(service: Service) -> tuple[str, str]:
    length = "" if service["max_model_len"] is None else str(service["max_model_len"])
    source = _source(service)
    basis = _entities(_shown(service["basis"] or ""))
    return length, f"{basis} ({_entities(source)})" if source else basis


def _markdown_services(plan: Plan, document: _Document) -> None:
    """A long fleet by service: what a reviewer reads when there are too many hosts to read."""
    found: dict[tuple[str, ...], int] = {}
    for host in plan["hosts"]:
        for service in host["services"]:
            if (service["cluster"] or {}).get("rank"):
                continue
            hosts = len((service["cluster"] or {}).get("hosts") or [host])
            cards = str(len(service["cards"])) + (f" x {hosts} hosts" if hosts > 1 else "")
            length, basis = _length_cells(service)
            key = (_replica_of(service), service["model"] or "", cards, length, basis)
            found[key] = found.get(key, 0) + 1
    rows = [
        _cells((_code(name), _code(model) if model else "", cards, str(number), length, basis))
        for (name, model, cards, length, basis), number in sorted(found.items())
    ]
    columns = ("service", "model", "cards each", "instances", "max-model-len", "basis")
    document.add_long(
        "Services", "\n".join(_table(columns, ())), rows, "row", len(rows) > LONG, 0.5
    )


def _placement(host: Host) -> list[tuple[str, ...]]:
    """The rows of a host; its name stands in the first."""
    rows: list[tuple[int, tuple[str, ...]]] = []
    free: dict[str, list[int]] = {FREE: [], EXCLUDED: [], CLASH: []}
    for card, fate, _users in _fates(host):
        if fate != USED:
            free[fate].append(card)
    for service in host["services"]:
        length, basis = _length_cells(service)
        notes = _notes(service, host)
        rows.append(
            (
                min(service["cards"], default=1 << 30),
                (
                    _ranges(service["cards"]),
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
            rows.append((min(free[fate]), (_ranges(free[fate]), f"*{words}*", "", "", "", "")))
    cells = [row for _first, row in sorted(rows, key=lambda row: row[0])] or [("",) * 6]
    name = _code(host["name"]) + (" (by hand)" if host["given"] else "")
    return [(name if number == 0 else "", *row) for number, row in enumerate(cells)]


# --- the page -------------------------------------------------------------------------------------

_ROW = 8
# Of page.css. As 12 and 5 have no common divisor, sixty models in a row differ in the pair.
_HUES = 12
_PATTERNS = 5
_BASIS_SIGN = {"measured": "\u25cf", "calibrated": "\u25d0", "estimated": "\u25cb"}


def _letters(number: int) -> str:
    """0 as A, 25 as Z, 26 as AA."""
    letters = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def _basis(service: Service) -> str:
    basis = service["basis"]
    return f"{_BASIS_SIGN.get(basis, '')} {_shown(basis)}".strip() if basis else ""


def _facts(service: Service) -> list[str]:
    """The length in tokens and its basis, as far as they are known."""
    length = "" if service["max_model_len"] is None else str(service["max_model_len"])
    return [text for text in (length, _basis(service)) if text]


def _model(service: Service) -> str:
    return _shown(service["model"] or "no model named")


def _by_name(item: tuple[str, Any]) -> tuple[str, str]:
    return item[0].casefold(), item[0]


def _legend(plan: Plan) -> list[dict[str, Any]]:
    """Models by name, each with how much of the fleet it has and where its lengths come from."""
    models: dict[str, list[Service]] = {}
    for host in plan["hosts"]:
        for service in host["services"]:
            models.setdefault(_model(service), []).append(service)
    legend = []
    for number, (model, services) in enumerate(sorted(models.items(), key=_by_name)):
        lengths: dict[tuple[int, str], None] = {}
        for service in services:
            source = _source(service)
            words = ", ".join(text for text in (" ".join(_facts(service)), source) if text)
            lengths[(service["max_model_len"] or 0, words)] = None
        instances = sum(not (service["cluster"] or {}).get("rank") for service in services)
        legend.append(
            {
                "model": model,
                "css": f"m{number}",
                "letters": _letters(number),
                "use": f"{_count(instances, 'instance')} on"
                f" {_count(sum(len(service['cards']) for service in services), 'card')}",
                "lengths": [words for _length, words in sorted(lengths) if words],
            }
        )
    return legend


@lru_cache(maxsize=1)
def _template() -> tuple[jinja2.Template, str, str]:
    """The template of the page, its style and its script."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = ((PAGE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2"), style, script


def _hash(text: str) -> str:
    """Return a source expression of a Content-Security-Policy that allows just this text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def html(plan: Plan) -> str:
    """Return one page that holds all it needs: it asks no network, and reads without a script.

    The script adds search, filters and keys. Save it as UTF-8. Names are escaped, and the page's
    Content-Security-Policy allows its own style and script by their hashes and nothing else.
    """
    template, style, script = _template()
    legend = _legend(plan)
    models = "".join(
        f'.{entry["css"]} {{ --l: "{entry["letters"]}"; --c: var(--c{number % _HUES});'
        f" --t: var(--t{number % _HUES}); --p: var(--p{number % _PATTERNS}); }}\n"
        for number, entry in enumerate(legend)
    )
    style = f"\n{style}{models}"
    script = f"\n{script}"
    css = {entry["model"]: entry["css"] for entry in legend}
    total = _totals(plan)
    numbers = {host["name"]: number for number, host in enumerate(plan["hosts"])}
    return template.render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        summary=_summary(plan),
        total=total,
        count=_count,
        hosts=_html_hosts(plan, lambda service: css[_model(service)]),
        long=len(plan["hosts"]) > LONG,
        changes=(_html_change(change, numbers) for change in plan["changes"]),
        change_words=_change_words(plan),
        all_new=_all_new(plan),
        legend=legend,
    )


def _html_change(change: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    ends = [
        None
        if end is None
        else {
            "host": _shown(end["host"]),
            "number": numbers.get(end["host"]),
            "cards": _ranges(end["cards"]),
        }
        for end in _ends(change)
    ]
    return {"kind": _kind_of(change), "service": _shown(change["service"]), "ends": ends}


def _html_hosts(plan: Plan, css: Callable[[Service], str]) -> Iterator[dict[str, Any]]:
    marks = _marks(plan)
    touched = {end["host"] for change in plan["changes"] for end in _ends(change) if end}
    for host in plan["hosts"]:
        about = [_shown(host["profile"])] if host["profile"] else []
        if host["cards"]:
            memory = f" x {host['card_memory_gb']:g} GB" if host["card_memory_gb"] else ""
            about.append(
                f"{len(host['cards'])}{memory}"
                if memory
                else f"{_count(len(host['cards']), 'card')}"
            )
        yield {
            "name": _shown(host["name"]),
            "about": about,
            "given": host["given"],
            "changed": host["name"] in touched,
            "blocks": list(_blocks(host, marks, css)),
        }


def _blocks(
    host: Host, marks: Mapping[Place, str], css: Callable[[Service], str]
) -> Iterator[dict[str, Any]]:
    """What stands in a host's cards, left to right; then services that name no cards."""
    named: set[int] = set()
    services = host["services"]

    def used(number: int, cards: tuple[int, ...]) -> dict[str, Any]:
        service = services[number]
        mark = marks.get(_place(host["name"], service["cards"]), "")
        again = number in named
        named.add(number)
        notes = [] if again else _notes(service, host)
        return {
            "css": f"{css(service)} n{min(len(cards), _ROW) or _ROW}"
            + ("" if service["state"] == "started" else " off"),
            "cards": cards,
            "name": _shown(service["name"]),
            "mark": "" if again else mark,
            "facts": [] if again else _facts(service),
            "port": None if again else service["port"],
            "notes": ["continued"] if again else notes,
        }

    for run in _runs(host, _ROW):
        if run.fate == USED:
            yield used(run.services[0], run.cards)
            continue
        users = ", ".join(_shown(services[number]["name"]) for number in run.services)
        css_class, note = {
            FREE: ("free", "free"),
            EXCLUDED: ("out", "excluded"),
            CLASH: ("clash", "conflict: wanted twice, or excluded"),
        }[run.fate]
        yield {
            "css": f"{css_class} n{min(len(run.cards), _ROW)}",
            "cards": run.cards,
            "name": users,
            "mark": "",
            "facts": [],
            "port": None,
            "notes": [note],
        }
    for number in range(len(services)):
        if number not in named and not services[number]["cards"]:
            yield used(number, ())
