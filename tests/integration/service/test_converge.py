# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and its module on a real systemd: what a run changes, and what it must leave alone."""

from __future__ import annotations

import subprocess

import pytest

from ..hosts import environment
from .role import Host

pytestmark = pytest.mark.hosts


NASTY = {
    "SPACES": "two  words ",
    "QUOTES": "\"double\" 'single'",
    "PERCENT": "100% %i %% %h",
    "DOLLAR": "$HOME ${HOME} $$",
    "BACKSLASH": "a\\b\\n\\",
    "NEWLINE": "first\nExecStartPre=/bin/touch /tmp/pwned\n[Service]",
    "UNICODE": "héllo 卡 🂡",
    "JSON": '{"a": [1, "x y"], "b": "c\\"d"}',
    "SEMICOLON": "; # not a comment",
    "EMPTY": "",
}


def test_from_a_model_name_to_a_served_length(host: Host) -> None:
    run = host.deploy([{"model": "Qwen3-14B"}])
    assert run.status == 0, run.output
    assert run.service("qwen3-14b")["action"] == "start"
    models = host.wait_until_serving(8000)["data"]
    assert {model["id"]: model["max_model_len"] for model in models} == {
        "Qwen3-14B": 32768,
        "qwen3-14b": 32768,
    }
    assert host.environ("qwen3-14b")["ASCEND_RT_VISIBLE_DEVICES"] == "0"
    pid = host.pid("qwen3-14b")
    assert host.sh(f"ps -o user:32=,supgrp:64= -p {pid}").split() == [
        "vllm-qwen3-14b",
        "vllm-qwen3-14b,HwHiAiUser",
    ]
    second = host.deploy([{"model": "Qwen3-14B"}])
    assert not second.changed
    assert host.pid("qwen3-14b") == pid


def test_check_mode_on_a_blank_host_says_all_and_does_nothing(host: Host) -> None:
    before = host.snapshot()
    run = host.deploy([{"model": "Qwen3-14B", "api_key": "opensesame"}], "--check", "--diff")
    assert run.status == 0, run.output
    assert run.changed
    assert "+port: 8000" in run.output
    assert "start, because it was not running, enabled" in run.output
    assert "opensesame" not in run.output
    assert host.snapshot() == before


def test_values_reach_the_process_byte_for_byte(host: Host) -> None:
    instance = {
        "model": "Qwen3-0.6B",
        "env": NASTY,
        "secret_env": {f"S_{k}": v for k, v in NASTY.items()},
    }
    literal = {"vllm_service_env_as_written": list(NASTY)}
    run = host.deploy([instance], **literal)
    assert run.status == 0, run.output
    environ = host.environ("qwen3-0.6b")
    for name, value in NASTY.items():
        assert environ[name] == value, name
        assert environ[f"S_{name}"] == value, f"S_{name}"
    assert host.sh("ls /tmp/pwned 2>/dev/null || echo none") == "none\n"
    assert host.sh("systemd-analyze verify vllm@qwen3-0.6b.service 2>&1") == ""
    assert host.exposure("qwen3-0.6b") <= 2.5
    assert not host.deploy([instance], **literal).changed


def test_a_service_writes_where_it_is_told_to_and_nowhere_else(host: Host) -> None:
    host.sh("mkdir -p /srv/cache /srv/profiles /srv/other")
    instance = {"model": "Qwen3-0.6B", "env": {"VLLM_CACHE_ROOT": "/srv/cache"}}
    changes = {"ReadWritePaths": ["/srv/profiles"], "ProtectKernelLogs": None}
    run = host.deploy([instance], vllm_service_hardening=changes)
    assert run.status == 0, run.output
    # Even root is refused there.
    inside = f"nsenter -t {host.pid('qwen3-0.6b')} -m"
    host.sh(
        f"{inside} touch /srv/cache/a /srv/profiles/a /var/lib/vllm-services/qwen3-0.6b/a /dev/shm/a"
    )
    refused = host.sh(f"{inside} touch /srv/other/a /etc/a /opt/a 2>&1", check=False)
    assert refused.count("Read-only file system") == 3, refused
    assert host.sh("systemctl show -P ProtectKernelLogs vllm@qwen3-0.6b") == "no\n"
    assert host.exposure("qwen3-0.6b") <= 2.5


