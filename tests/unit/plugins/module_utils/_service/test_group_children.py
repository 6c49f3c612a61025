# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a member: which control group is the unit's, and in which order children end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service.group_children import (
    Children,
    processes,
    unit_directory,
)

from .group_members import wait_for

UNIT = "/system.slice/system-vllm.slice/vllm@chat.service"
HYBRID = f"5:memory:{UNIT}\n1:name=systemd:{UNIT}\n0::{UNIT}\n"


@pytest.mark.parametrize(
    "text, there, found",
    [
        (HYBRID, ["systemd", "unified"], "systemd"),
        (HYBRID, ["unified"], "unified"),
        (f"0::{UNIT}\n", [""], ""),
        (f"0::{UNIT}/supervisor\n", [""], None),
        (f"0::{UNIT.replace('chat', 'other')}\n", [""], None),
        ("0::/user.slice/user-0.slice/session-1.scope\n", [""], None),
        ("0::/\n", [""], None),
        ("", [""], None),
    ],
)
def test_only_the_unit_of_the_service_is_a_control_group_to_kill(
    tmp_path: Path, text: str, there: list[str], found: str | None
) -> None:
    for folder in there:
        for line in text.splitlines():
            os.makedirs(
                os.path.join(tmp_path, folder, line.split(":")[2].lstrip("/")), exist_ok=True
            )
    wanted = None if found is None else os.path.join(tmp_path, found, UNIT.lstrip("/"))
    assert unit_directory(text, "chat", str(tmp_path)) == wanted


def test_processes_below_the_unit_are_found_and_this_one_is_not(tmp_path: Path) -> None:
    inner = tmp_path / "libpod-payload-1" / "container"
    inner.mkdir(parents=True)
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n11\n")
    (inner / "cgroup.procs").write_text("12\n0\n")
    assert processes(str(tmp_path)) == {11, 12}


def test_the_engine_ends_before_what_was_started_for_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = 'trap "echo $1 >> $0; exit" TERM; touch "$0.$1"; while :; do sleep 0.05; done'
    commands = [["sh", "-c", script, str(log), name] for name in ("ray", "engine")]
    children = Children(commands, [], dict(os.environ), None)
    children.start()
    wait_for("both run", lambda: len(list(tmp_path.glob("log.*"))) == 2)
    assert children.ended() is None
    children.terminate()
    wait_for("both have ended", children.gone)
    assert log.read_text() == "engine\nray\n"
    assert not children.gone()
