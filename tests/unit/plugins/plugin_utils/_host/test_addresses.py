# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""At which address the members of a service reach a host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.addresses import group_address


def interface(name: str, address: str, *, default: bool = False) -> dict[str, Any]:
    return {"interface": name, "address": address, "default": default}


TWO = [interface("eth0", "192.0.2.1"), interface("eth1", "198.51.100.1")]
ROUTED = [interface("eth0", "192.0.2.1"), interface("eth1", "198.51.100.1", default=True)]


@pytest.mark.parametrize(
    ("found", "address", "name", "expected"),
    [
        (ROUTED, "", "", ("198.51.100.1", "eth1")),
        (TWO[:1], "", "", ("192.0.2.1", "eth0")),
        (TWO, "", "eth1", ("198.51.100.1", "eth1")),
        (TWO, "192.0.2.1", "", ("192.0.2.1", "eth0")),
        ([], "203.0.113.1", "bond0", ("203.0.113.1", "bond0")),
    ],
)
def test_variables_count_then_the_default_route_then_the_only_interface(
    found: list[dict[str, Any]], address: str, name: str, expected: tuple[str, str]
) -> None:
    assert group_address(found, address, name) == expected


@pytest.mark.parametrize(
    ("found", "address", "words"),
    [
        (TWO, "", "no default route. The host has 192.0.2.1 (eth0), 198.51.100.1 (eth1)"),
        ([], "", "shows no IPv4 address"),
        (TWO, "192.0.2.9", "vllm_service_cluster_address is 192.0.2.9"),
    ],
)
def test_what_decides_nothing_is_refused_with_the_candidates(
    found: list[dict[str, Any]], address: str, words: str
) -> None:
    with pytest.raises(AscendError) as caught:
        group_address(found, address, "")
    assert words in str(caught.value)


@pytest.mark.parametrize("address", ["npu-01", "2001:db8::1", "192.0.2.1/24", "192.0.2"])
@pytest.mark.parametrize("name", ["", "eth0"])
def test_an_address_is_given_as_such(address: str, name: str) -> None:
    with pytest.raises(AscendError) as caught:
        group_address(TWO, address, name)
    assert f"cluster_address is '{address}'. An IPv4 address" in str(caught.value)
