# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks of a role as its files have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def with_blocks(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every task of a list, and those of its blocks."""
    for each in tasks:
        yield each
        for part in ("block", "rescue", "always"):
            yield from with_blocks(each.get(part, []))
