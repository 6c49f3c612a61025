# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of services: where they are kept, and where they must not be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .role import Host

pytestmark = pytest.mark.hosts


def test_a_secret_is_in_one_file_and_a_new_one_restarts_its_service_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Modules and their arguments are files on the host, for a while.
    monkeypatch.setenv("ANSIBLE_PIPELINING", "0")
    cache = tmp_path / "facts"
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(cache))
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
    assert host.sh("find / -xdev -name 'ansible-tmp-*'") == ""
    assert not [path for path in cache.glob("*") if b"-key-" in path.read_bytes()]
    run = host.deploy([{"model": "Qwen3-0.6B", "name": "chat"}, other])
    assert host.sh("ls /etc/vllm") == "chat.yaml\nother.yaml\n"
    host.wait_until_serving(8000)


def test_a_secret_file_that_is_gone_keeps_the_server_closed(host: Host) -> None:
    host.deploy([{"model": "Qwen3-0.6B", "name": "chat", "api_key": "a-key"}])
    host.wait_until_serving(8000, key="a-key")
    host.sh("rm /etc/vllm/chat.env; systemctl restart vllm@chat || true")
    assert host.pid("chat") == 0
    assert host.deploy([{"model": "Qwen3-0.6B", "name": "chat", "api_key": "a-key"}]).changed
    host.wait_until_serving(8000, key="a-key")


def test_a_request_without_a_model_does_not_show_its_key(host: Host) -> None:
    run = host.deploy([{"name": "chat", "api_key": "opensesame"}])
    assert run.status == 2
    assert "The request 'chat' names no model (its keys are api_key, name)" in run.output
    assert "opensesame" not in run.output
