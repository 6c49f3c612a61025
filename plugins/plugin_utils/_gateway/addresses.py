# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses for rules of a firewall, which is loaded at boot before any name can be resolved."""

from __future__ import annotations

import ipaddress
import socket

from .._base.errors import AscendError
from .._base.values import shown


def admitted(text: str) -> str:
    """An address or network that a user lists, in its usual form. Raises AscendError for anything else."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise AscendError(
            f"vllm_gateway_firewall_admits lists {shown(text)}; an address such as 10.0.0.20, or a network"
            " such as 10.0.0.0/24, is needed."
        ) from error
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address if single else network)


def resolved(address: str, gateway: str) -> list[str]:
    """The addresses of a gateway, as the controller resolves a name. Raises AscendError."""
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AscendError(
            f"the address of the gateway {gateway}, {shown(address)}, cannot be resolved: {error}. Set"
            f" ansible_host of {gateway} to the address from which it asks services."
        ) from error
    return sorted({str(each[4][0]).partition("%")[0] for each in found})
