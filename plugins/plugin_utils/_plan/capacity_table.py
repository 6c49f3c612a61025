# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The capacity of models as lines for a terminal: a table for each kind of host, then notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .._base.words import WIDTH, counted, wrap
from .capacity import COMMON, NO, YES, Estimate, Row, agreement
from .capacity_hosts import HostKind

_MODEL, _MODEL_MAX = 5, 29
_HEAD = ("MODEL", "CARDS", "LENGTH", "BASIS", "ESTIMATE", "STARTS")
_WIDTHS = (5, 6, 10, 8, 6)
_STARTS = {YES: "yes", NO: "no"}
_INDENT = "    "
_ENDS = (".", "!", "?")


def capacity_table(
    kinds: Sequence[HostKind], rows: Sequence[Row], left_out: Mapping[str, str]
) -> list[str]:
    """All of it; nothing is wider than what fits into Ansible's output on 80 columns but names."""
    lines: list[str] = []
    for kind in kinds:
        mine = [row for row in rows if row.profile == kind.name]
        lines += [*wrap(_title(kind), then="  "), *_table(mine), ""]
    for host, reason in left_out.items():
        lines += wrap(f"{host} is left out: {_sentence(reason)}", then="  ")
    if left_out:
        lines.append("")
    return [*lines, *_legend(rows)]


def length(tokens: int) -> str:
    """Tokens in K of 1024 where they are a multiple of half of it, as the published table does."""
    if tokens % 512 or not tokens:
        return str(tokens)
    return f"{tokens / 1024:g}K"


def _title(kind: HostKind) -> str:
    cards = "cards" if kind.cards is None else counted(kind.cards, "card")
    parts = [f"{cards} of {kind.memory:g} GB", f"engine {kind.engine_version}"]
    if kind.hosts:
        names = ", ".join(kind.hosts[:3])
        more = f" and {len(kind.hosts) - 3} more" if len(kind.hosts) > 3 else ""
        parts.insert(0, f"{counted(len(kind.hosts), 'host')} ({names}{more})")
    if kind.contacted:
        parts.append("read from the hosts" if len(kind.hosts) > 1 else "read from the host")
    return f"{kind.name}: {', '.join(parts)}"


def _table(rows: Sequence[Row]) -> list[str]:
    longest = max((len(_name(row)) for row in rows), default=_MODEL)
    first = min(max(longest, _MODEL), _MODEL_MAX)
    lines = [_line(_HEAD, first)]
    for row in rows:
        lines += _line_of(row, first)
        for note in _notes(row):
            lines += wrap(note, first=_INDENT, then=_INDENT)
    return lines


def _name(row: Row) -> str:
    return row.model or row.asked


def _line_of(row: Row, first: int) -> list[str]:
    if row.cards is None or row.max_model_len is None:
        return [_line((_name(row), "-", "-", "none", "", ""), first)]
    cells = (
        _name(row),
        str(row.cards),
        length(row.max_model_len),
        str(row.basis),
        _estimate(row),
        _STARTS.get(row.starts, "?"),
    )
    return [_line(cells, first)]


def _line(cells: Sequence[str], first: int) -> str:
    model, *others = cells
    cards, tokens, basis, estimate, starts = (
        text.rjust(width) if number < 2 else text.ljust(width)
        for number, (text, width) in enumerate(zip(others, _WIDTHS, strict=True))
    )
    return f"{model:<{first}} {cards} {tokens} {basis} {estimate} {starts}".rstrip()


def _estimate(row: Row) -> str:
    """Cards and length of the estimate beside a row: `2/40K`."""
    found = row.estimate
    if found is None or row.basis == "estimated":  # the row itself
        return "~" if row.borderline else ""
    if found.cards is None and found.max_model_len is None:
        return "-"
    cards = "-" if found.cards is None else str(found.cards)
    tokens = "-" if found.max_model_len is None else length(found.max_model_len)
    return f"{cards}/{tokens}" + ("~" if row.borderline else "")


def _notes(row: Row) -> Iterable[str]:
    """What stands under a row: what is true of it alone."""
    if row.reason:
        yield _sentence(row.reason)
    if row.starts_reason:
        yield _sentence(row.starts_reason)
    if row.borderline and row.basis == "estimated" and row.estimate:
        yield f"borderline: {_doubt(row.estimate)}"
    yield from (text for text in row.change if text not in COMMON)


def _doubt(estimate: Estimate) -> str:
    low, high = estimate.low or 0, estimate.high or 0
    if low == high:
        return "a careful and a generous calculation ask for different numbers of cards"
    return f"{length(low)} tokens by a careful calculation, {length(high)} by a generous one"


def _sentence(text: str) -> str:
    return text if text.endswith(_ENDS) else f"{text}."


def _legend(rows: Sequence[Row]) -> list[str]:
    """What the columns mean, as far as these rows need it."""
    notes = []
    same, measured = agreement(rows)
    if any(row.estimate and row.basis != "estimated" for row in rows):
        notes.append(
            "ESTIMATE: the least cards for the length, and the longest on the row's cards."
        )
    if measured:
        notes.append(
            f"The estimate has the same number of cards as {same} of"
            f" {counted(measured, 'measured row')}."
        )
    if any(row.borderline for row in rows):
        notes.append(
            "~: borderline, within the error of the estimate; try it before relying on it."
        )
    if any(row.cards is not None and row.starts not in _STARTS for row in rows):
        notes.append("STARTS ?: whether this version of the engine starts it is not known.")
    if any(row.starts == YES for row in rows):
        notes.append("STARTS yes: it was run, and nothing is known against this version.")
    notes += [
        f"{text[0].upper()}{text[1:]}."
        for text in COMMON
        if any(text in row.change for row in rows)
    ]
    return [line for note in notes for line in wrap(note, first="- ", then="  ", width=WIDTH)]
