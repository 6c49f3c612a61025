# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is as wanted."""

from __future__ import annotations

import pytest

from .readings import Readings


@pytest.fixture
def host() -> Readings:
    return Readings()
