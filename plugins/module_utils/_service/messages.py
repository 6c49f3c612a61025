# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The messages in a journal: several lines of one process may be one, and some tell more than others."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import Iterable, NamedTuple, Sequence

# Lines after the header of a message that are read for its reason.
_REACH = 12
# Lines that give the reason of a message whose header has none.
_REASONS = 3

# What vLLM writes before each line of a process (vllm/utils, decorate_logs), torch before those of a
# rank, and vLLM's formatter before each line of a message: `(Worker_TP0 pid=1) ERROR 08-19 09:13:40 [x.py:8] `.
_PREFIX = re.compile(
    r"(?P<process>(?:\([A-Za-z][\w .=-]{0,60}pid=\d{1,10}(?:, ip=[\w.:]{1,50})?\) ?){0,3})"
    r"(?P<rank>\[(?:rank|Stage-)\d{1,6}\]:? ?)?"
    r"(?:(?P<level>ERROR|CRITICAL|WARNING|INFO|DEBUG) \d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})? ?(?:\[?[\w.:-]{1,100}\] ?)?)?"
)
# The last line of a traceback: the exception's name, and its text if it has one.
_EXCEPTION = re.compile(
    r"(?:[\w.]{1,200}\.)?[A-Z]\w{0,60}(?:Error|Exception|Exit|Interrupt|Failure|Fault|Timeout)(?::\s*(?P<text>.*))?$"
)
# The same within a line, with a text.
_INNER = re.compile(r"\b(?!\w{1,20}: Engine)[A-Z]\w{0,60}(?:Error|Exception|Exit): \S.*")
# What quotes an error, or tells of one that does no harm.
_QUOTED = re.compile(r" (?:WARNING|INFO) \d|^(?:WARNING|INFO|DEBUG)\b|Warning: |: ignored\.?$")
# What vLLM and Python print because another process has failed.
_CONSEQUENCE = re.compile(
    r"Engine core initialization failed|EngineDead|EngineCore (?:failed|encountered)|WorkerProc initialization failed"
    r"|Worker failed with error|[Ss]ee (?:root cause|stack trace)|died unexpectedly|EngineGenerateError"
    r"|^(?:\w+\.)*(?:SystemExit|KeyboardInterrupt|CancelledError|BrokenPipeError|EOFError|ChildFailedError)\b"
    r"|^ConnectionResetError\b|(?:recv|send)(?:Value|Bytes) failed on SocketImpl|\[gloo/\S+ .*[Cc]onnection (?:reset|closed) by"
    r"|: cancelled$|Engine process failed to start|MQEngineDeadError|destroy_process_group|output_handler failed"
)
_WORDS = re.compile(
    r"\b(?:error|errors|fatal|failed|failure|fails|cannot|can't|unable|not found|no such|denied|invalid"
    r"|unsupported|not supported|undefined|refused|aborted|killed|segmentation|out of memory)\b",
    re.IGNORECASE,
)
# Lines that have no reason: rulers, begin and end marks, information, places in code.
_EMPTY = re.compile(
    r"^[\W_]*$|\[(?:BEG|END)\]|^\s*\[INFO\]|^\s*(?:File \"|\^|~)|^Traceback |^During handling|^The above exception"
)
# What uvicorn prints when the server begins to answer.
_SERVED = re.compile(r"Application startup complete")
# systemd's messages about a unit.
_SYSTEMD = re.compile(
    r"^\S{1,200}\.service: |^(?:Starting|Started|Stopping|Stopped|Failed to start) "
)


class Line(NamedTuple):
    """A line of a journal: who wrote it, how grave it is ('' where the line does not say), its text
    without what each line of that process begins with, the line as it was, and its place."""

    process: str
    level: str
    text: str
    raw: str
    place: int


class Transcript(NamedTuple):
    """A journal in which the lines of each process follow each other.

    text: theirs without prefixes, joined by line feeds. starts: where in it each of `lines` begins.
    """

    text: str
    starts: Sequence[int]
    lines: Sequence[Line]

    def covered(self, start: int, end: int) -> Sequence[Line]:
        """The lines of which the text from start to end is a part."""
        first = bisect_right(self.starts, start) - 1
        return self.lines[max(first, 0) : bisect_right(self.starts, max(start, end - 1))]


class Telling(NamedTuple):
    """What of a journal nobody recognised tells most: its text in one line, and its lines."""

    text: str
    lines: Sequence[str]


