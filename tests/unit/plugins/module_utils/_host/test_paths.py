# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on the way to a path, from files below a temporary root."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._host.paths import Names, path_facts

from .hosts import put

NAMES = Names({os.getuid(): "me"}, {os.getgid(): "mine"})


def facts(root: Path, path: str) -> dict[str, Any]:
    return path_facts(root, path, NAMES)


def way(root: Path, path: str) -> list[tuple[str, str]]:
    return [(step["path"], step["kind"]) for step in facts(root, path)["steps"]]


def test_every_directory_on_the_way_is_read_with_its_mode(tmp_path: Path) -> None:
    put(tmp_path, "data/models/a/config.json", "{}")
    (tmp_path / "data/models").chmod(0o750)
    found = facts(tmp_path, "/data//models/./a/")["steps"]
    assert [step["path"] for step in found] == ["/", "/data", "/data/models", "/data/models/a"]
    assert found[2]["mode"] == "0750"
    assert (found[2]["owner"], found[2]["group"]) == ("me", "mine")
    assert found[2]["acl"] is None


def test_links_are_followed_as_the_kernel_does(tmp_path: Path) -> None:
    put(tmp_path, "disk/store/a/config.json", "{}")
    (tmp_path / "models").symlink_to("/disk/current")
    (tmp_path / "disk/current").symlink_to("store")
    assert way(tmp_path, "/models/a") == [
        ("/", "directory"),
        ("/disk", "directory"),
        ("/disk/store", "directory"),
        ("/disk/store/a", "directory"),
    ]
    assert way(tmp_path, "/models/a/../a/config.json")[-1] == ("/disk/store/a/config.json", "file")
    assert way(tmp_path, "/disk/store/..")[-1] == ("/disk", "directory")
    (tmp_path / "loop").symlink_to("loop")
    assert facts(tmp_path, "/loop/a")["steps"][-1]["error"] == "too many links"


def test_what_is_missing_is_named_where_the_way_ends(tmp_path: Path) -> None:
    put(tmp_path, "data/file", "")
    assert way(tmp_path, "/data/none/deeper") == [
        ("/", "directory"),
        ("/data", "directory"),
        ("/data/none", "missing"),
    ]
    assert way(tmp_path, "/data/file/x")[-1] == ("/data/file/x", "missing")


def test_files_of_equal_modes_are_one_entry_and_what_no_engine_reads_is_none(
    tmp_path: Path,
) -> None:
    for name in ("config.json", "model-1.safetensors", "model-2.safetensors", "notes.odt", ".lock"):
        put(tmp_path, f"m/{name}", "")
    (tmp_path / "m/model-2.safetensors").chmod(0o600)
    put(tmp_path, "m/1_Pooling/config.json", "{}")
    entries = facts(tmp_path, "/m")["entries"]
    assert {(each["path"], each["mode"], each["count"]) for each in entries} == {
        ("/m/1_Pooling", f"{(tmp_path / 'm/1_Pooling').stat().st_mode & 0o7777:04o}", 1),
        ("/m/config.json", f"{(tmp_path / 'm/config.json').stat().st_mode & 0o7777:04o}", 3),
        ("/m/model-2.safetensors", "0600", 1),
    }


def test_links_of_a_hub_cache_lead_to_the_directories_behind_them(tmp_path: Path) -> None:
    put(tmp_path, "hub/blobs/1234", "{}")
    snapshot = tmp_path / "hub/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/1234")
    (snapshot / "model.safetensors").symlink_to("../../blobs/5678")
    found = facts(tmp_path, "/hub/snapshots/abc")
    assert [step["path"] for step in found["behind"]] == ["/hub/blobs"]
    assert found["broken"] == "/hub/snapshots/abc/model.safetensors"


def test_an_acl_is_read(tmp_path: Path) -> None:
    put(tmp_path, "m", "")
    none = 0xFFFFFFFF
    entries = [(0x01, 6, none), (0x02, 4, 998), (0x04, 0, none), (0x10, 4, none), (0x20, 0, none)]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)
    os.setxattr(tmp_path / "m", "system.posix_acl_access", data)
    acl = facts(tmp_path, "/m")["steps"][-1]["acl"]
    assert {"kind": "user", "perms": 4, "id": 998} in acl
    assert [each["perms"] for each in acl if each["kind"] == "mask"] == [4]
