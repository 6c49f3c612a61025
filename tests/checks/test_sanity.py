# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity, on a copy of the collection."""

from __future__ import annotations

from .command import passes


def test_it_passes() -> None:
    passes("tests/tools/sanity")
