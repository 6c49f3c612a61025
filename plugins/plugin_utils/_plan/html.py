# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a fleet as one HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from .views import (
    CLASH,
    EXCLUDED,
    FREE,
    LONG,
    USED,
    Place,
    View,
    all_new,
    card_fates,
    change_kind,
    change_words,
    count,
    escaped,
    is_instance,
    marks_of,
    notes_of,
    place_key,
    ranges,
    source_of,
    spanning_of,
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


def _facts(service: View) -> list[str]:
    """The length in tokens and its basis, as far as they are known."""
    length, basis = service["max_model_len"], service["basis"]
    facts = [] if length is None else [str(length)]
    return facts + ([f"{_BASIS_SIGN.get(basis, '')} {escaped(basis)}".strip()] if basis else [])


def _model(service: View) -> str:
    return escaped(service["model"] or "no model named")


def _by_name(item: tuple[str, Any]) -> tuple[str, str]:
    return item[0].casefold(), item[0]


def _legend(plan: View) -> list[dict[str, Any]]:
    """Models by name, each with how much of the fleet it has and where its lengths come from."""
    models: dict[str, list[View]] = {}
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
        instances = sum(map(is_instance, services))
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
    environment.filters.update(escaped=escaped, ranges=ranges, change_kind=change_kind, count=count)
    style, script = ((PAGE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2"), style, script


def _hash(text: str) -> str:
    """Return a source expression of a Content-Security-Policy that allows just this text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def html(plan: View) -> str:
    """Return one page that contains all it needs: it asks no network, and reads without a script.

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
    return template.render(
        plan=plan,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        total=totals_of(plan),
        numbers={host["name"]: number for number, host in enumerate(plan["hosts"])},
        status=plan.get("status"),
        touched={
            end["host"]
            for change in plan["changes"]
            for end in (change["before"], change["after"])
            if end
        },
        blocks=partial(_blocks, marks=marks_of(plan), css=css),
        long=len(plan["hosts"]) > LONG,
        change_words=change_words(plan),
        all_new=all_new(plan),
        spanning=spanning_of(plan),
        legend=legend,
    )


class _Run(NamedTuple):
    """Cards of a host, one beside the other, with the same fate."""

    cards: tuple[int, ...]
    fate: str
    services: tuple[int, ...]  # places in the host's list of services


def _runs(host: View) -> list[_Run]:
    """The runs of a host, cut at the end of every row unless a run is made of complete rows."""
    runs: list[_Run] = []
    fates = enumerate(card_fates(host))
    for (_row, fate, users), group in groupby(fates, lambda each: (each[0] // _ROW, *each[1][1:])):
        run = _Run(tuple(card for _place, (card, *_rest) in group), fate, users)
        same = runs and runs[-1][1:] == run[1:]
        if same and len(run.cards) == _ROW and len(runs[-1].cards) % _ROW == 0:
            run = run._replace(cards=(*runs.pop().cards, *run.cards))
        runs.append(run)
    return runs


_FATES = {
    FREE: ("free", "free"),
    EXCLUDED: ("out", "excluded"),
    CLASH: ("clash", "conflict: wanted twice, or excluded"),
}


def _blocks(
    host: View, marks: Mapping[Place, str], css: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What is in a host's cards, left to right; then services that name no cards."""
    named: set[int] = set()
    services = host["services"]
    bare = (number for number, service in enumerate(services) if not service["cards"])
    for run in [*_runs(host), *(_Run((), USED, (number,)) for number in bare)]:
        names = ", ".join(escaped(services[number]["name"]) for number in run.services)
        block: dict[str, Any] = {
            "cards": run.cards,
            "name": names,
            "mark": "",
            "facts": [],
            "port": None,
        }
        width = f"n{min(len(run.cards), _ROW) or _ROW}"
        if run.fate != USED:
            kind, note = _FATES[run.fate]
            yield {**block, "css": f"{kind} {width}", "notes": [note]}
            continue
        service = services[run.services[0]]
        off = "" if service["state"] == "started" else " off"
        off += " wrong" if service.get("wrong") else ""
        block.update(css=f"{css[_model(service)]} {width}{off}", notes=["continued"])
        if run.services[0] not in named and run.services[1:]:
            named.update(run.services)
            together = [services[number] for number in run.services]
            block.update(_shared(together, host, marks))
        elif run.services[0] not in named:
            named.add(run.services[0])
            block.update(
                mark=marks.get(place_key(host["name"], service), ""),
                facts=_facts(service),
                port=service["port"],
                notes=notes_of(service, host),
            )
        yield block


def _shared(services: Iterable[View], host: View, marks: Mapping[Place, str]) -> dict[str, Any]:
    """What a block says of services that have its cards together: a line for each."""
    facts = []
    for service in services:
        mark = marks.get(place_key(host["name"], service), "")
        port = "" if service["port"] is None else f"port {service['port']}"
        length = " ".join(_facts(service))
        words = filter(None, [mark, *notes_of(service, host), length, port])
        facts.append(f"{escaped(service['name'])}: {', '.join(words)}")
    return {"facts": facts, "notes": [f"shared by {len(facts)}"]}
