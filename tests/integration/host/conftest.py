# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of several kinds, as they were installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..hosts import REMOVE_USERS, started
from .site import PROFILES, SCENARIO, Site


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    flags = [word for name, kind in PROFILES.items() for word in ("--host", f"{name}:{kind}")]
    with started(SCENARIO, tmp_path_factory.mktemp("site") / "inventory.yml", *flags) as inventory:
        yield inventory


@pytest.fixture
def site(hosts: Path, tmp_path: Path) -> Iterator[Site]:
    """Give the hosts as they were installed, and clean them afterwards."""
    it = Site(hosts, tmp_path)
    yield it
    for host, profile in PROFILES.items():
        if profile != "none":
            it.sh(
                host,
                "systemctl kill -s KILL 'vllm@*' 2>/dev/null; systemctl stop 'vllm@*' train port"
                " 2>/dev/null; rm -rf /etc/systemd/system/vllm@*"
                " /etc/systemd/system/multi-user.target.wants/vllm@* /etc/vllm /var/lib/vllm"
                " /etc/sysctl.d/90-inferops* /var/lib/inferops-ascend /etc/security/limits.d/90-i*;"
                f" {REMOVE_USERS}; userdel vllm 2>/dev/null; systemctl daemon-reload; systemctl reset-failed;"
                " sed -i s/=broken/=complete/ /etc/ascend_install.info; ascend-sim reset",
            )
