# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No pattern takes long, whatever a journal has."""

from __future__ import annotations

import re
import time

from ansible_collections.inferops.ascend.plugins.module_utils._service import causes as host_causes
from ansible_collections.inferops.ascend.plugins.module_utils._service import journal
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

from .reported_lines import LINES
from .test_reported_failures import RECORDS

FAILURES = causes.failures()
PHASES = journal.phases_of(causes.phases())
RUNS = ["a", "9", " ", "(", "/", "A ", "9.", "1,", "A.b", "x: ", "[", "{'", "0% Completed | 9/"]


def hostile(pattern: str) -> list[str]:
    """Lines of a megabyte on which a careless pattern takes forever: runs, and its words."""
    size = 1_000_000
    known = [*(line for line, _name, _figures in LINES), *(each["lines"] for each in RECORDS)]
    reported = [text for text in known if re.search(pattern, text, re.MULTILINE)]
    texts = [*RUNS, re.split(r"[\\(\[.?*+{|]", pattern)[0], *reported]
    texts += [line[: len(line) // 2] for line in reported]
    return [(text * (size // len(text) + 1))[:size] for text in dict.fromkeys(texts) if text]


def test_no_pattern_takes_long_on_a_line_of_a_megabyte() -> None:
    """Linear patterns take up to a second; one that is quadratic in a megabyte takes an hour."""
    slow = []
    patterns = {
        re.compile(text, re.MULTILINE) for each in FAILURES for text in each.get("lines", ())
    }
    for pattern in patterns | {p for each in PHASES for p in each.patterns}:
        for line in hostile(pattern.pattern):
            begun = time.process_time()
            pattern.search(line)
            taken = time.process_time() - begun
            if taken > 10.0:
                slow.append((pattern.pattern, line[:30], round(taken, 1)))
    assert slow == []


def test_a_journal_of_two_thousand_lines_is_read_in_no_time() -> None:
    lines = [
        f"(Worker_TP{n % 8} pid={n}) INFO 11-23 [layer.py:{n}] {'word ' * 30}" for n in range(2000)
    ]
    begun = time.process_time()
    assert journal.progress(lines, PHASES).phase is None
    assert host_causes.find_cause(lines, FAILURES, {}) is None
    assert time.process_time() - begun < 10.0
