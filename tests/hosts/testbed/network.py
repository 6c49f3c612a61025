# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts and heals the network between two hosts of a scenario."""

from __future__ import annotations

from .machine import Podman, run
from .scenario import Host


def first_process(podman: Podman, host: Host) -> str:
    """The id of a host's first process on this machine."""
    return podman("inspect", "--format", "{{.State.Pid}}", host.container).stdout.strip()


def drop(podman: Podman, host: Host, other: Host, verb: str, check: bool = True) -> bool:
    """Add (`-I`) or remove (`-D`) the rule that a host takes nothing from another one."""
    command = ["nsenter", "--target", first_process(podman, host), "--net"]
    command += ["iptables", "-w", verb, "INPUT", "-s", other.address, "-j", "DROP"]
    return run(command, check=check).returncode == 0


def cut(podman: Podman, host: Host, other: Host, one_way: bool = False) -> None:
    """Let nothing arrive at a host from another one, nor, unless one way, the reverse.

    No end of a connection is told of it, as when a cable is pulled.
    """
    drop(podman, host, other, "-I")
    if not one_way:
        drop(podman, other, host, "-I")


def heal(podman: Podman, host: Host, other: Host) -> None:
    """Undo every cut between two hosts; fine when there is none."""
    for here, there in ((host, other), (other, host)):
        while drop(podman, here, there, "-D", check=False):
            pass
