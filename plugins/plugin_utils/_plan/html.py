# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a fleet as one HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from .views import (
    CLASH,
    EXCLUDED,
    FREE,
    LONG,
    USED,
    HostView,
    Place,
    PlanView,
    ServiceView,
    all_new,
    change_kind,
    change_words,
    count,
    ends_of,
    escaped,
    marks_of,
    notes_of,
    place_key,
    ranges,
    runs_of,
    source_of,
    summary_of,
    totals_of,
)

PAGE = Path(__file__).resolve().parent / "page"

_ROW = 8
# Of page.css. As 12 and 5 have no common divisor, sixty models in a row differ in the pair.
_HUES = 12
_PATTERNS = 5
_BASIS_SIGN = {
    "measured": "\u25cf",
    "calibrated": "\u25d0",
    "documented": "\u25d1",
    "estimated": "\u25cb",
}


def _letters(number: int) -> str:
    """0 as A, 25 as Z, 26 as AA."""
    letters = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def _basis(service: ServiceView) -> str:
    basis = service["basis"]
    return f"{_BASIS_SIGN.get(basis, '')} {escaped(basis)}".strip() if basis else ""


def _facts(service: ServiceView) -> list[str]:
    """The length in tokens and its basis, as far as they are known."""
    length = "" if service["max_model_len"] is None else str(service["max_model_len"])
    return [text for text in (length, _basis(service)) if text]


def _model(service: ServiceView) -> str:
    return escaped(service["model"] or "no model named")


def _by_name(item: tuple[str, Any]) -> tuple[str, str]:
    return item[0].casefold(), item[0]


def _legend(plan: PlanView) -> list[dict[str, Any]]:
    """Models by name, each with how much of the fleet it has and where its lengths come from."""
    models: dict[str, list[ServiceView]] = {}
    for host in plan["hosts"]:
        for service in host["services"]:
            models.setdefault(_model(service), []).append(service)
    legend = []
    for number, (model, services) in enumerate(sorted(models.items(), key=_by_name)):
        lengths: dict[tuple[int, str], None] = {}
        for service in services:
            source = source_of(service)
            words = ", ".join(text for text in (" ".join(_facts(service)), source) if text)
            lengths[(service["max_model_len"] or 0, words)] = None
        instances = sum(not (service["cluster"] or {}).get("rank") for service in services)
        legend.append(
            {
                "model": model,
                "css": f"m{number}",
                "letters": _letters(number),
                "use": f"{count(instances, 'instance')} on"
                f" {count(sum(len(service['cards']) for service in services), 'card')}",
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


def html(plan: PlanView) -> str:
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
    total = totals_of(plan)
    numbers = {host["name"]: number for number, host in enumerate(plan["hosts"])}
    return template.render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        summary=summary_of(plan),
        total=total,
        count=count,
        hosts=_html_hosts(plan, lambda service: css[_model(service)]),
        long=len(plan["hosts"]) > LONG,
        changes=(_html_change(change, numbers) for change in plan["changes"]),
        change_words=change_words(plan),
        all_new=all_new(plan),
        legend=legend,
    )


def _html_change(change: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    ends = [
        None
        if end is None
        else {
            "host": escaped(end["host"]),
            "number": numbers.get(end["host"]),
            "cards": ranges(end["cards"]),
        }
        for end in ends_of(change)
    ]
    return {"kind": change_kind(change), "service": escaped(change["service"]), "ends": ends}


def _html_hosts(plan: PlanView, css: Callable[[ServiceView], str]) -> Iterator[dict[str, Any]]:
    marks = marks_of(plan)
    touched = {end["host"] for change in plan["changes"] for end in ends_of(change) if end}
    for host in plan["hosts"]:
        about = [escaped(host["profile"])] if host["profile"] else []
        if host["cards"]:
            memory = f" x {host['card_memory_gb']:g} GB" if host["card_memory_gb"] else ""
            about.append(
                f"{len(host['cards'])}{memory}"
                if memory
                else f"{count(len(host['cards']), 'card')}"
            )
        yield {
            "name": escaped(host["name"]),
            "about": about,
            "given": host["given"],
            "changed": host["name"] in touched,
            "blocks": list(_blocks(host, marks, css)),
        }


def _blocks(
    host: HostView, marks: Mapping[Place, str], css: Callable[[ServiceView], str]
) -> Iterator[dict[str, Any]]:
    """What is in a host's cards, left to right; then services that name no cards."""
    named: set[int] = set()
    services = host["services"]

    def used(number: int, cards: tuple[int, ...]) -> dict[str, Any]:
        service = services[number]
        mark = marks.get(place_key(host["name"], service["cards"]), "")
        again = number in named
        named.add(number)
        notes = [] if again else notes_of(service, host)
        return {
            "css": f"{css(service)} n{min(len(cards), _ROW) or _ROW}"
            + ("" if service["state"] == "started" else " off"),
            "cards": cards,
            "name": escaped(service["name"]),
            "mark": "" if again else mark,
            "facts": [] if again else _facts(service),
            "port": None if again else service["port"],
            "notes": ["continued"] if again else notes,
        }

    for run in runs_of(host, _ROW):
        if run.fate == USED:
            yield used(run.services[0], run.cards)
            continue
        users = ", ".join(escaped(services[number]["name"]) for number in run.services)
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
