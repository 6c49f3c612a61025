# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guards of a group as real processes: together or not at all, after whatever ends."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from .group_members import Make, alive, wait_for


def test_engines_start_when_the_last_member_is_there(make: Make) -> None:
    first, second, third = group = make(3)
    first.start()
    first.shows("waiting for rank 1 (npu-02, 127.0.0.2) and rank 2 (npu-03, 127.0.0.3)")
    second.start()
    second.shows("waiting for rank 2 (npu-03, 127.0.0.3)")
    first.shows("waiting for rank 2 (npu-03, 127.0.0.3)")
    assert not first.engines() + second.engines()
    third.start()
    group.whole()
    for member in group:
        member.showed("all 3 members are here, starting")


def test_a_member_may_come_before_its_leader(make: Make) -> None:
    first, second = group = make()
    second.start()
    second.shows("waiting for rank 0 (npu-01, 127.0.0.1) since 20")
    second.shows("; no connection: Connection refused")
    first.start()
    group.whole()


def test_an_engine_gets_neither_the_secret_nor_the_priority_of_its_guard(make: Make) -> None:
    group = make()
    group[0].variables = {"NOTIFY_SOCKET": "/nowhere", "KEPT": "1"}
    group.start().whole()
    environment = Path(f"{group[0].pids}.env").read_text()
    assert "KEPT=1" in environment
    assert "INFEROPS_GROUP_SECRET" not in environment and "NOTIFY_SOCKET" not in environment
    assert os.getpriority(os.PRIO_PROCESS, group[0].running()[0]) == max(
        0, os.getpriority(os.PRIO_PROCESS, 0)
    )


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_systemd_is_told_the_status(make: Make, tmp_path: Path, abstract: bool) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind("\0" + name if abstract else name)
        notify.settimeout(60)
        first, second = make()
        first.variables["NOTIFY_SOCKET"] = "@" + name if abstract else name
        first.start()
        shown = notify.recv(4096)
        assert re.fullmatch(
            rb"STATUS=waiting for rank 1 \(npu-02, 127\.0\.0\.2\) since [0-9: -]{20}[+-][0-9]{4}",
            shown,
        )
        second.start()
        assert notify.recv(4096) == b"STATUS=all 2 members are here, starting"
        assert re.fullmatch(rb"STATUS=running since [-0-9]{10} [:0-9]{8} \S+", notify.recv(4096))


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("loser", [0, 1])
def test_an_engine_that_ends_ends_all_and_its_guard_alone(
    make: Make, size: int, loser: int
) -> None:
    group = make(size).start()
    group.whole()
    lost, others = group[loser], [member for member in group if member.rank != loser]
    os.kill(lost.running()[0], signal.SIGKILL)
    assert lost.ends() == 137
    for member in others:
        member.showed(f"the engine of rank {loser} (npu-0{loser + 1}) ended with status 137")
        member.shows(f"waiting for rank {loser} (npu-0{loser + 1}, 127.0.0.{loser + 1})")
        assert not member.running()
    lost.start()
    group.whole()
    assert [len(member.engines()) for member in group] == [2] * size
    assert all(member.process and member.process.poll() is None for member in others)


def test_an_engine_that_ends_with_0_has_failed_too(make: Make) -> None:
    group = make()
    group[1].script = 'echo $$ >> "$0"; while [ ! -e "$0.end" ]; do sleep 0.05; done'
    group.start().whole()
    Path(f"{group[1].pids}.end").touch()
    assert group[1].ends() == 1
    group[0].shows("waiting for rank 1")


def test_a_program_that_cannot_be_started_ends_the_guard_as_a_shell_would(make: Make) -> None:
    group = make()
    group[1].described["commands"] = [["/no/such/program"]]
    group.start()
    assert group[1].ends() == 127
    group[0].shows("waiting for rank 1")
    assert not group[1].engines()


