# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installations that are killed, and services of an engine that changes."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ..hosts import environment
from . import wheels
from .installs import OFFLINE, Host, address, small, ssh_options

pytestmark = pytest.mark.hosts


def test_a_service_is_restarted_by_the_next_deploy_when_current_has_moved(host: Host) -> None:
    def program() -> str:
        words = host.sh("tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID vllm@chat)/environ")
        return dict(line.split("=", 1) for line in words.splitlines() if "=" in line).get(
            "INFEROPS_PROGRAM", ""
        )

    chat = {"model": "Qwen3-14B", "name": "chat", "port": 8000}
    assert host.install("0.18.0", **small("0.18.0")).status == 0
    run = host.deploy(chat)
    assert (run.status, run.changed) == (0, 1), run.output  # services
    host.sh(
        "for i in $(seq 600); do curl -sf localhost:8000/health && exit 0; sleep 0.2; done; exit 1"
    )
    assert program() == "/opt/vllm/0.18.0/bin/vllm"
    pid = host.sh("systemctl show -P MainPID vllm@chat")
    assert host.deploy(chat).changed == 0

    name = "0.18.0-2"
    again = host.install("0.18.0", vllm_runtime_name=name, vllm_runtime_keep=0, **small("0.18.0"))
    assert again.status == 0, again.output
    # Nothing was restarted, and what it runs from is still there.
    assert host.sh("systemctl show -P MainPID vllm@chat") == pid
    assert host.folders() == ["0.18.0", "0.18.0-2", "current", "tools"]
    # Nor does a crash bring the other version, whose configuration is not there yet.
    host.sh("kill -9 $(systemctl show -P MainPID vllm@chat)")
    host.sh(
        f"for i in $(seq 600); do [ $(systemctl show -P MainPID vllm@chat) -ne 0 ] &&"
        f" [ $(systemctl show -P MainPID vllm@chat) -ne {int(pid)} ] && exit 0; sleep 0.2; done; exit 1"
    )
    host.sh(
        "for i in $(seq 600); do curl -sf localhost:8000/health && exit 0; sleep 0.2; done; exit 1"
    )
    assert program() == "/opt/vllm/0.18.0/bin/vllm"
    pid = host.sh("systemctl show -P MainPID vllm@chat")
    run = host.deploy(chat)
    assert (run.status, run.changed) == (0, 1), run.output
    assert host.sh("systemctl show -P MainPID vllm@chat") != pid
    host.sh(
        "for i in $(seq 600); do curl -sf localhost:8000/health && exit 0; sleep 0.2; done; exit 1"
    )
    assert program() == "/opt/vllm/0.18.0-2/bin/vllm"
    assert host.deploy(chat).changed == 0


def slow_wheels(host: Host) -> dict[str, Any]:
    """A wheel folder whose torch takes seconds to install."""
    host.sh("mkdir -p /srv && cp -r /wheels /srv/wheels")
    folder = host.folder / "slow"
    folder.mkdir()
    files = {f"torch/part{number}.py": f"x = {number}\n" for number in range(9000)}
    wheels.wheel(folder, "torch", "2.9.0", ["numpy"], files)
    subprocess.run(
        ["scp", "-q", *ssh_options(host), str(folder / "torch-2.9.0-py3-none-any.whl"), f"{address(host)}:/tmp/"],
        check=True,
    )  # fmt: skip
    host.sh("mv /tmp/torch-2.9.0-py3-none-any.whl /srv/wheels/")
    return {"vllm_runtime_wheels": "/srv/wheels"}


@pytest.mark.parametrize("survivor", [False, True], ids=["all killed", "uv survives"])
def test_a_run_that_is_killed_leaves_current_and_the_next_one_clears_up(
    host: Host, survivor: bool
) -> None:
    assert host.install("0.13.0", **small("0.13.0")).status == 0
    slow = slow_wheels(host)
    slow["vllm_runtime_row"] = {
        **small("0.18.0")["vllm_runtime_row"],
        "packages": {"torch": "==2.9.0"},
    }
    values = {**OFFLINE, "vllm_runtime_version": "0.18.0", **slow}
    running = subprocess.Popen(
        host.command(**values), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )  # fmt: skip
    try:
        host.sh(
            "for i in $(seq 1000); do ls /opt/vllm/0.18.0/lib/python3*/site-packages/torch/part1.py"
            " >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
        )
        # Whatever still writes keeps the next run waiting.
        children = "$children" if not survivor else ""
        lock = host.sh(
            "lock=/run/inferops-ascend/vllm_environment.lock; pid=$(cat $lock);"
            f' children=$(pgrep -P $pid); [ -n "$children" ] && kill -9 $pid {children};'
            f" flock {'--nonblock' if survivor else '--wait 10'} $lock true && echo free || echo held"
        )
        assert lock.strip() == ("held" if survivor else "free")
    finally:
        running.wait(timeout=300)
    assert running.returncode != 0
    assert host.current() == "0.13.0"
    assert not host.sh("ls /opt/vllm/0.18.0/.complete", check=False)

    # Another version's run takes away what is not finished.
    run = host.install("0.13.0", **small("0.13.0"))
    assert (run.status, run.result["removed"]) == (0, ["0.18.0"]), run.output
    assert host.folders() == ["0.13.0", "current", "tools"]
    run = host.install("0.18.0", **slow)
    assert run.status == 0, run.output
    assert host.current() == "0.18.0"
    assert "torch" in host.versions("0.18.0")