def test_a_run_killed_after_writing_is_completed_by_the_next(host: Host) -> None:
    """An orphan that loads ignores SIGTERM, so its stop holds the run just before the restarts."""
    kept = {"model": "Qwen3-0.6B", "name": "kept", "cards": [0]}
    settings = {"vllm_service_shutdown_timeout": 1}
    host.sh("ascend-sim behaviour Qwen3-1.7B delay=600")
    assert host.deploy([kept, {"model": "Qwen3-1.7B", "name": "slow"}], **settings).status == 0
    host.wait_until_serving(8000)
    pid = host.pid("kept")
    host.sh(
        "for i in $(seq 600); do journalctl -u vllm@slow -o cat | grep -q 'checkpoint shards:   0%' &&"
        " exit 0; sleep 0.2; done; exit 1"
    )
    changed = {**kept, "max_model_len": "16K"}
    running = subprocess.Popen(
        host.command(vllm_service_instances=[changed], **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    host.sh(
        "for i in $(seq 600); do grep -q 16384 /etc/vllm/kept.yaml && exit 0; sleep 0.1; done; exit 1"
    )
    host.sh("kill -9 $(cat /run/inferops-ascend/vllm@.service.lock)")
    running.communicate(timeout=300)
    assert running.returncode != 0
    assert host.pid("kept") == pid, "the killed run was meant to end before the restart"
    assert host.wait_until_serving(8000)["data"][0]["max_model_len"] == 32768
    run = host.deploy([changed], **settings)
    assert run.status == 0, run.output
    assert run.result["removed"] == ["slow"]
    assert run.service("kept")["action"] == "restart"
    assert run.service("kept")["files"] == []
    assert host.wait_until_serving(8000)["data"][0]["max_model_len"] == 16384
    assert host.sh("ls /etc/vllm; systemctl is-active vllm@slow || true") == "kept.yaml\ninactive\n"
    assert not host.deploy([changed], **settings).changed


def test_a_second_run_waits_for_the_first_and_names_it(host: Host) -> None:
    pid = host.sh(
        "mkdir -p -m 700 /run/inferops-ascend; rm -f /run/inferops-ascend/vllm@.service.lock;"
        " flock -x /run/inferops-ascend/vllm@.service.lock sh -c 'echo $$ >"
        " /run/inferops-ascend/vllm@.service.lock; exec sleep 600' >/dev/null 2>&1 &"
        " until [ -s /run/inferops-ascend/vllm@.service.lock ]; do sleep 0.1; done;"
        " cat /run/inferops-ascend/vllm@.service.lock"
    ).strip()
    run = host.deploy([{"model": "Qwen3-0.6B"}], vllm_service_lock_timeout=1)
    assert run.status == 2
    assert f"process {pid} on this host, or what it started, has locked" in run.output
    assert host.sh("ls /etc/vllm 2>/dev/null || echo none") == "none\n"
    host.sh(
        f"pkill -P {pid}; kill {pid}; flock --wait 60 /run/inferops-ascend/vllm@.service.lock true",
        check=False,
    )
    assert host.deploy([{"model": "Qwen3-0.6B"}]).status == 0


def test_a_restrictive_umask_keeps_no_service_from_its_files(host: Host) -> None:
    host.sh("printf 'Defaults umask=0077\\nDefaults umask_override\\n' > /etc/sudoers.d/umask")
    try:
        run = host.deploy([{"model": "Qwen3-0.6B"}])
    finally:
        host.sh("rm /etc/sudoers.d/umask")
    assert run.status == 0, run.output
    assert host.sh("stat -c %a /etc/vllm") == "755\n"
    host.wait_until_serving(8000)


def test_cards_change_hands_in_one_run(host: Host) -> None:
    """Both stop before either starts: a card is free when it is taken."""
    one, two = {"model": "Qwen3-0.6B", "name": "one"}, {"model": "Qwen3-1.7B", "name": "two"}
    host.deploy([{**one, "cards": [0]}, {**two, "cards": [1]}])
    [host.wait_until_serving(port) for port in (8000, 8001)]
    run = host.deploy([{**one, "cards": [1]}, {**two, "cards": [0]}])
    assert run.status == 0, run.output
    [host.wait_until_serving(port) for port in (8000, 8001)]
    assert host.environ("one")["ASCEND_RT_VISIBLE_DEVICES"] == "1"
    assert host.environ("two")["ASCEND_RT_VISIBLE_DEVICES"] == "0"
    assert host.sh("systemctl show -P NRestarts vllm@one vllm@two").split() == ["0", "0"]


def test_stopped_stays_down_and_absent_goes(host: Host) -> None:
    wish = {"model": "Qwen3-0.6B", "name": "chat"}
    host.deploy([wish])
    host.wait_until_serving(8000)
    run = host.deploy([{**wish, "state": "stopped"}])
    assert run.service("chat")["action"] == "stop"
    assert (
        host.sh("systemctl is-active vllm@chat; systemctl is-enabled vllm@chat; true")
        == "inactive\ndisabled\n"
    )
    assert host.sh("pgrep -c -f '[E]ngineCore'; true") == "0\n"
    assert not host.deploy([{**wish, "state": "stopped"}]).changed
    assert host.deploy([{**wish, "state": "absent"}]).changed
    assert host.sh("ls -A /etc/vllm; ls -d /etc/systemd/system/vllm@chat* 2>/dev/null; true") == ""
    assert not host.deploy([{**wish, "state": "absent"}]).changed
    assert not host.deploy([]).changed


def test_an_engine_that_dies_comes_back_with_its_cards(host: Host) -> None:
    host.deploy(
        [{"model": "Qwen3-0.6B", "name": "chat", "cards": [2]}], vllm_service_restart_delay=1
    )
    host.wait_until_serving(8000)
    pid = host.pid("chat")
    host.sh("pkill -9 -f '[E]ngineCore'")
    host.sh(
        f"for i in $(seq 600); do p=$(systemctl show -P MainPID vllm@chat); [ $p != 0 ] && [ $p != {pid} ] && exit 0; sleep 0.2; done; exit 1"
    )
    host.wait_until_serving(8000)
    assert host.environ("chat")["ASCEND_RT_VISIBLE_DEVICES"] == "2"
    assert not host.deploy(
        [{"model": "Qwen3-0.6B", "name": "chat", "cards": [2]}], vllm_service_restart_delay=1
    ).changed


def test_an_edit_by_hand_is_put_back_and_reloaded(host: Host) -> None:
    host.deploy([{"model": "Qwen3-0.6B", "name": "chat"}])
    pid = host.pid("chat")
    host.sh("sed -i 's/davinci0/davinci7/' /etc/systemd/system/vllm@chat.service.d/placement.conf")
    run = host.deploy([{"model": "Qwen3-0.6B", "name": "chat"}], "--diff")
    assert "-DeviceAllow=/dev/davinci7 rw" in run.output
    assert run.result["reloaded"]
    assert host.pid("chat") == pid, "the running process never had the edit"
    assert host.sh("systemctl show -P NeedDaemonReload vllm@chat") == "no\n"
