# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel tells of processes that it killed for lack of memory, and of which unit they were."""

from __future__ import annotations

import re
from typing import Sequence

# Linux 5.0 and later, mm/oom_kill.c: dump_oom_summary, then __oom_kill_process.
_OF = re.compile(r"oom-kill:.{0,400}\btask_memcg=(?P<group>[^,]{1,400}),")
_KILLED = re.compile(r"\b[Oo]ut of memory: Killed process \d")


def command(since: float) -> list[str]:
    """The program that prints the kernel's lines from a time on, in seconds since 1970."""
    asked = ["--since", f"@{int(since)}", "--reverse", "--output", "json", "--lines", "500"]
    return ["journalctl", "--dmesg", *asked, "--no-pager", "--quiet"]


def killed(lines: Sequence[str], unit: str) -> list[str]:
    """Of the kernel's lines, in order, those that tell that it killed a process of the unit."""
    group, found = "", []
    for line in lines:
        of = _OF.search(line)
        if of is not None:
            group = of.group("group")
        elif _KILLED.search(line):
            if unit in group.split("/"):
                found.append(line)
            group = ""
    return found
