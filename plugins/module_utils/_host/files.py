# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading files of a host. Paths are below `root`, `/` but for tests."""

from __future__ import annotations

from pathlib import Path

from .._base.reading import read_text
from .._base.text import printable


def read(path: Path) -> str | None:
    """The text of a file without what a terminal acts on; None where it cannot be read."""
    try:
        return printable(read_text(path, "replace"))
    except (OSError, ValueError):
        return None


def below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def field(text: str | None, key: str) -> str | None:
    """The value of a line `key=value`, the key without regard to case; None if there is none."""
    for line in (text or "").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().lower() == key.lower() and value.strip():
            return value.strip().strip("\"'")
    return None
