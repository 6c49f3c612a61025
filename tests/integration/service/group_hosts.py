# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts as members of a group under its guard, with a web server as the engine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.group_program import (
    group_program,
)

from ..hosts import HOSTS, command, inside, shell, started

UNIT = "vllm@chat"
PORT = 8000
LOST_AFTER = 10
PATIENCE = 180.0
SERVER = f"python3 -m http.server {PORT} --directory /usr/share/zoneinfo"


@dataclass
class Member:
    """One host of the group."""

    scenario: str
    host: str
    address: str

    def sh(self, script: str) -> str:
        return shell(self.scenario, self.host, script)

    def write(self, path: str, text: str) -> None:
        self.sh(f"mkdir -p {Path(path).parent}")
        enter = [sys.executable, str(HOSTS), "exec", self.scenario, self.host, "--"]
        subprocess.run([*enter, "sh", "-c", f"cat > {path}"], input=text.encode(), check=True)

    def show(self, key: str) -> str:
        return inside(self.scenario, self.host, "systemctl", "show", "-P", key, UNIT).stdout.strip()

    @property
    def status(self) -> str:
        return self.show("StatusText")

    @property
    def restarts(self) -> int:
        return int(self.show("NRestarts"))

    def serves(self) -> bool:
        connection = HTTPConnection(self.address, PORT, timeout=1)
        try:
            connection.request("GET", "/UTC")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def processes(self, name: str) -> int:
        """How many processes have this command."""
        return len(self.sh(f"pgrep -f '^{name}' || true").split())


def cut(member: Member, other: Member) -> None:
    command("cut", member.scenario, member.host, other.host)


def heal(member: Member, other: Member) -> None:
    command("heal", member.scenario, member.host, other.host)


def reboot(member: Member, other: Member) -> None:
    inside(member.scenario, member.host, "systemctl", "reboot")


def stop(member: Member, other: Member) -> None:
    member.sh(f"systemctl stop --no-block {UNIT}")


def start(member: Member, other: Member) -> None:
    member.sh(f"systemctl start {UNIT}")


def nothing(member: Member, other: Member) -> None:
    """It comes back by itself."""


Step = Callable[[Any, Any], None]


def wait_for(what: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> float:
    """Wait until a condition is true; return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not seen in {seconds:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def whole(group: list[Member]) -> float:
    """Wait until all members serve, each with one engine; return how many seconds that took."""
    took = wait_for(
        "all members serve",
        lambda: (
            all(member.serves() for member in group)
            and all(member.status.startswith("running since ") for member in group)
        ),
    )
    assert [member.processes(SERVER) for member in group] == [1] * len(group)
    return took


@contextmanager
def group_of_two(
    scenario: str, folder: Path, template: str, engine: str, **changes: Any
) -> Iterator[list[Member]]:
    """Two hosts with the unit of a template, whose engine is a script; nothing is started."""
    inventory = folder / "inventory.yml"
    with started(scenario, inventory, "--host", "npu-01:none", "--host", "npu-02:none"):
        found = yaml.safe_load(inventory.read_text())["all"]["hosts"]
        members = [
            Member(scenario, host, str(found[host]["ansible_host"])) for host in sorted(found)
        ]
        for rank, member in enumerate(members):
            described = {
                "protocol": 1,
                "service": "chat",
                "rank": rank,
                "port": 20000,
                "digest": "d1",
                "beat": 2,
                "lost_after": LOST_AFTER,
                "stop_timeout": 30,
                "members": [{"host": each.host, "address": each.address} for each in members],
                **changes,
            }
            member.write("/etc/systemd/system/vllm@.service", template)
            member.write("/usr/local/libexec/inferops/group-chat", group_program())
            member.write("/usr/local/bin/engine", engine)
            member.write("/etc/vllm/chat.group.json", json.dumps(described))
            member.write("/etc/vllm/chat.env", "INFEROPS_GROUP_SECRET=a-secret-of-the-group\n")
            member.sh(
                "chmod 600 /etc/vllm/chat.env; chmod 755 /usr/local/bin/engine;"
                f" useradd --system vllm; systemctl daemon-reload; systemctl enable {UNIT}"
            )
        yield members
