# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule's scenario default."""

from __future__ import annotations

import pytest

from .command import passes

pytestmark = pytest.mark.hosts


def test_it_passes() -> None:
    passes("tests/tools/molecule", "test", "default")
