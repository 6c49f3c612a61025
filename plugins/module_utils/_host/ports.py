# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports of a host. Paths are below `root`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .files import read
from .processes import command_of, pids, unit_of

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp, include/net/tcp_states.h of Linux
_SOCKET = re.compile(r"socket:\[([0-9]+)\]\Z")


def listening(root: Path) -> list[dict[str, Any]]:
    """TCP ports somebody listens on, ascending: {port, pid, command, unit}; unknown is None.

    Who listens is seen as root only. A port of several sockets (IPv4 and IPv6) is one entry.
    """
    inodes: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        for line in (read(root / "proc/net" / table) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                inodes[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    holders = _holders(root, set(inodes))
    ports: dict[int, int | None] = {}
    for inode, port in inodes.items():
        ports[port] = ports.get(port) or holders.get(inode)
    return [
        {
            "port": port,
            "pid": pid,
            "command": command_of(root, pid) if pid else None,
            "unit": unit_of(root, pid) if pid else None,
        }
        for port, pid in sorted(ports.items())
    ]


def _holders(root: Path, inodes: set[str]) -> dict[str, int]:
    """The first process of each socket."""
    found: dict[str, int] = {}
    for pid in pids(root):
        if len(found) == len(inodes):
            break
        directory = root / "proc" / str(pid) / "fd"
        try:
            names = os.listdir(str(directory))
        except OSError:
            continue
        for name in names:
            try:
                match = _SOCKET.match(os.readlink(str(directory / name)))
            except OSError:
                continue
            if match and match.group(1) in inodes:
                found.setdefault(match.group(1), pid)
    return found


def ephemeral_ports(root: Path) -> list[int] | None:
    """net.ipv4.ip_local_port_range, [first, last]; None where it cannot be read."""
    text = read(root / "proc/sys/net/ipv4/ip_local_port_range") or ""
    ends = [int(part) for part in text.split() if part.isdigit()]
    return ends if len(ends) == 2 else None
