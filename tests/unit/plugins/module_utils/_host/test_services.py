# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of ours, running or written."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._base.files import mark
from ansible_collections.inferops.ascend.plugins.module_utils._host import services

from .hosts import process, put


def test_our_services_are_told_by_their_mark(tmp_path: Path) -> None:
    marks = {
        "INFEROPS_DIGEST": "abc",
        "ASCEND_RT_VISIBLE_DEVICES": "4,5",
        "HCCL_IF_BASE_PORT": "61128",
        "VLLM_API_KEY": "s3cret",
    }
    process(tmp_path, 10, "system-vllm.slice/vllm@chat.service", marks)
    process(tmp_path, 11, "system-vllm.slice/vllm@chat.service", {})
    process(tmp_path, 12, "system-vllm.slice/vllm@byhand.service", {"PATH": "/"})
    process(tmp_path, 13, "sshd.service", marks)
    # It wrote over its environment, as programs that set their title do.
    process(tmp_path, 14, "system-vllm.slice/vllm@titled.service", {})
    put(
        tmp_path,
        "etc/systemd/system/vllm@titled.service.d/placement.conf",
        "[Service]\nEnvironment=ASCEND_RT_VISIBLE_DEVICES=0\nEnvironment=INFEROPS_DIGEST=abc\n",
    )
    found = services.running_services(tmp_path, "vllm@.service")
    assert found == [
        {"unit": "vllm@chat.service", "pids": [10, 11], "cards": [4, 5], "hccl_base_port": 61128},
        {"unit": "vllm@titled.service", "pids": [14], "cards": [0], "hccl_base_port": None},
    ]
    assert "s3cret" not in str(found)


def test_where_services_stand_is_read_from_what_was_written(tmp_path: Path) -> None:
    def write(name: str, unit: str) -> None:
        put(
            tmp_path,
            f"etc/systemd/system/vllm@{name}.service.d/placement.conf",
            f"{mark(unit)}[Service]\nEnvironment=ASCEND_RT_VISIBLE_DEVICES=4,5\n"
            "Environment=HCCL_IF_BASE_PORT=61128\n",
        )

    write("chat", "vllm@chat.service")
    put(tmp_path, "etc/vllm/chat.yaml", "model: /w\nport: 8003\nserved-model-name: port\n")
    members = [{"host": "h1", "address": "192.0.2.1"}]
    group = {"rank": 1, "members": members, "port": 20000, "digest": "abc"}
    text = f"{mark('vllm@chat.service')}{json.dumps(group)}\n"
    put(tmp_path, "etc/vllm/chat.group.json", text)
    write("down.1", "vllm@down.1.service")
    put(tmp_path, "etc/vllm/down.1.group.json", "[" * 10_000)
    write("copied", "vllm@chat.service")
    placed = {"cards": [4, 5], "hccl_base_port": 61128, "moved": []}
    assert services.existing_services(tmp_path, "vllm@.service") == [
        {"name": "chat", "port": 8003, "group": group, **placed},
        {"name": "down.1", "port": None, "group": None, **placed},
    ]
