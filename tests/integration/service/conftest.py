# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which the role vllm_service is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..hosts import HOST_PYTHON, REMOVE_USERS, started
from .role import SCENARIO, Host


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a host for this module; return its inventory."""
    flags = ["--host", "h1:a2-64g"]
    if HOST_PYTHON:
        prefix = str(Path(HOST_PYTHON).parents[1])
        flags += ["--mount", f"{prefix}:{prefix}"]
    with started(SCENARIO, tmp_path_factory.mktemp("fleet") / "inventory.yml", *flags) as inventory:
        yield inventory


@pytest.fixture
def host(fleet: Path, tmp_path: Path) -> Iterator[Host]:
    """Give one host on which nothing is deployed, and clean it afterwards."""
    address = yaml.safe_load(fleet.read_text())["all"]["hosts"]["h1"]["ansible_host"]
    it = Host("h1", fleet, tmp_path, address, {"ascend_host_profile": "atlas-800i-a2-64g"})
    if HOST_PYTHON:
        it.variables["ansible_python_interpreter"] = HOST_PYTHON
    yield it
    it.sh(
        "systemctl kill -s KILL 'vllm@*' 2>/dev/null; systemctl stop 'vllm@*' 2>/dev/null;"
        " rm -rf /etc/systemd/system/vllm@* /etc/systemd/system/multi-user.target.wants/vllm@*"
        f" /etc/vllm /var/lib/vllm /var/lib/ascend-sim/behaviour.json; {REMOVE_USERS};"
        " userdel vllm 2>/dev/null; systemctl daemon-reload; systemctl reset-failed; exit 0"
    )
