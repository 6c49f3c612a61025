# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group of two real hosts under its guard: down when a part of it is lost, and back without help.

The engine here is a web server with a process that would outlive it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.group_program import (
    group_program,
)

from ..hosts import HOSTS, inside, scenario, shell, started

pytestmark = pytest.mark.hosts

NAME = scenario("group-guard")
UNIT = "vllm@chat"
PORT = 8000
LOST_AFTER = 10
PATIENCE = 180.0
ENGINE = f"""#!/bin/sh
setsid sleep 100000 &
exec python3 -m http.server {PORT} --directory /usr/share/zoneinfo
"""
TEMPLATE = """[Unit]
StartLimitIntervalSec=7200
StartLimitBurst=5

[Service]
Type=exec
User=vllm
NotifyAccess=main
Nice=-5
EnvironmentFile=/etc/vllm/%i.env
ExecStart=/bin/bash -c 'exec /usr/bin/python3 /usr/local/libexec/inferops/group-%i /etc/vllm/%i.group.json -- /usr/local/bin/engine'
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec=40
DevicePolicy=closed
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateTmp=yes
ProtectSystem=full
ProtectHome=read-only
ProtectControlGroups=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
"""


@dataclass
class Member:
    """One host of the group."""

    host: str
    address: str

    def sh(self, script: str) -> str:
        return shell(NAME, self.host, script)

    def show(self, key: str) -> str:
        return inside(NAME, self.host, "systemctl", "show", "-P", key, UNIT).stdout.strip()

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

    def processes(self) -> int:
        return len(self.sh("pgrep -u vllm -x sleep || true").split())


