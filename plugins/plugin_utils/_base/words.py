# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text for messages and reports: counts, number ranges, lines of limited width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

# What is left of 80 columns inside the indentation and quotes of Ansible's output.
WIDTH = 69


def counted(number: int, noun: str) -> str:
    """`1 card`, `2 cards`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(values: Iterable[int]) -> str:
    """Card or port numbers as people write them: `0-3, 6`."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    if not runs:
        return "none"
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def wrap(text: str, first: str = "", then: str = "", width: int = WIDTH) -> list[str]:
    """A text in lines of `width` columns, behind `first` and `then`.

    Words are never broken, even longer ones: paths and commands are there to be copied.
    """
    # Output of programs comes in lines.
    flat = " ".join(text.split())
    return textwrap.wrap(
        flat,
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_on_hyphens=False,
        break_long_words=False,
    )
