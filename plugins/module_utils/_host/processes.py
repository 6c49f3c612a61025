# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Processes of a host: their units, commands and ports. Paths are below `root`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .._base.reading import OutOfBounds, read_bytes
from .._base.text import one_line
from .files import read

_UNIT = re.compile(r".\.(?:service|scope)\Z", re.DOTALL)
# The control group of a container, of systemd's making or the engine's own, ends with its id.
_CONTAINER = re.compile(r"[/-][0-9a-f]{64}(?:\.scope)?(?:/|$)", re.MULTILINE)
# The configuration of a service, as mounted into its container, and nothing after the name.
_MOUNTED = re.compile(
    r"^(?:\S+ ){4}/etc/vllm/([a-zA-Z0-9][a-zA-Z0-9._-]{0,62})\.yaml ", re.MULTILINE
)
_COMMAND_LIMIT = 80
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp, include/net/tcp_states.h of Linux
_SOCKET = re.compile(r"socket:\[([0-9]+)\]\Z")
_PYTHON_SWITCHES = frozenset(("-m", "-B", "-E", "-I", "-O", "-P", "-s", "-S", "-u"))


def pids(root: Path) -> list[int]:
    try:
        names = [path.name for path in (root / "proc").iterdir()]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdigit())


def command_of(root: Path, pid: int) -> str | None:
    """The start of a process's command line, up to its first option; None if it cannot be seen.

    What follows options may be a secret. Python's `-m MODULE` and its switches are kept, for the
    program's name follows them.
    """
    try:
        raw = read_bytes(root / "proc" / str(pid) / "cmdline")
    except (OSError, OutOfBounds):
        return None
    words = [word.decode("utf-8", "replace") for word in raw.split(b"\0") if word]
    kept: list[str] = []
    python = bool(words) and words[0].rpartition("/")[2].startswith("python")
    for number, word in enumerate(words):
        if python and number and word in _PYTHON_SWITCHES:
            kept.append(word)
            continue
        if word.startswith("-") or (number > 0 and "=" in word):
            break
        python = python and not number
        kept.append(word)
    return one_line(" ".join(kept), _COMMAND_LIMIT) or None


def unit_in_cgroup(text: str) -> str | None:
    """The innermost *.service or *.scope in the text of a /proc/PID/cgroup, or None.

    Read are the line of cgroup v2 (`0::/...`) and the hierarchy `name=systemd` of v1, never
    those of controllers: container engines nest these as they like.
    """
    paths: list[str] = []
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        if parts[1] == "name=systemd" or (parts[0] == "0" and not parts[1]):
            paths.append(parts[2])
    for path in paths:
        for component in reversed(path.split("/")):
            # systemd writes a leading `_` before names that a controller's file could have.
            name = component[1:] if component.startswith("_") else component
            if _UNIT.search(name):
                return name
    return None


def unit_of(root: Path, pid: int) -> str | None:
    """The systemd unit that owns a process; None if there is none or the pid is not visible.

    Containers of docker are below docker's control groups and not below the unit that started
    them. Such a process belongs to the service whose configuration is mounted where it is: unlike
    its environment, that can neither be written over by a title nor be set by the process itself.
    """
    text = read(root / "proc" / str(pid) / "cgroup")
    if not text:
        return None
    unit = unit_in_cgroup(text)
    if (unit is None or unit.endswith(".scope")) and _CONTAINER.search(text):
        mounted = _MOUNTED.search(read(root / "proc" / str(pid) / "mountinfo") or "")
        if mounted:
            return f"vllm@{mounted.group(1)}.service"
    return unit


def _is_seen_as(root: Path, pid: int, inner: int) -> bool:
    """Whether /proc/`pid` is a process that its own container knows as `inner`."""
    for line in (read(root / "proc" / str(pid) / "status") or "").splitlines():
        if line.startswith("NSpid:"):
            return line.split()[-1:] == [str(inner)]
    return False


def process_unit(root: Path, pid: int, container_pid: int | None) -> str | None:
    """The unit of a process of npu-smi's table; None if it is not visible from here.

    container_pid: the column `Process id in container` of newer drivers. With it, a process of
    ours that only happens to have the host's number is not taken for the one that is meant.
    """
    if container_pid is None:
        return unit_of(root, pid)
    for candidate in (pid, container_pid):
        if _is_seen_as(root, candidate, container_pid):
            return unit_of(root, candidate)
    return None


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
