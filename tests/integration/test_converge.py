# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and its module on a real systemd: what a run changes, and what it must leave alone."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest

from .conftest import Host, environment

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
    assert host.sh(f"ps -o user=,supgrp= -p {pid}").split() == ["vllm", "vllm,HwHiAiUser"]
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
    run = host.deploy([instance])
    assert run.status == 0, run.output
    environ = host.environ("qwen3-0.6b")
    for name, value in NASTY.items():
        assert environ[name] == value, name
        assert environ[f"S_{name}"] == value, f"S_{name}"
    assert host.sh("ls /tmp/pwned 2>/dev/null || echo none") == "none\n"
    assert host.sh("systemd-analyze verify vllm@qwen3-0.6b.service 2>&1") == ""
    assert not host.deploy([instance]).changed


def test_a_secret_stands_in_one_file_and_a_new_one_restarts_its_service_alone(host: Host) -> None:
    chat: dict[str, Any] = {"model": "Qwen3-0.6B", "name": "chat", "api_key": "first-key-1"}
    other = {"model": "Qwen3-1.7B", "name": "other"}
    run = host.deploy([chat, other], "--diff", "-vvvv")
    assert run.status == 0, run.output
    assert "first-key-1" not in run.output
    host.wait_until_serving(8000, key="first-key-1")
    assert host.status_of("/v1/models", 8000) == 401
    assert host.sh("stat -c '%a %U' /etc/vllm/chat.env") == "600 root\n"
    pids = host.pid("chat"), host.pid("other")
    digest = host.environ("chat")["INFEROPS_SECRET_DIGEST"]
    run = host.deploy([{**chat, "api_key": "second-key-2"}, other], "--diff", "-vvvv")
    assert "key-1" not in run.output and "key-2" not in run.output and digest not in run.output
    assert run.service("chat")["reason"] == "its process runs with another secret"
    assert host.pid("chat") != pids[0]
    assert host.pid("other") == pids[1]
    readable = host.sh(
        "find /etc /run /var/log -type f -perm -o=r -exec grep -lE 'first-key-1|second-key-2|"
        f"{digest}' {{}} + || true"
    )
    assert readable == ""
    run = host.deploy([{"model": "Qwen3-0.6B", "name": "chat"}, other])
    assert host.sh("ls /etc/vllm") == "chat.yaml\nother.yaml\n"
    host.wait_until_serving(8000)


