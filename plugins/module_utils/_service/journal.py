# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the journal of a service shows: its starts with their lines, and how far one has come.

The patterns are data (vars/start_phases.yml) and come from the controller.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from .._base.reading import parse_json
from .._base.text import printable

# Characters of one line that are read. A line of a traceback or of the engine's options may
# have a megabyte; what matters of it is at its beginning.
LINE_LIMIT = 4000
# Characters of a line that is shown.
SHOWN_LIMIT = 400

# A user's prompt may contain anything; vllm/entrypoints/logger.py writes it in lines like these.
_REQUEST = re.compile(r"Received request \S{1,200}: |Request \S{1,200} details: ")


class Phase(NamedTuple):
    """A part of a start. A line that one of its patterns finds shows that it has begun.

    Groups named `done` and `total`, or `percent`, tell how much of it is done.
    """

    name: str
    patterns: Sequence[re.Pattern[str]]


class Progress(NamedTuple):
    """How far a start has come: the phase, and what its last line counts (None: nothing)."""

    phase: str | None
    percent: int | None = None
    done: int | None = None
    total: int | None = None


def phases_of(data: Sequence[Mapping[str, Any]]) -> list[Phase]:
    """Phases in their order."""
    return [
        Phase(each["name"], [re.compile(text) for text in each.get("lines", ())]) for each in data
    ]


def clean(text: str) -> str:
    """One line as a person reads it: without colors, and of a line that was written over again
    and again, as progress bars are, what is last."""
    text = text[-LINE_LIMIT:] if "\r" in text else text[:LINE_LIMIT]
    parts = [part for part in map(printable, text.split("\r")) if part.strip()]
    return parts[-1].rstrip() if parts else ""


def _text(value: Any) -> str:
    """MESSAGE as journalctl writes it: a text, its bytes where it is none, or several of both."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        if all(isinstance(each, int) and 0 <= each < 256 for each in value):
            return bytes(value).decode("utf-8", "replace")
        return _text(value[-1]) if value else ""
    return ""


def parse_journal(data: bytes) -> list[tuple[str, list[str]]]:
    """Each start with its lines, as they were written, of `journalctl --output=json --reverse`.

    A last line that was cut off, and a line without text, is left out. A line that does not name its
    start counts to that of the line after it.
    """
    entries: list[tuple[str, str]] = []
    invocation = ""
    for raw in data.split(b"\n"):
        try:
            fields = parse_json(raw.decode("utf-8", "replace"))
        except ValueError:  # also of an empty line
            continue
        if not isinstance(fields, dict):
            continue
        # In the messages of systemd about the unit, INVOCATION_ID names the start.
        from_systemd = fields.get("_SYSTEMD_UNIT") == "init.scope" or fields.get("_PID") == "1"
        name = _text(fields.get("INVOCATION_ID" if from_systemd else "_SYSTEMD_INVOCATION_ID"))
        invocation = name or invocation
        for line in reversed(_text(fields.get("MESSAGE")).split("\n")):
            text = clean(line)
            if text:
                entries.append((invocation, text))
    starts: dict[str, list[str]] = {}
    for name, text in reversed(entries):
        starts.setdefault(name, []).append(text)
    return list(starts.items())


def last_lines(lines: Sequence[str], limit: int, redact: Callable[[str], str]) -> list[str]:
    """The last lines, each cut to SHOWN_LIMIT characters, without secrets."""
    return [cut(redact(line)) for line in lines[-limit:]] if limit > 0 else []


def cut(text: str) -> str:
    """A line, of SHOWN_LIMIT characters at most."""
    return text if len(text) <= SHOWN_LIMIT else text[: SHOWN_LIMIT - 3] + "..."


def is_request(line: str) -> bool:
    """Whether the engine wrote it of a user's request, whose words tell nothing of the engine."""
    return _REQUEST.search(line) is not None


def progress(lines: Iterable[str], phases: Sequence[Phase]) -> Progress:
    """The furthest phase that the lines speak of, with the figures of its last line.

    Ranks write at different times, so a line of an earlier phase after one of a later phase does
    not lead back.
    """
    best = -1
    figures: dict[str, str] = {}
    for line in lines:
        if is_request(line):
            continue
        for number in range(len(phases) - 1, max(best, 0) - 1, -1):
            found = next(filter(None, (p.search(line) for p in phases[number].patterns)), None)
            if found:
                best = number
                figures = {k: v for k, v in found.groupdict().items() if v is not None}
                break
    if best < 0:
        return Progress(None)
    done, total = _number(figures.get("done")), _number(figures.get("total"))
    percent = _number(figures.get("percent"))
    if percent is None and done is not None and total:
        percent = 100 * done // total
    if percent is not None:
        percent = min(100, percent)
    return Progress(phases[best].name, percent, done, total)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 10 else None
