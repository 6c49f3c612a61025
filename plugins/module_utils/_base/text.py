# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text that hosts, servers and programs send, as it may reach a terminal or a report."""

from __future__ import annotations

import re

# Sequences that a terminal acts on (ECMA-48 5.4 and 8.3): strings of commands (OSC, DCS, SOS, PM, APC) up
# to their end, control sequences (CSI), escapes of two or three bytes. Each repetition is bounded.
_SEQUENCE = re.compile(
    r"\x1b[\]PX^_][^\x07\x1b\x9c\r\n]{0,4096}(?:\x07|\x1b\\|\x9c)?"
    r"|[\x90\x98\x9d\x9e\x9f][^\x07\x1b\x9c\r\n]{0,4096}(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]?"
    r"|\x1b[ -/]{0,16}[0-~]?"
)
# What else a terminal acts on, or shows as another text: controls, lone surrogates, marks of direction
# (Unicode Bidirectional Algorithm, 2), separators of lines and invisible characters of formats.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """The text without anything that a terminal would act on; tabs and line feeds stay.

    Sequences of colours and commands are left out with their arguments, and other control characters
    become blanks. It takes time in proportion to the text.
    """
    return _CONTROL.sub(" ", _SEQUENCE.sub("", text))


def one_line(text: str, limit: int = 400) -> str:
    """The same on one line of at most `limit` characters."""
    line = " ".join(printable(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def is_number(text: str) -> bool:
    """Tell whether a text is up to 20 digits of ASCII; `str.isdigit` takes some that `int` does not."""
    return text.isascii() and text.isdigit() and len(text) <= 20
