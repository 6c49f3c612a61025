# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free ports for programs that tests start."""

from __future__ import annotations

import itertools
import socket
from functools import cache

# Not those that the kernel gives to outgoing connections, which would take a free one at any time; npu-exporter takes
# only these.
FIRST, BLOCKS, SIZE = 20000, 20, 500


@cache
def _ports() -> tuple[socket.socket, itertools.cycle[int]]:
    """The ports of a block that no other process of tests uses, with what keeps others out while this one lives."""
    for block in range(BLOCKS):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0inferops-test-ports-{block}")
        except OSError:
            claim.close()
        else:
            begin = FIRST + block * SIZE
            return claim, itertools.cycle(range(begin, begin + SIZE))
    raise AssertionError(f"{BLOCKS} processes of tests run at once: each needs ports of its own")


def free_ports(count: int) -> list[int]:
    """Consecutive ports that nothing on this machine listens on, and that the next call does not return."""
    _claim, ports = _ports()
    found: list[int] = []
    while len(found) < count:
        port = next(ports)
        if found and port != found[-1] + 1:
            found.clear()
        with socket.socket() as here:
            # Without SO_REUSEADDR, as some programs do: a connection that ended a minute ago keeps them out.
            try:
                here.bind(("", port))
            except OSError:
                found.clear()
            else:
                found.append(port)
    return found
