# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses for rules that are loaded before a name can be resolved."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.addresses import (
    admitted,
    resolved,
)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("10.0.0.20", "10.0.0.20"),
        ("10.0.0.9/24", "10.0.0.0/24"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_an_address_or_network_is_admitted(given: str, rule: str) -> None:
    assert admitted(given) == rule


@pytest.mark.parametrize("given", ["prometheus.example", "10.0.0.1 } accept", "", "10.0.0"])
def test_what_is_no_address_is_rejected(given: str) -> None:
    with pytest.raises(AscendError, match="vllm_gateway_firewall_admits lists"):
        admitted(given)


def test_the_name_of_a_gateway_is_resolved_here() -> None:
    assert "127.0.0.1" in resolved("localhost", "gw-01")
    assert resolved("192.0.2.7", "gw-01") == ["192.0.2.7"]
    with pytest.raises(AscendError, match="Set ansible_host of gw-01 to the address"):
        resolved("no-such-host.invalid", "gw-01")
