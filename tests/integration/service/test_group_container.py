# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group whose engines run in containers: the child of the guard is podman's client."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ..hosts import scenario
from .group_hosts import SERVER, UNIT, Member, group_of_two, wait_for, whole

pytestmark = pytest.mark.hosts

NAME = scenario("group-container")
REMOVE = ["podman", "rm", "--force", "--ignore", "--time", "0", "vllm-chat"]
# An image with nothing in it; the host's /usr is mounted.
IMAGE = """set -e
mkdir -p /tmp/image/usr /tmp/image/tmp /tmp/image/etc
for link in bin sbin lib lib64; do ln -sfn usr/$link /tmp/image/$link; done
tar -C /tmp/image -cf - . | podman import - localhost/engine:one
"""
ENGINE = f"""#!/bin/sh
exec podman --events-backend=none run --rm --name=vllm-chat --pull=never --network=host \
 --pids-limit=-1 --log-driver=none --cgroups=split --sdnotify=ignore \
 --mount=type=bind,source=/usr,target=/usr,readonly localhost/engine:one {SERVER}
"""
TEMPLATE = f"""[Unit]
StartLimitIntervalSec=7200
StartLimitBurst=5

[Service]
Type=exec
NotifyAccess=main
Nice=-5
Delegate=yes
EnvironmentFile=/etc/vllm/%i.env
ExecStartPre=-{" ".join(REMOVE)}
ExecStart=/usr/bin/python3 /usr/local/libexec/inferops/group-%i /etc/vllm/%i.group.json -- /usr/local/bin/engine
ExecStopPost=-{" ".join(REMOVE)}
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec=40

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    if os.geteuid() != 0:
        pytest.skip("test hosts need root")
    folder = tmp_path_factory.mktemp("group")
    with group_of_two(NAME, folder, TEMPLATE, ENGINE, cleanup=REMOVE) as members:
        for member in members:
            member.sh(IMAGE)
        for member in members:
            member.sh(f"systemctl start {UNIT}")
        yield members


def container(member: Member) -> str:
    return member.sh("podman ps --all --quiet").strip()


@pytest.mark.parametrize("rank", [0, 1], ids=["leader", "member"])
@pytest.mark.parametrize("what", ["server", "client"])
def test_a_container_that_ends_ends_all_and_none_is_left(
    group: list[Member], what: str, rank: int
) -> None:
    whole(group)
    member, other = group[rank], group[1 - rank]
    before = other.show("MainPID"), other.restarts
    restarts, old = member.restarts, container(other)
    pattern = f"^{SERVER}" if what == "server" else "^podman .*run"
    member.sh(f"pkill -KILL -f '{pattern}'")
    wait_for("the other engine is stopped", lambda: not other.serves())
    wait_for("the guard is started again", lambda: member.restarts == restarts + 1)
    whole(group)
    assert (other.show("MainPID"), other.restarts) == before
    assert container(other) not in ("", old)
    assert len(container(member).split()) == 1


def test_a_stop_leaves_no_container_and_the_other_waits_without_one(group: list[Member]) -> None:
    whole(group)
    first, second = group
    second.sh(f"systemctl stop {UNIT}")
    wait_for("it waits", lambda: first.status.startswith("waiting for rank 1 (npu-02"))
    assert [container(member) for member in group] == ["", ""]
    assert second.show("Result") == "success"
    second.sh(f"systemctl start {UNIT}")
    whole(group)
