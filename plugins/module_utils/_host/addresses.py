# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The IPv4 addresses of a host, by interface."""

from __future__ import annotations

import fcntl
import socket
import struct
from pathlib import Path
from typing import Any

from .files import read

_SIOCGIFADDR = 0x8915  # netdevice(7): the first address of an interface
_NAME_MAX = 15  # bytes of an interface's name


def addresses(root: Path) -> list[dict[str, Any]]:
    """[{interface, address, default}] of each interface but the loopback, by name.

    default: the default route leads through it. An interface without an address is left out.
    """
    default = default_interface(read(root / "proc/net/route") or "")
    found = []
    for name in sorted(name for _index, name in socket.if_nameindex() if name != "lo"):
        address = _address(name)
        if address:
            found.append({"interface": name, "address": address, "default": name == default})
    return found


def default_interface(routes: str) -> str | None:
    """The interface of the default route with the lowest metric in /proc/net/route's text."""
    found = []
    for line in routes.splitlines()[1:]:
        words = line.split()
        if len(words) >= 8 and words[1] == "00000000" and words[7] == "00000000":
            found.append((int(words[6]) if words[6].isdigit() else 0, words[0]))
    return min(found)[1] if found else None


def _address(interface: str) -> str | None:
    request = struct.pack("256s", interface.encode()[:_NAME_MAX])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])