@pytest.mark.parametrize("loser", [0, 1])
def test_a_guard_that_is_killed_is_noticed_and_may_come_back(make: Make, loser: int) -> None:
    group = make().start()
    group.whole()
    group[loser].remove()
    other = group[1 - loser]
    other.showed(f"lost rank {loser} (npu-0{loser + 1}): its connection ended")
    other.shows("; the engine was stopped")
    assert not other.running()
    group[loser].start()
    group.whole()


@pytest.mark.parametrize("loser", [0, 1])
def test_a_silent_peer_is_lost_and_taken_in_again(make: Make, loser: int) -> None:
    group = make().start()
    group.whole()
    group[loser].signal(signal.SIGSTOP)
    group[1 - loser].shows("no word for 3 s; the engine was stopped")
    assert not group[1 - loser].running()
    group[loser].signal(signal.SIGCONT)
    group.whole()
    assert [len(member.engines()) for member in group] == [2, 2]


def test_a_stopped_leader_keeps_the_engines_of_members_until_its_own_has_ended(make: Make) -> None:
    first, second = group = make()
    first.script = (
        'trap "while [ ! -e $0.end ]; do sleep 0.05; done; exit" TERM; echo $$ >> "$0";'
        " while :; do sleep 0.05; done"
    )
    group.start().whole()
    first.signal(signal.SIGTERM)
    second.shows("the leader npu-01 is being stopped; the engine runs until it has ended")
    assert second.running() and first.running()
    Path(f"{first.pids}.end").touch()
    assert first.ends() == 0
    second.shows("waiting for rank 0 (npu-01, 127.0.0.1)")
    assert not second.running()


def test_a_stopped_member_stops_the_leader_at_once(make: Make) -> None:
    group = make().start()
    group.whole()
    group[1].signal(signal.SIGTERM)
    assert group[1].ends() == 0
    group[0].shows("rank 1 (npu-02) was stopped; the engine was stopped")
    group[1].start()
    group.whole()


def test_a_guard_that_waits_stops_at_once(make: Make) -> None:
    group = make()
    for member in group:
        member.start()
        member.showed("waiting for")
        member.signal(signal.SIGTERM)
        assert member.ends() == 0


def test_an_engine_that_ignores_sigterm_is_killed(make: Make) -> None:
    group = make(stop_timeout=0.3)
    for member in group:
        member.script = 'trap "" TERM; echo $$ >> "$0"; while :; do sleep 0.05; done'
    group.start().whole()
    group[1].signal(signal.SIGTERM)
    assert group[1].ends() == 0
    group[0].shows("the engine was stopped")
    assert not group[0].running() + group[1].running()


def test_the_first_of_several_children_that_ends_ends_all(make: Make, tmp_path: Path) -> None:
    """As `ray start --block` beside the engine, and alone on the other member."""
    group = make()
    for member in group:
        ray = f"echo $$ > {tmp_path}/ray-{member.rank}; exec sleep 1000"
        member.described["commands"] = [["sh", "-c", ray]]
    group[1].described["only_commands"] = True
    group.start()
    for member in group:
        member.shows("running since")
    rays = [int(wait_for("ray", (tmp_path / f"ray-{rank}").read_text)) for rank in (0, 1)]
    wait_for("the leader's engine", group[0].running)
    assert not group[1].engines()
    os.kill(rays[0], signal.SIGKILL)
    assert group[0].ends() == 137
    assert not group[0].running()
    group[1].shows("waiting for rank 0")
    assert not alive(rays[1])


def test_what_children_leave_is_removed_before_the_next_start(make: Make, tmp_path: Path) -> None:
    group = make()
    group[0].described["cleanup"] = ["touch", str(tmp_path / "removed")]
    group.start().whole()
    group[1].remove()
    group[0].shows("; the engine was stopped")
    assert (tmp_path / "removed").exists()


def test_without_secret_or_settings_a_guard_ends_in_a_way_that_systemd_does_not_repeat(
    make: Make,
) -> None:
    group = make()
    group[0].secret = ""
    assert group[0].start().ends() == 78
    group[0].shows("INFEROPS_GROUP_SECRET is not set")
    del group[1].described["members"]
    assert group[1].start().ends() == 78
    group[1].shows("settings of the group: 'members' is missing")
