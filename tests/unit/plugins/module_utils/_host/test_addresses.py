# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of a host."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._host.addresses import (
    addresses,
    default_interface,
)

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def test_the_default_route_of_the_lowest_metric_counts() -> None:
    routes = (
        f"{HEAD}eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "eth1\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eth2\t00000000\t0100A8C0\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
    )
    assert default_interface(routes) == "eth2"
    assert default_interface(HEAD) is None
    assert default_interface("") is None


def test_the_loopback_is_no_way_to_a_host(tmp_path: Path) -> None:
    found = addresses(tmp_path)
    assert "lo" not in [each["interface"] for each in found]
    assert not any(each["default"] for each in found)
