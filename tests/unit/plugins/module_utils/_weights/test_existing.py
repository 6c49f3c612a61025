# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there already: left alone, verified, completed or replaced, and never half of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._weights.check import room
from ansible_collections.inferops.ascend.plugins.module_utils._weights.marker import MARKER
from ansible_collections.inferops.ascend.plugins.module_utils._weights.switch import LOCK
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs
from ansible_collections.inferops.ascend.tests.hubs.bringing import (
    ID,
    SHARD,
    bring,
    fail,
    job_of,
    look,
    put,
    same,
)

# -- what stands -------------------------------------------------------------------------------------


def test_a_whole_folder_made_by_hand_is_left_alone_and_nobody_is_asked(
    hub: hubs.Hub, folder: Path
) -> None:
    put(folder, hub.models[ID])
    assert look(job_of(hub, folder)).state == "complete"
    assert hub.asked == []
    assert not (folder / MARKER).exists()


def test_a_folder_made_by_hand_that_is_not_whole_is_refused(hub: hubs.Hub, folder: Path) -> None:
    put(folder, {k: v for k, v in hub.models[ID].items() if k != SHARD})
    before = sorted(folder.iterdir())
    found = look(job_of(hub, folder))
    assert found.state == "refused"
    assert (
        f"{folder} was made by hand and is not a complete Qwen3-14B: 1 of 3 shards are missing"
        in found.problem
    )
    with pytest.raises(HostError, match="made by hand"):
        bring(job_of(hub, folder))
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("left", [False, True], ids=["absent", "not complete"])
def test_local_weights_are_checked_only(hub: hubs.Hub, folder: Path, left: bool) -> None:
    if left:
        put(folder, {"config.json": b"{}"})
    problem = look(job_of(hub, folder, "local")).problem
    assert "vllm_weights_source" in problem
    assert hub.asked == []


def test_a_part_that_somebody_else_made_is_not_fetched_into(hub: hubs.Hub, folder: Path) -> None:
    put(Path(str(folder) + ".part"), {"notes.txt": b"mine"})
    with pytest.raises(HostError, match="was not made by this collection"):
        bring(job_of(hub, folder))


