# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units and commands of processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import processes

from .hosts import process, put


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/vllm@chat.service\n", "vllm@chat.service"),
        ("0::/system.slice/system-vllm.slice/vllm@a.b.service/worker\n", "vllm@a.b.service"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/job.service\n",
            "job.service",
        ),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        (
            "12:devices:/docker/other.service\n1:name=systemd:/system.slice/vllm@x.service\n0::/\n",
            "vllm@x.service",
        ),
        ("0::/system.slice/_memory.service\n", "memory.service"),
        ("0::/\n", None),
        ("0::/kubepods/burstable/pod1/abc\n", None),
        ("4:cpu:/system.slice/a.service\n", None),
        ("0::/system.slice/.service\n", None),
        ("nonsense\n", None),
        ("", None),
    ],
)
def test_unit_in_cgroup(cgroup: str, unit: str | None) -> None:
    assert processes.unit_in_cgroup(cgroup) == unit


def test_unit_of_this_process_and_of_one_that_is_not_there() -> None:
    text = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    here = processes.unit_of(Path("/"), os.getpid())
    assert here == processes.unit_in_cgroup(text)
    assert processes.unit_of(Path("/"), 2**22 + 1) is None


def test_unit_of_a_process_in_a_container(tmp_path: Path) -> None:
    def process(pid: int, nspid: str, unit: str) -> None:
        put(tmp_path, f"proc/{pid}/status", f"Name:\tpython\nNSpid:\t{nspid}\n")
        put(tmp_path, f"proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")

    process(5000, "5000\t17", "docker-1.scope")
    process(17, "17", "cron.service")
    assert processes.process_unit(tmp_path, 5000, 17) == "docker-1.scope"
    assert processes.process_unit(tmp_path, 5000, None) == "docker-1.scope"
    # Seen from inside: the host's number 9000 is not ours, 17 is.
    process(9000, "9000", "other.service")
    assert processes.process_unit(tmp_path, 9000, 17) == "cron.service"
    assert processes.process_unit(tmp_path, 9000, 18) is None


CONTAINER = "e31d" * 16
# As docker 20.10 has it; what is after the mount point differs by file system.
MOUNTS = (
    "148 147 0:43 / / rw,relatime - overlay overlay rw\n"
    "171 148 0:43 /etc/vllm/chat.yaml//deleted {} ro,relatime - overlay overlay rw,lowerdir=/x\n"
)


@pytest.mark.parametrize(
    ("cgroup", "mounted", "unit"),
    [
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", "chat", "vllm@chat.service"),
        (
            f"1:name=systemd:/docker/{CONTAINER}\n0::/docker/{CONTAINER}\n",
            "a.b",
            "vllm@a.b.service",
        ),
        (f"0::/docker/{CONTAINER}/nested\n", "chat", "vllm@chat.service"),
        # Somebody else's container; a service's mount seen from no container; podman's own.
        (f"0::/docker/{CONTAINER}\n", None, None),
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", None, f"docker-{CONTAINER}.scope"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "chat", "session-3.scope"),
        ("0::/\n", "chat", None),
        (f"0::/system.slice/vllm@own.service/libpod-{CONTAINER}\n", "chat", "vllm@own.service"),
    ],
)
def test_unit_of_a_process_beneath_dockers_own_groups(
    tmp_path: Path, cgroup: str, mounted: str | None, unit: str | None
) -> None:
    put(tmp_path, "proc/7/cgroup", cgroup)
    place = f"/etc/vllm/{mounted}.yaml" if mounted else "/srv/etc/vllm/chat.yaml"
    put(tmp_path, "proc/7/mountinfo", MOUNTS.format(place))
    assert processes.unit_of(tmp_path, 7) == unit


def test_a_command_line_is_cut_before_it_can_hold_a_secret(tmp_path: Path) -> None:
    for command, shown in (
        ("python3 train.py --api-key s3cret", "python3 train.py"),
        (
            "python3 -m vllm.entrypoints.openai.api_server --port 1",
            "python3 -m vllm.entrypoints.openai.api_server",
        ),
        ("env TOKEN=s3cret python3", "env"),
        ("/usr/bin/python3 -B -u serve.py -u root", "/usr/bin/python3 -B -u serve.py"),
        ("/usr/bin/python3 -c print", "/usr/bin/python3"),
        ("mysql -u s3cret", "mysql"),
        ("/bin/sh -c curl", "/bin/sh"),
        ("x" * 200, "x" * 77 + "..."),
    ):
        process(tmp_path, 7, "a.service", command=command)
        assert processes.command_of(tmp_path, 7) == shown
    assert processes.command_of(tmp_path, 8) is None
    put(tmp_path, "proc/9/cmdline", "")
    assert processes.command_of(tmp_path, 9) is None, "a thread of the kernel"
