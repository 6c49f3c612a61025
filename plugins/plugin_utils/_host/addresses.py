# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The address at which the other members of a service reach a host."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from .._base.errors import AscendError
from .._base.values import shown

_SET = "Set vllm_service_cluster_address, or vllm_service_cluster_interface, for this host."


def group_address(
    found: Sequence[Mapping[str, Any]], address: str, interface: str
) -> tuple[str, str]:
    """(address, interface) of this host for services that span hosts.

    found: what the module host_info returns as `addresses`. address, interface: what variables say,
    or empty. Without them the interface of the default route counts, or the only one there is.

    Raises AscendError where that decides nothing, with the candidates, and for an address that is
    none.
    """
    if address and not _is_address(address):
        raise AscendError(
            f"vllm_service_cluster_address is {shown(address)}. An IPv4 address of this host is needed,"
            " such as 10.0.0.1, and no name."
        )
    if address and interface:
        return address, interface
    candidates = ", ".join(f"{each['address']} ({each['interface']})" for each in found)
    has = f"The host has {candidates}." if found else "The host shows no IPv4 address."
    if address or interface:
        for each in found:
            if address == each["address"] or interface == each["interface"]:
                return each["address"], each["interface"]
        name, value = ("address", address) if address else ("interface", interface)
        raise AscendError(
            f"vllm_service_cluster_{name} is {value}, which the host does not have as the first"
            f" address of an interface. {has} Correct it, or set both vllm_service_cluster_address"
            " and vllm_service_cluster_interface."
        )
    chosen = [each for each in found if each["default"]] or list(found)
    if len(chosen) != 1:
        raise AscendError(
            "which address the other hosts of a service reach this host at is not known: it has no"
            f" default route. {has} {_SET}"
        )
    return chosen[0]["address"], chosen[0]["interface"]


def _is_address(text: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(text)) == text
    except ValueError:
        return False
