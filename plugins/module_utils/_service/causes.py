# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a start of a service failed, by its journal and by what systemd says of its end.

The known failures are data (vars/failures/) and come from the controller.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from .journal import cut, is_request
from .messages import Transcript, ending, is_of_systemd, telling, transcribe

# Lines that are shown of one failure.
_EVIDENCE = 5
# Places that are compared to find the first one in time.
_MATCHES = 200
# Characters of a figure that is taken out of the lines.
_FIGURE = 300
# systemd's Result of a process that a signal ended.
_KILLED = ("signal", "core-dump", "oom-kill")
_PLACE = re.compile(r"\{([a-z_]+)\}")


class _Found(NamedTuple):
    """What shows a failure: figures of the lines by name, and the lines."""

    figures: Mapping[str, str]
    lines: Sequence[str]


def fill(texts: Sequence[str], values: Mapping[str, Any]) -> str:
    """The first text whose {names} are all known, filled in; else the last one as it is."""
    for text in texts:
        if all(values.get(name) is not None for name in _PLACE.findall(text)):
            return _PLACE.sub(lambda match: str(values[match.group(1)]), text)
    return texts[-1] if texts else ""


def _figure(name: str, text: str) -> str:
    """A figure in one line, of what may be several; a number of tokens as configurations write it:
    40960 also where the log has 40,960."""
    text = text.replace(",", "") if name.startswith("tokens_") else text
    return " ".join(text.split())[:_FIGURE].rstrip(" .")


def _by_lines(failure: Mapping[str, Any], journal: Transcript) -> _Found | None:
    """The failure as lines of the journal show it: of each pattern the first place in time. A pattern
    may reach over several lines of one process."""
    figures: dict[str, str] = {}
    evidence: list[str] = []
    for each in failure.get("lines", ()):
        matches = islice(re.finditer(each, journal.text, re.MULTILINE), _MATCHES)
        seen = [(journal.covered(*found.span()), found) for found in matches]
        if not seen:
            continue
        covered, found = min(seen, key=lambda one: one[0][0].place)
        for key, value in found.groupdict().items():
            if value is not None:
                figures.setdefault(key, value)
        for line in covered:
            if line.raw not in evidence and len(evidence) < _EVIDENCE:
                evidence.append(line.raw)
    if evidence and all(map(is_of_systemd, evidence)):  # it tells that, not why
        evidence += [line for line in _most(journal) if line not in evidence]
    return _Found(figures, evidence) if evidence else None


def _most(journal: Transcript) -> Sequence[str]:
    """The lines that tell most of a service that has ended; else its last ones."""
    most = telling(journal, True)
    return most.lines if most else ending(journal, _EVIDENCE)


def _by_systemd(
    failure: Mapping[str, Any], journal: Transcript, result: str | None, status: int | None
) -> _Found | None:
    """The failure as the end of the main process shows it, with the lines that tell most."""
    if result not in failure.get("results", ()) and status not in failure.get("statuses", ()):
        return None
    return _Found({}, _most(journal))


def _unknown(journal: Transcript, ended: bool) -> _Found | None:
    most = telling(journal, ended)
    return _Found({"error": most.text}, most.lines) if most else None


def find_cause(
    lines: Iterable[str],
    failures: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    result: str | None = None,
    status: int | None = None,
    redact: Callable[[str], str] = str,
) -> dict[str, Any] | None:
    """Why a start failed: the first failure of the list of which a line speaks, or else systemd.

    failures: as vars/failures/ has them. `lines` are patterns of the journal's text, in which the lines
    of a process follow each other without what each begins with; `results` and `statuses` are systemd's
    Result and exit status, which count where no line is known. An entry with `telling` is any other
    error; it, and what follows it, counts after systemd. The texts of one with `besides` are added to
    those of another failure. Of `cause` and `advice` the first text counts whose {names} are all
    known. The order of the list decides, not that of the lines: what is a consequence comes after
    what may have caused it.
    values: what is known of the service, for {names} in the texts.
    Returns {id, cause, advice, retry, source, values (figures of the lines), lines}, or None.
    """
    journal = transcribe(line for line in lines if not is_request(line))
    found = _first(failures, journal, result, status)
    besides = [each for each in failures if each.get("besides")]
    added = [
        (each, _by_lines(each, journal) or _by_systemd(each, journal, result, status))
        for each in besides
    ]
    told = [(failure, shown) for failure, shown in [found, *added] if shown is not None]
    if len(told) > 1 and not (found[0].get("lines") or found[0].get("telling")):
        told = told[1:]  # what systemd alone tells of the end is less than this
    if not told:
        return None
    first, *others = [_result(failure, shown, values, redact) for failure, shown in told]
    for other in others:
        first["cause"] += " " + other["cause"]
        first["advice"] += " " + other["advice"]
    return first


def _first(
    failures: Sequence[Mapping[str, Any]],
    journal: Transcript,
    result: str | None,
    status: int | None,
) -> tuple[Mapping[str, Any], _Found | None]:
    """The first failure of the list that shows, with what shows it; None where none does."""
    alone = [each for each in failures if not each.get("besides")]
    number = next((n for n, each in enumerate(alone) if each.get("telling")), len(alone))
    known, general = alone[:number], alone[number:]
    for failure in known:
        found = _by_lines(failure, journal)
        if found:
            return failure, found
    for failure in known:
        found = _by_systemd(failure, journal, result, status)
        if found:
            return failure, found
    ended = result is not None or status is not None
    for failure in general:
        if failure.get("telling"):
            # Of a process that was killed an exception may be the reason, but not words of an error.
            found = _unknown(journal, ended and result not in _KILLED)
        else:
            found = _by_lines(failure, journal) or _by_systemd(failure, journal, result, status)
            if (
                found and ended
            ):  # a line that is a consequence alone tells less than those before it
                last = ending(journal, _EVIDENCE - 1)
                first = [line for line in found.lines[:1] if line not in last]
                found = _Found(found.figures, [*first, *last])
        if found:
            return failure, found
    return {}, None


def _result(
    failure: Mapping[str, Any],
    found: _Found,
    values: Mapping[str, Any],
    redact: Callable[[str], str],
) -> dict[str, Any]:
    figures = {key: _figure(key, redact(value)) for key, value in found.figures.items()}
    texts = dict(values, **figures)
    return {
        "id": failure["id"],
        "cause": fill(failure["cause"], texts),
        "advice": fill(failure["advice"], texts),
        "retry": failure.get("retry", True),
        "source": failure.get("source", ""),
        "values": figures,
        "lines": [cut(redact(line)) for line in found.lines[:_EVIDENCE]],
    }