def test_a_part_that_is_a_link_is_not_followed(hub: hubs.Hub, folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    Path(str(folder) + ".part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="exists and is not a directory"):
        bring(job_of(hub, folder))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_was_fetched_and_damaged_is_fetched_again_and_the_rest_kept(
    hub: hubs.Hub, folder: Path
) -> None:
    job = job_of(hub, folder)
    bring(job)
    os.truncate(folder / SHARD, 30_000)
    kept = (folder / "model-00001-of-00003.safetensors").stat().st_ino
    found = look(job)
    assert (found.state, found.missing) == ("fetch", 40_090)
    assert f"{SHARD} is cut off" in found.why
    hub.asked.clear()
    bring(job)
    assert same(folder, hub.models[ID])
    assert (
        len([path for path in hub.files_asked() if "safetensors" in path and "/resolve/" in path])
        == 1
    )
    assert (folder / "model-00001-of-00003.safetensors").stat().st_ino == kept


def test_bytes_that_changed_without_the_length_are_found_by_their_time(
    hub: hubs.Hub, folder: Path
) -> None:
    job = job_of(hub, folder)
    bring(job)
    data = bytearray((folder / SHARD).read_bytes())
    data[-5] ^= 1
    (folder / SHARD).write_bytes(bytes(data))
    assert look(job).state == "verify"
    bring(job)
    assert same(folder, hub.models[ID])
    assert look(job).state == "complete"


def test_a_file_that_was_only_touched_is_hashed_once(hub: hubs.Hub, folder: Path) -> None:
    job = job_of(hub, folder)
    bring(job)
    os.utime(folder / SHARD, (1, 1))
    assert look(job).state == "verify"
    hub.asked.clear()
    bring(job)
    assert hub.asked == []
    assert look(job).state == "complete"


def test_another_revision_replaces_and_the_old_one_stays_until_then(
    hub: hubs.Hub, folder: Path
) -> None:
    bring(job_of(hub, folder))
    wish = job_of(hub, folder, "modelscope", revision="v1")
    old = hub.models[ID][SHARD]
    hub.models[ID] = {
        **hub.models[ID],
        SHARD: hubs.safetensors({"layer.1.weight": 40_000}, b"\x77"),
    }
    assert "revision" in look(wish).why
    hub.fault = fail(SHARD, 404)
    with pytest.raises(HostError):
        bring(wish)
    assert (folder / SHARD).read_bytes() == old
    hub.fault = hubs.Hub.fault
    hub.asked.clear()
    bring(wish)
    assert same(folder, hub.models[ID])
    assert [path for path in hub.files_asked() if "model-00001" in path] == []
    assert look(wish).state == "complete"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["Qwen3-14B"]


def test_a_folder_made_by_hand_can_be_held_against_the_hub_once(
    hub: hubs.Hub, folder: Path, tmp_path: Path
) -> None:
    put(folder, hub.models[ID])
    job = job_of(hub, folder, verify=True, memory=str(tmp_path / "memory" / "x.json"))
    assert look(job).state == "verify"
    bring(job)
    assert look(job).state == "complete"
    data = bytearray((folder / SHARD).read_bytes())
    data[-5] ^= 1
    (folder / SHARD).write_bytes(bytes(data))
    assert look(job).state == "verify"
    with pytest.raises(HostError, match=rf"1 of its files are not as {ID} has them.*{SHARD}"):
        bring(job)
    assert (folder / SHARD).read_bytes() == bytes(data)


# -- in place ----------------------------------------------------------------------------------------


def test_a_run_that_died_while_it_switched_is_finished_and_cleared_up(
    hub: hubs.Hub, folder: Path
) -> None:
    job = job_of(hub, folder)
    bring(job)
    old = folder.parent / ".Qwen3-14B.inferops-old-4711"
    # Dead between the two renames: the old directory is away, the new one not yet there.
    shutil.copytree(folder, str(folder) + ".part")
    Path(str(folder) + ".part", LOCK).write_text("process 4711 on here")
    folder.rename(old)
    assert look(job).state == "fetch"
    bring(job)
    assert same(folder, hub.models[ID])
    assert sorted(os.listdir(folder.parent)) == ["Qwen3-14B"]
    # Dead after them, before the old one was removed.
    (folder / LOCK).touch()
    put(old, {SHARD: b"old"})
    by_hand = put(folder.parent / "Qwen3-14B.old-2", {SHARD: b"mine"})
    found = look(job)
    assert (found.state, found.missing) == ("verify", 0)
    bring(job)
    assert not old.exists()
    assert LOCK not in os.listdir(folder)
    assert (by_hand / SHARD).read_bytes() == b"mine"
    assert look(job).state == "complete"


def test_a_link_is_not_fetched_into(hub: hubs.Hub, folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir(parents=True)
    (tmp_path / "large").mkdir()
    folder.symlink_to(tmp_path / "large")
    found = look(job_of(hub, folder))
    assert found.state == "refused"
    assert f"Give the service the path {tmp_path}/large, or remove the link" in found.problem
    put(tmp_path / "large", hub.models[ID])
    assert look(job_of(hub, folder)).state == "complete"
    assert hub.asked == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("kind", ["-t tmpfs none", "--bind elsewhere"])
def test_where_a_disk_is_mounted_no_other_folder_is_put(
    hub: hubs.Hub, folder: Path, tmp_path: Path, kind: str
) -> None:
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    subprocess.run(["mount", *kind.split(), folder], check=True, cwd=tmp_path)
    try:
        found = look(job_of(hub, folder))
        assert f"such as {folder}/Qwen3-14B" in found.problem
        assert hub.asked == []
        put(folder, hub.models[ID])
        assert look(job_of(hub, folder)).state == "complete"
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_to_be_read_only_is_enough_for_what_is_whole(hub: hubs.Hub, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
    try:
        job = job_of(hub, disk / "Qwen" / "Qwen3-14B")
        bring(job)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert look(job).state == "complete"
        bring(job)
        with pytest.raises(HostError, match="on a disk that this host may only read"):
            bring(job._replace(directory=str(disk / "Qwen" / "other")))
    finally:
        subprocess.run(["umount", disk], check=True)


# -- disks -------------------------------------------------------------------------------------------


def test_room_is_asked_for_before_anything_is_fetched(
    hub: hubs.Hub, folder: Path, tmp_path: Path
) -> None:
    huge = 10**15
    hub.listed = lambda entry: (
        {**entry, "size": huge, "lfs": {**entry["lfs"], "size": huge}} if "lfs" in entry else entry
    )
    found = look(job_of(hub, folder))
    words = room([found])
    assert f"3000000.0 GB are needed at {folder.parent}" in words
    assert "vllm_service_weights_dir" in words
    assert room([found._replace(needed=1000)]) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_fills_up_is_said_and_gone_on_with(hub: hubs.Hub, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90k", "none", disk], check=True)
    try:
        job = job_of(hub, disk / "Qwen" / "Qwen3-14B")
        with pytest.raises(HostError, match=r"the disk of .*\.part is full\. Make room"):
            bring(job)
        subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
        bring(job)
        assert same(Path(job.directory), hub.models[ID])
    finally:
        subprocess.run(["umount", disk], check=True)
