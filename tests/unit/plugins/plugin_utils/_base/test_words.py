# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import (
    counted,
    listed,
    wrap,
)


def test_counts_and_runs_of_numbers() -> None:
    assert (counted(1, "card"), counted(0, "card")) == ("1 card", "0 cards")
    assert (listed([6, 0, 1, 2]), listed(())) == ("0-2, 6", "none")


def test_wrapping_never_breaks_a_path() -> None:
    assert wrap("look at\n/a/very-long/path now", "* ", "  ", 12) == [
        "* look at",
        "  /a/very-long/path",
        "  now",
    ]
