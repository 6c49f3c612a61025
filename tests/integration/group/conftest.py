# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts for the tests of one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .service import Group, two_hosts


@pytest.fixture(scope="module")
def group(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Group]:
    """Start two hosts for this file; its tests build on each other."""
    if os.geteuid() != 0:
        pytest.skip("test hosts need root")
    purpose = Path(str(request.node.path)).stem.removeprefix("test_").replace("_", "-")
    with two_hosts(purpose, tmp_path_factory.mktemp("group")) as it:
        yield it
