# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of services: what one service can do to another, and how a host comes to have them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .role import Host

pytestmark = pytest.mark.hosts

CHAT: dict[str, Any] = {"model": "Qwen3-0.6B", "name": "chat", "api_key": "opensesame"}
OTHER: dict[str, Any] = {"model": "Qwen3-1.7B", "name": "other"}
# What code in a service could do to the process of another: sys.argv has its PID and state directory.
ATTACK = r"""
import ctypes, json, os, sys
victim, state = int(sys.argv[1]), sys.argv[2]
done = []
try:
    if b"opensesame" in open(f"/proc/{victim}/environ", "rb").read():
        done.append("read its key")
except OSError:
    pass
try:
    os.kill(victim, 0)
    done.append("signal it")
except OSError:
    pass
kernel = ctypes.CDLL(None, use_errno=True)
pidfd = kernel.syscall(434, victim, 0)  # pidfd_open
for number in range(64):
    taken = kernel.syscall(438, pidfd, number, 0)  # pidfd_getfd
    if taken >= 0 and os.readlink(f"/proc/self/fd/{taken}").startswith("/dev/davinci"):
        done.append("take its card")
        break
try:
    os.listdir(state)
    done.append("enter its state")
except OSError:
    pass
print(json.dumps(done))
"""


def attack(host: Host, name: str, victim: str) -> list[str]:
    """What a process with the rights and the view of service `name` can do to `victim`."""
    pid = host.pid(name)
    host.sh(f"cat > /usr/local/bin/attack.py <<'EOF'\n{ATTACK}\nEOF")
    user = host.sh(f"ps -o user:40= -p {pid}").strip()
    found = host.sh(
        f"nsenter -t {pid} -m setpriv --reuid={user} --regid=$(id -g {user}) --groups=HwHiAiUser"
        f" --bounding-set=-all /usr/bin/python3 /usr/local/bin/attack.py {host.pid(victim)}"
        f" /var/lib/vllm-services/{victim}"
    )
    done: list[str] = json.loads(found)
    return done


def starts(host: Host, name: str) -> int:
    """How often the host's systemd has started the unit, by its journal."""
    lines = host.sh(f"journalctl -q -o cat -u vllm@{name} | grep -c '^Started' || true")
    return int(lines)


def test_from_one_user_for_all_to_one_for_each_with_one_restart(host: Host) -> None:
    run = host.deploy([CHAT, OTHER], vllm_service_user="vllm")
    assert run.status == 0, run.output
    host.wait_until_serving(8000, "opensesame")
    host.wait_until_serving(8001)
    assert host.sh(f"ps -o user= -p {host.pid('chat')},{host.pid('other')}").split() == ["vllm"] * 2
    # What one user for all means, and that this test sees it.
    assert {"read its key", "signal it", "enter its state"} <= set(attack(host, "other", "chat"))
    before = starts(host, "chat"), starts(host, "other")

    check = host.deploy([CHAT, OTHER], "--check", "--diff")
    assert "+vllm-chat is created" in check.output, check.output
    assert "vllm-chat" not in host.sh("cat /etc/passwd")
    run = host.deploy([CHAT, OTHER])
    assert run.status == 0, run.output
    assert [each["action"] for each in run.result["services"]] == ["restart"] * 2
    host.wait_until_serving(8000, "opensesame")
    host.wait_until_serving(8001)
    assert (starts(host, "chat"), starts(host, "other")) == (before[0] + 1, before[1] + 1)
    users = host.sh(f"ps -o user:32=,supgrp:64= -p {host.pid('chat')},{host.pid('other')}").split()
    assert users == [
        *("vllm-chat", "vllm-chat,HwHiAiUser"),
        *("vllm-other", "vllm-other,HwHiAiUser"),
    ]
    assert host.sh("stat -c '%a %U' /var/lib/vllm-services/*") == "700 vllm-chat\n700 vllm-other\n"
    assert attack(host, "other", "chat") == []
    assert not host.deploy([CHAT, OTHER]).changed

    # A service that goes takes its user and state with it, and nothing of the others.
    run = host.deploy([OTHER])
    assert run.result["accounts"] == [{"name": "vllm-chat", "action": "is removed"}]
    assert "vllm-chat" not in host.sh("cat /etc/passwd /etc/group; ls /var/lib/vllm-services")
    assert host.sh("getent passwd vllm vllm-other | cut -d: -f6") == (
        "/var/lib/vllm\n/var/lib/vllm-services/other\n"
    )
    run = host.deploy([OTHER], vllm_service_user="vllm")
    assert run.service("other")["action"] == "restart"
    assert host.sh("stat -c '%a %U' /var/lib/vllm-services/other") == "700 vllm\n"
    assert "vllm-other" not in host.sh("cat /etc/passwd /etc/group")
    assert not host.deploy([OTHER], vllm_service_user="vllm").changed


def test_accounts_that_are_not_of_this_collection_are_left_alone(host: Host) -> None:
    host.sh("useradd -r -c 'Somebody else' vllm-chat; groupadd crowd; useradd -r -G crowd member")
    before = host.snapshot()
    run = host.deploy([CHAT])
    assert run.status == 2
    assert (
        "vllm@chat.service would run as vllm-chat, an account that this collection did not create for it"
        " (its comment is 'Somebody else')" in run.output
    ), run.output
    assert host.snapshot() == before
    # A user that runs something stays until it does not.
    host.deploy([OTHER])
    host.sh("systemd-run -q --unit held -p User=vllm-other /bin/sleep 99999")
    run = host.deploy([])
    assert "The account vllm-other of vllm@other.service stays: process" in run.output, run.output
    host.sh("getent passwd vllm-other; systemctl stop held")
    assert host.deploy([]).result["accounts"] == [{"name": "vllm-other", "action": "is removed"}]
    assert not host.deploy([]).changed
    host.sh("userdel vllm-chat; userdel member; groupdel crowd")
