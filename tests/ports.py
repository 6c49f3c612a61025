# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free ports for programs that tests start."""

from __future__ import annotations

import itertools
import os
import socket

# Not those that the kernel gives to outgoing connections, which would take a free one at any time; npu-exporter takes
# only these. Workers of pytest begin at different places.
FIRST, COUNT = 20000, 10000
_start = os.getpid() * 101 % COUNT
_PORTS = itertools.cycle(FIRST + (_start + number) % COUNT for number in range(COUNT))


def free_ports(count: int) -> list[int]:
    """Consecutive ports that nothing on this machine listens on, and that the next call does not return."""
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        if found and port != found[-1] + 1:
            found.clear()
        try:
            socket.create_server(("", port)).close()
        except OSError:
            found.clear()
        else:
            found.append(port)
    return found
