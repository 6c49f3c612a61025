# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others made on a host is left alone, and what systemd rejects is reported."""

from __future__ import annotations

import pytest

from .role import Host

pytestmark = pytest.mark.hosts


def test_only_what_was_made_here_is_removed(host: Host) -> None:
    host.deploy(
        [{"model": "Qwen3-0.6B", "name": "ours"}, {"model": "Qwen3-1.7B", "name": "copied"}]
    )
    host.sh(
        "mkdir -p /etc/systemd/system/vllm@hand.service.d;"
        # The account that the unit names for instances made by hand.
        " id vllm >/dev/null 2>&1 || useradd --system vllm;"
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
    assert "There is no group nosuch on this host" in run.output
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
    assert "vllm@bad.service is activating (auto-restart; result exit-code" in run.output
    assert "status=217/USER" in run.output
    assert "journalctl -u vllm@bad.service" in run.output
    assert host.sh("systemctl is-active vllm@good") == "active\n"
