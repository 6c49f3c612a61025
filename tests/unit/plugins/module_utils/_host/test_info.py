# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight needs to know of a host, from files below a temporary root."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._host import info

from .hosts import put

DATA = Path(__file__).parents[3] / "data" / "npu-smi"


def test_accounts_and_groups(tmp_path: Path) -> None:
    put(tmp_path, "etc/group", "root:x:0:\nHwHiAiUser:x:999:vllm,me\nvllm:x:998:\nbroken\n")
    put(tmp_path, "etc/passwd", "odd:x:²:²::/:\nvllm:x:998:998::/var/lib/vllm:/usr/sbin/nologin\n")
    assert info.account(tmp_path, "vllm") == {
        "name": "vllm",
        "exists": True,
        "uid": 998,
        "groups": ["vllm", "HwHiAiUser"],
        "gids": [998, 999],
    }
    assert not info.account(tmp_path, "nobody")["exists"]


def test_weights_and_room_for_them(tmp_path: Path) -> None:
    put(tmp_path, "w/Qwen/a/config.json", "{}")
    assert not info.has_weights(tmp_path, "/w/Qwen/a"), "a download that was broken off"
    put(tmp_path, "w/Qwen/a/model-00001-of-00002.safetensors", "")
    assert info.has_weights(tmp_path, "/w/Qwen/a")
    room = info.disk(tmp_path, "/w/not/yet/there")
    assert room["at"] == "/w"
    assert room["free_bytes"] > 0


def test_programs_and_scripts(tmp_path: Path) -> None:
    put(tmp_path, "opt/vllm", "", 0o755)
    put(tmp_path, "opt/set_env.sh", "")
    paths = ("/opt/vllm", "/opt/set_env.sh", "/opt", "/none")
    found = {path: info.path_state(tmp_path, path) for path in paths}
    assert [found[p]["executable"] for p in found] == [True, False, False, False]
    assert [found[p]["exists"] for p in found] == [True, True, True, False]


def test_an_empty_host_is_read_without_an_error(tmp_path: Path) -> None:
    facts = info.collect(
        str(tmp_path / "npu-smi"),
        5,
        user="vllm",
        template="vllm@.service",
        files=["/none"],
        executable="/opt/vllm",
        weights_dir="/w",
        models=["/w/a"],
        root=tmp_path,
    )
    assert facts["npu"]["cards"] == []
    assert [each["code"] for each in facts["npu"]["problems"]] == ["npu_smi_missing"]
    assert facts["services"] == facts["ports"] == []
    assert facts["models"] == {"/w/a": False}
    assert facts["tuned"] is False


def test_a_host_is_tuned_where_a_file_of_the_tuning_is_there(tmp_path: Path) -> None:
    put(tmp_path, info.TUNING[2].lstrip("/"), "")
    assert info.is_tuned(tmp_path)
    assert not info.is_tuned(tmp_path / "etc")