def test_a_run_killed_after_writing_is_completed_by_the_next(host: Host) -> None:
    """An orphan that loads ignores SIGTERM, so its stop holds the run just before the restarts."""
    kept = {"model": "Qwen3-0.6B", "name": "kept", "cards": [0]}
    settings = {"vllm_service_shutdown_timeout": 1}
    host.sh("ascend-sim behaviour Qwen3-1.7B delay=600")
    assert host.deploy([kept, {"model": "Qwen3-1.7B", "name": "slow"}], **settings).status == 0
    host.wait_until_serving(8000)
    pid = host.pid("kept")
    time.sleep(3)
    changed = {**kept, "max_model_len": "16K"}
    running = subprocess.Popen(
        host.command(vllm_service_instances=[changed], **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    host.sh(
        "for i in $(seq 100); do grep -q 16384 /etc/vllm/kept.yaml && exit 0; sleep 0.1; done; exit 1"
    )
    host.sh("pkill -9 -f '[s]ystemd_instances'")
    running.communicate(timeout=60)
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
        "mkdir -p -m 700 /run/inferops-ascend;"
        " flock -x /run/inferops-ascend/vllm@.service.lock sh -c 'echo $$ >"
        " /run/inferops-ascend/vllm@.service.lock; exec sleep 30' >/dev/null 2>&1 & sleep 0.5;"
        " cat /run/inferops-ascend/vllm@.service.lock"
    ).strip()
    run = host.deploy([{"model": "Qwen3-0.6B"}], vllm_service_lock_timeout=1)
    assert run.status == 2
    assert f"process {pid} on this host holds" in run.output
    assert host.sh("ls /etc/vllm 2>/dev/null || echo none") == "none\n"
    host.sh(f"pkill -P {pid}; kill {pid}; sleep 0.3", check=False)
    assert host.deploy([{"model": "Qwen3-0.6B"}]).status == 0


def test_only_what_was_made_here_is_removed(host: Host) -> None:
    host.deploy(
        [{"model": "Qwen3-0.6B", "name": "ours"}, {"model": "Qwen3-1.7B", "name": "copied"}]
    )
    host.sh(
        "mkdir -p /etc/systemd/system/vllm@hand.service.d;"
        " printf '[Service]\\nExecStart=\\nExecStart=/bin/sleep 1000\\n' > /etc/systemd/system/vllm@hand.service.d/x.conf;"
        " cp /etc/vllm/ours.yaml /etc/vllm/hand.yaml;"
        " printf '[Service]\\nNice=1\\n' > /etc/systemd/system/vllm@ours.service.d/zz-local.conf;"
        " systemctl daemon-reload; systemctl start vllm@hand"
    )
    pid = host.pid("hand")
    run = host.deploy(
        [{"name": "hand", "state": "absent"}, {"name": "never-there", "state": "absent"}]
    )
    assert run.status == 0, run.output
    assert run.result["removed"] == ["copied", "ours"]
    assert host.pid("hand") == pid
    assert host.sh("ls /etc/vllm") == "hand.yaml\n"
    assert host.sh("ls -d /etc/systemd/system/vllm@*.d") == (
        "/etc/systemd/system/vllm@hand.service.d\n/etc/systemd/system/vllm@ours.service.d\n"
    )
    assert host.sh("ls /etc/systemd/system/vllm@ours.service.d") == "zz-local.conf\n"
    assert host.sh("ls /etc/systemd/system/multi-user.target.wants | grep vllm || true") == ""
    host.sh("systemctl stop vllm@hand")


def test_a_hand_made_file_in_the_way_stops_the_run_before_any_change(host: Host) -> None:
    host.sh("mkdir -p /etc/vllm; echo 'model: mine' > /etc/vllm/chat.yaml")
    before = host.snapshot()
    wish = [{"model": "Qwen3-0.6B", "name": "first"}, {"model": "Qwen3-1.7B", "name": "chat"}]
    run = host.deploy(wish)
    assert run.status == 2
    assert "/etc/vllm/chat.yaml was not written by this collection" in run.output
    assert host.snapshot() == before
    run = host.deploy(wish, vllm_service_adopt=True)
    assert run.status == 0, run.output
    assert host.sh("cat /etc/vllm/chat.yaml.*~") == "model: mine\n"
    assert run.result["copies"] == [host.sh("ls /etc/vllm/chat.yaml.*~").strip()]


def test_a_restrictive_umask_keeps_no_service_from_its_files(host: Host) -> None:
    host.sh("printf 'Defaults umask=0077\\nDefaults umask_override\\n' > /etc/sudoers.d/umask")
    try:
        run = host.deploy([{"model": "Qwen3-0.6B"}])
    finally:
        host.sh("rm /etc/sudoers.d/umask")
    assert run.status == 0, run.output
    assert host.sh("stat -c %a /etc/vllm") == "755\n"
    host.wait_until_serving(8000)


def test_a_hand_made_unit_of_the_same_name_is_not_taken_over(host: Host) -> None:
    host.sh(
        "printf '[Service]\\nExecStart=/bin/sleep 900\\n' > /etc/systemd/system/vllm@own.service;"
        " systemctl daemon-reload; systemctl start vllm@own"
    )
    before = host.snapshot()
    run = host.deploy([{"model": "Qwen3-0.6B", "name": "own"}])
    assert run.status == 2
    assert (
        "vllm@own.service on this host comes from /etc/systemd/system/vllm@own.service and not from"
        " the template vllm@.service"
    ) in run.output
    assert host.snapshot() == before
    host.sh("systemctl stop vllm@own")


def test_a_service_that_refuses_to_stop_keeps_no_other_down(host: Host) -> None:
    wishes = [{"model": "Qwen3-0.6B", "name": "a"}, {"model": "Qwen3-1.7B", "name": "b"}]
    assert host.deploy(wishes).status == 0
    host.sh(
        "printf '[Unit]\\nRefuseManualStop=yes\\n' > /etc/systemd/system/vllm@b.service.d/zz.conf;"
        " systemctl daemon-reload"
    )
    pids = host.pid("a"), host.pid("b")
    run = host.deploy([{**wish, "max_model_len": "16K"} for wish in wishes])
    assert run.status == 2
    assert "vllm@b.service" in run.output and "refused" in run.output
    assert '"changed": true' in run.output
    assert host.pid("a") not in (0, pids[0])
    assert host.pid("b") == pids[1]


def test_a_secret_file_that_is_gone_keeps_the_server_closed(host: Host) -> None:
    host.deploy([{"model": "Qwen3-0.6B", "name": "chat", "api_key": "a-key"}])
    host.wait_until_serving(8000, key="a-key")
    host.sh("rm /etc/vllm/chat.env; systemctl restart vllm@chat || true")
    assert host.pid("chat") == 0
    assert host.deploy([{"model": "Qwen3-0.6B", "name": "chat", "api_key": "a-key"}]).changed
    host.wait_until_serving(8000, key="a-key")


def test_a_masked_unit_is_left_to_whoever_masked_it(host: Host) -> None:
    host.sh("systemctl mask --quiet vllm@chat.service")
    run = host.deploy([{"model": "Qwen3-0.6B", "name": "chat"}])
    assert run.status == 2
    assert "vllm@chat.service is masked" in run.output
    assert "systemctl unmask vllm@chat.service" in run.output
    host.sh("systemctl unmask --quiet vllm@chat.service")


def test_a_group_that_is_missing_is_named_before_any_change(host: Host) -> None:
    before = host.snapshot()
    run = host.deploy([{"model": "Qwen3-0.6B"}], vllm_service_groups=["HwHiAiUser", "nosuch"])
    assert run.status == 2
    assert "The group nosuch does not exist on this host" in run.output
    assert host.snapshot() == before


def test_a_unit_that_cannot_start_is_reported_with_its_journal(host: Host) -> None:
    host.deploy([{"model": "Qwen3-0.6B", "name": "good"}])
    host.sh(
        "mkdir -p /etc/systemd/system/vllm@bad.service.d; printf '[Service]\\nUser=nobodyatall\\n'"
        " > /etc/systemd/system/vllm@bad.service.d/zz.conf"
    )
    run = host.deploy(
        [{"model": "Qwen3-0.6B", "name": "good"}, {"model": "Qwen3-1.7B", "name": "bad"}]
    )
    assert run.status == 2
    assert (
        "vllm@bad.service is activating (auto-restart; result exit-code, exit status 217)"
        in run.output
    )
    assert "status=217/USER" in run.output
    assert "journalctl -u vllm@bad.service" in run.output
    assert host.sh("systemctl is-active vllm@good") == "active\n"


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
        f"for i in $(seq 60); do p=$(systemctl show -P MainPID vllm@chat); [ $p != 0 ] && [ $p != {pid} ] && exit 0; sleep 0.5; done; exit 1"
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


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ([{"model": "Qwen3-14"}], "The closest are Qwen3-14B"),
        ([{"model": "Qwen2.5-72B", "cards": 2}], "it needs at least 4 of 64 GB"),
        ([{"model": "Qwen3-14B", "max_model_len": "64K"}], "the longest that was tested is 32768"),
        ([{"model": "Qwen3-235B-A22B"}], "needs 16 cards"),
        ([{"model": "Qwen3-0.6B", "cards": [9]}], "card 9"),
        ([{"model": "Qwen3-0.6B"}, {"model": "Qwen3-0.6B"}], "qwen3-0.6b"),
        ([{"model": "Qwen3-0.6B", "name": "a b"}], "a-b"),
        ([{"model": "Qwen3-0.6B", "args": {"no-such-option": 1}}], "no-such-option"),
        ([{"model": "Qwen3-0.6B", "env": {"ALARM": "\x07"}}], "ALARM has the character U+0007"),
        ([{"model": "Qwen3-0.6B", "state": "running"}], "state 'running' is unknown"),
        ([{"model": "Qwen3-0.6B", "api_key": ""}], "api_key is empty"),
        ([{"model": "Qwen3-0.6B", "max-model-len": "4K"}], "Write max_model_len"),
        ([{"model": "Qwen3-0.6B", "dtype": "float16"}], "Write it into args"),
        ("Qwen3-0.6B: 1", "No table lists the model 'Qwen3-0.6B: 1'"),
        ([None], "A request is None, which names no model"),
    ],
)
def test_a_refused_wish_never_reaches_the_host(host: Host, instances: Any, words: str) -> None:
    """The address is nobody's: a run that tried to connect would say unreachable."""
    run = host.deploy(
        instances, ansible_host="192.0.2.1", ansible_ssh_common_args="-o ConnectTimeout=1"
    )
    assert run.status == 2, run.output
    assert words in run.output
    assert "UNREACHABLE" not in run.output


