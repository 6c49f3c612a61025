# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._host import processes

from .hosts import put

ROOT = Path("/")


def test_who_listens_on_a_port_of_this_machine() -> None:
    with socket.socket() as server, socket.socket(socket.AF_INET6) as six, socket.socket() as idle:
        server.bind(("127.0.0.1", 0))
        server.listen()
        six.bind(("::1", 0))
        six.listen()
        idle.bind(("127.0.0.1", 0))
        found = {entry["port"]: entry for entry in processes.listening(ROOT)}
        for each in (server, six):
            assert found[each.getsockname()[1]]["pid"] == os.getpid()
        assert idle.getsockname()[1] not in found, "bound is not listening"
        command = found[server.getsockname()[1]]["command"]
    assert "python" in command or "pytest" in command


def test_a_port_of_a_child_is_the_childs() -> None:
    code = "import socket,sys;s=socket.create_server(('127.0.0.1',0));print(s.getsockname()[1],flush=True);sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        entry = next(each for each in processes.listening(ROOT) if each["port"] == port)
        assert entry["pid"] == child.pid
        child.communicate("")


def test_the_range_that_the_kernel_gives_away(tmp_path: Path) -> None:
    put(tmp_path, "proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    assert processes.ephemeral_ports(tmp_path) == [32768, 60999]
    assert processes.ephemeral_ports(tmp_path / "none") is None