def split(raw: str, place: int = 0) -> Line:
    """A line and what comes before its text."""
    found = _PREFIX.match(raw)
    process, rank, level, end = "", "", "", 0
    if found is not None:  # it always is, for every part of the prefix may be missing
        process, rank, level = (found.group(name) or "" for name in ("process", "rank", "level"))
        end = found.end()
    return Line((process + rank).strip(), level, raw[end:], raw, place)


def transcribe(lines: Iterable[str]) -> Transcript:
    """The lines of a journal, those of one process after each other; empty ones are left out."""
    processes: dict[str, list[Line]] = {}
    for place, raw in enumerate(lines):
        line = split(raw, place)
        if line.text.strip():
            processes.setdefault(line.process, []).append(line)
    ordered = [line for each in processes.values() for line in each]
    starts = list(accumulate((len(line.text) + 1 for line in ordered), initial=0))[:-1]
    return Transcript("\n".join(line.text for line in ordered), starts, ordered)


def _reasons(lines: Sequence[Line], number: int) -> Sequence[Line]:
    """The lines after a header that tell why; those of the same process, up to the next header."""
    after: list[Line] = []
    for line in lines[number + 1 : number + 1 + _REACH]:
        if line.process != lines[number].process or _EXCEPTION.match(line.text):
            break
        if not _EMPTY.search(line.text) and line.level not in ("INFO", "WARNING", "DEBUG"):
            after.append(line)
    return ([line for line in after if _WORDS.search(line.text)] or after)[:_REASONS]


def _before(lines: Sequence[Line], number: int) -> Sequence[Line]:
    """The line of code that an exception without a text comes from."""
    return [
        line
        for line in lines[max(0, number - 3) : number]
        if line.process == lines[number].process
        and line.text.startswith("    ")
        and not _EMPTY.search(line.text)
    ][-1:]


def _joined(lines: Sequence[Line]) -> str:
    return " ".join(" ".join(line.text.split()) for line in lines)


def _exceptions(lines: Sequence[Line]) -> list[Sequence[Line]]:
    """Each exception that is not the consequence of another, with the lines that give its reason."""
    found: list[Sequence[Line]] = []
    for number, line in enumerate(lines):
        if line.level in ("INFO", "WARNING", "DEBUG") or _CONSEQUENCE.search(line.text):
            continue
        header = _EXCEPTION.match(line.text)
        if header is not None:
            text = header.group("text") or ""
            if not text:
                found.append([line, *(_reasons(lines, number) or _before(lines, number))])
            elif text.endswith(":") or " validation error" in text:
                found.append([line, *_reasons(lines, number)])
            else:
                found.append([line])
    return sorted(found, key=lambda each: each[0].place)


def telling(transcript: Transcript, ended: bool) -> Telling | None:
    """The lines of a journal that tell most about a failure, of which the kind is not known.

    The first exception that no other one caused counts; where there is none, an exception that a line
    quotes. Of a service that has ended these are also lines with the words of an error, the last
    ones. None where there is nothing of that kind.
    """
    lines = transcript.lines
    exceptions = _exceptions(lines)
    if exceptions:
        shown = [*exceptions[0], *(exceptions[-1] if len(exceptions) > 1 else ())]
        return Telling(_joined(exceptions[0]), [line.raw for line in shown])
    plain = [
        line
        for line in lines
        if line.level not in ("INFO", "WARNING", "DEBUG")
        and not _QUOTED.search(line.text)
        and not _CONSEQUENCE.search(line.text)
        and not _SYSTEMD.search(line.text)
    ]
    for line in sorted(plain, key=lambda each: each.place):
        found = _INNER.search(line.text)
        if found is not None:
            return Telling(found.group(), [line.raw])
    if not ended:
        return None
    # What was printed before it served has not ended it.
    served = max((line.place for line in lines if _SERVED.search(line.text)), default=-1)
    wordy = [
        line
        for line in plain
        if line.place > served and _WORDS.search(line.text) and not _EMPTY.search(line.text)
    ]
    last = sorted(wordy, key=lambda each: each.place)[-_REASONS:]
    return Telling(_joined(last[-1:]), [line.raw for line in last]) if last else None


def is_of_systemd(raw: str) -> bool:
    """Whether systemd wrote the line, about a unit."""
    return _SYSTEMD.search(raw) is not None


def ending(transcript: Transcript, count: int) -> list[str]:
    """The last lines that the service itself wrote."""
    written = [line for line in transcript.lines if not _SYSTEMD.search(line.text)]
    return [line.raw for line in sorted(written, key=lambda each: each.place)[-count:]]
