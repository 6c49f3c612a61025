# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures as text."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence

from ansible.release import __version__ as ansible_version


def figure(value: float) -> str:
    """Three digits, which is more than a shared machine repeats."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def spread(values: Sequence[float]) -> str:
    """The median with the least and the greatest."""
    return f"{figure(statistics.median(values))} ({figure(min(values))}-{figure(max(values))})"


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The ratio of the medians."""
    return statistics.median(over) / statistics.median(under)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column is text, the others are figures."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())
    sys.stdout.flush()


def heading() -> str:
    """Where the figures come from."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"ansible-core {ansible_version}, Python {platform.python_version()}, {cores} cores shared"
        f" by the controller and the hosts, load {os.getloadavg()[0]:.1f} at the start"
    )