@pytest.mark.parametrize(
    "variables",
    [
        {"vllm_service_user": "root\nExecStartPre=/bin/touch /tmp/pwned"},
        {"vllm_service_executable": "/bin/sh; touch /tmp/pwned"},
        {"vllm_service_cann_scripts": ["/a'b"]},
        {"vllm_service_library_path": ["/lib %h"]},
        {"vllm_service_engine_version": "0.18.0\nport: 1"},
        {"vllm_service_weights_dir": "weights"},
    ],
)
def test_a_variable_cannot_add_to_a_unit(host: Host, variables: dict[str, Any]) -> None:
    before = host.snapshot()
    run = host.deploy([{"model": "Qwen3-0.6B"}], **variables)
    assert run.status == 2, run.output
    assert any(
        words in run.output
        for words in (
            "cannot stand in a systemd unit",
            "is not known",
            "an absolute path is needed",
        )
    )
    assert host.snapshot() == before


def test_a_request_without_a_model_does_not_show_its_key(host: Host) -> None:
    run = host.deploy([{"name": "chat", "api_key": "opensesame"}])
    assert run.status == 2
    assert "The request 'chat' names no model (its keys are api_key, name)" in run.output
    assert "opensesame" not in run.output


def test_a_host_without_the_variable_is_an_error_and_not_an_empty_list(host: Host) -> None:
    done = subprocess.run(
        host.command(), capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 2
    assert "vllm_service_instances" in done.stdout + done.stderr