def wait_for(what: str, condition: Callable[[], Any]) -> float:
    """Wait until a condition is true; return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE, f"not seen in {PATIENCE:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def hosts(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(HOSTS), *words], stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    if os.geteuid() != 0:
        pytest.skip("test hosts need root")
    inventory = tmp_path_factory.mktemp("group") / "inventory.yml"
    with started(NAME, inventory, "--host", "npu-01:none", "--host", "npu-02:none"):
        found = yaml.safe_load(inventory.read_text())["all"]["hosts"]
        members = [Member(host, str(found[host]["ansible_host"])) for host in sorted(found)]
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
            }
            files = {
                "/etc/systemd/system/vllm@.service": TEMPLATE,
                "/usr/local/libexec/inferops/group-chat": group_program(),
                "/usr/local/bin/engine": ENGINE,
                "/etc/vllm/chat.group.json": json.dumps(described),
                "/etc/vllm/chat.env": "INFEROPS_GROUP_SECRET=a-secret-of-the-group\n",
            }
            for path, text in files.items():
                write(member, path, text)
            member.sh(
                "chmod 600 /etc/vllm/chat.env; chmod 755 /usr/local/bin/engine;"
                f" useradd --system vllm; systemctl daemon-reload; systemctl enable {UNIT}"
            )
        yield members


def write(member: Member, path: str, text: str) -> None:
    member.sh(f"mkdir -p {Path(path).parent}")
    done = subprocess.run(
        [sys.executable, str(HOSTS), "exec", NAME, member.host, "--", "sh", "-c", f"cat > {path}"],
        input=text.encode(),
        check=False,
    )
    assert done.returncode == 0


def whole(group: list[Member]) -> float:
    """Wait until all members serve, each with one engine; return how many seconds that took."""
    took = wait_for(
        "all members serve",
        lambda: (
            all(member.serves() for member in group)
            and all(member.status.startswith("running since ") for member in group)
        ),
    )
    assert [member.processes() for member in group] == [1, 1]
    return took


@pytest.fixture
def serving(group: list[Member]) -> list[Member]:
    """The group, with all members started and the counts of starts at 0."""
    for member in group:
        member.sh(f"systemctl reset-failed {UNIT} || true; systemctl start {UNIT}")
    whole(group)
    return group


def kill_engine(member: Member, other: Member) -> None:
    member.sh("pkill -KILL -u vllm -f http.server")


def kill_guard(member: Member, other: Member) -> None:
    member.sh(f"kill -KILL {member.show('MainPID')}")


def cut(member: Member, other: Member) -> None:
    assert hosts("cut", NAME, member.host, other.host).wait() == 0


def reboot(member: Member, other: Member) -> None:
    hosts("reboot", NAME, member.host)


def stop(member: Member, other: Member) -> None:
    member.sh(f"systemctl stop --no-block {UNIT}")


def heal(member: Member, other: Member) -> None:
    assert hosts("heal", NAME, member.host, other.host).wait() == 0


def start(member: Member, other: Member) -> None:
    member.sh(f"systemctl start {UNIT}")


def nothing(member: Member, other: Member) -> None:
    """It comes back by itself."""


Step = Callable[[Member, Member], None]
EVENTS: dict[str, tuple[Step, Step, int, str]] = {
    # what happens, what brings it back, starts that the member uses up, what the other one shows
    "engine killed": (kill_engine, nothing, 1, "the engine of {peer} ended with status 137"),
    "guard killed": (kill_guard, nothing, 1, "lost {peer}: its connection ended"),
    "network cut": (cut, heal, 0, f"lost {{peer}}: no word for {LOST_AFTER} s"),
    "host rebooted": (reboot, nothing, 0, "{peer} was stopped"),
    "stopped and started": (stop, start, 0, "{peer} was stopped"),
}


@pytest.mark.parametrize("rank", [0, 1], ids=["leader", "member"])
@pytest.mark.parametrize("event", EVENTS)
def test_a_group_is_down_and_whole_again(
    serving: list[Member], event: str, rank: int, capsys: pytest.CaptureFixture[str]
) -> None:
    happens, back, starts, shows = EVENTS[event]
    member, other = serving[rank], serving[1 - rank]
    before, restarts = other.show("MainPID"), member.restarts
    first = other.sh(f"journalctl -q -u {UNIT} -n 1 -o export | sed -n 's/^__CURSOR=//p'").strip()

    began = time.monotonic()
    happens(member, other)
    wait_for("the other engine is stopped", lambda: not other.serves())
    noticed = time.monotonic() - began
    waiting = f"waiting for rank {rank} ({member.host}, {member.address}"
    if back is not nothing:
        wait_for("who is missing", lambda: other.status.startswith(waiting))
        assert other.processes() == 0
    back(member, other)
    returned = time.monotonic()
    whole(serving)
    with capsys.disabled():
        print(
            f"\n{event}, {'member' if rank else 'leader'}: other engine stopped after {noticed:.1f} s,"
            f" whole again {time.monotonic() - began:.1f} s after the event"
            f" ({time.monotonic() - returned:.1f} s after it could be)"
        )

    journal = other.sh(f"journalctl -q -u {UNIT} --after-cursor='{first}' -o cat")
    peer = f"rank {rank} ({member.host})"
    assert shows.format(peer=peer) in journal, journal
    assert re.search(re.escape(waiting), journal), journal
    assert noticed < 15
    assert (other.show("MainPID"), other.restarts) == (before, 0)
    assert member.restarts - restarts == starts


def test_a_member_with_other_settings_starts_nothing_and_is_named(serving: list[Member]) -> None:
    first, second = serving
    second.sh(f'systemctl stop {UNIT}; sed -i \'s/"d1"/"d2"/\' /etc/vllm/chat.group.json')
    second.sh(f"systemctl start {UNIT}")
    try:
        named = f"{second.address} (npu-02) has other settings"
        wait_for("the leader names it", lambda: named in first.status)
        refused = "the leader npu-01 refuses: other settings than the leader"
        wait_for("the member says it", lambda: refused in second.status)
        assert "has other settings" in first.sh(f"systemctl status {UNIT}")
        assert [member.processes() for member in serving] == [0, 0]
        assert [member.restarts for member in serving] == [0, 0]
    finally:
        second.sh('sed -i \'s/"d2"/"d1"/\' /etc/vllm/chat.group.json')
    second.sh(f"systemctl restart {UNIT}")
    whole(serving)


def test_a_guard_answers_before_its_engine_and_guards_its_secret(serving: list[Member]) -> None:
    member = serving[1]
    engine = member.sh("pgrep -u vllm -f http.server").strip()
    nice = member.sh(f"ps -o ni= -p {member.show('MainPID')},{engine}").split()
    assert sorted(nice) == ["-5", "0"]
    assert "INFEROPS_GROUP_SECRET" not in member.sh(f"cat /proc/{engine}/environ")
