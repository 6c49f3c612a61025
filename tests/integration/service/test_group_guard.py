# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group of two real hosts under its guard: down when a part of it is lost, and back without help."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.hardening import (
    hardening_lines,
)

from ..hosts import scenario
from .group_hosts import (
    LOST_AFTER,
    SERVER,
    UNIT,
    Member,
    Step,
    cut,
    group_of_two,
    heal,
    nothing,
    reboot,
    start,
    stop,
    wait_for,
    whole,
)

pytestmark = pytest.mark.hosts

NAME = scenario("group-guard")
# A process in a session of its own would outlive the engine.
ENGINE = f"#!/bin/sh\nsetsid sleep 100000 &\nexec {SERVER}\n"
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
@HARDENING@

[Install]
WantedBy=multi-user.target
""".replace("@HARDENING@", "\n".join(hardening_lines({})))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    if os.geteuid() != 0:
        pytest.skip("test hosts need root")
    with group_of_two(NAME, tmp_path_factory.mktemp("group"), TEMPLATE, ENGINE) as members:
        yield members


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
        assert other.processes("sleep") == 0
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
    assert waiting in journal, journal
    assert noticed < 15
    assert (other.show("MainPID"), other.restarts) == (before, 0)
    assert member.restarts - restarts == starts
    assert [each.processes("sleep") for each in serving] == [1, 1]


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
        assert [member.processes("sleep") for member in serving] == [0, 0]
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
