# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub that serves one model, and where a test downloads it to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._weights import hub_client
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs
from ansible_collections.inferops.ascend.tests.hubs.fetching import ID, Clock


@pytest.fixture
def hub() -> Iterator[hubs.Hub]:
    it = hubs.Hub(models={ID: hubs.model()})
    with hubs.serving(it):
        yield it


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "Qwen" / "Qwen3-14B"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Where a client waits before it tries again, a test does not wait."""
    monkeypatch.setattr(hub_client, "CHUNK", 1000)
    return Clock(monkeypatch)
