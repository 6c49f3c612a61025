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
from ansible_collections.inferops.ascend.tests.hubs.fetching import (
    ID,
    SHARD,
    checked,
    download,
    fail,
    job_of,
    put,
    same,
)

# -- what stands -------------------------------------------------------------------------------------


def test_a_complete_directory_made_by_hand_is_left_alone_and_nobody_is_asked(
    hub: hubs.Hub, directory: Path
) -> None:
    put(directory, hub.models[ID])
    assert checked(job_of(hub, directory)).state == "complete"
    assert hub.asked == []
    assert not (directory / MARKER).exists()


def test_a_directory_made_by_hand_that_is_not_complete_is_refused(
    hub: hubs.Hub, directory: Path
) -> None:
    put(directory, {k: v for k, v in hub.models[ID].items() if k != SHARD})
    before = sorted(directory.iterdir())
    found = checked(job_of(hub, directory))
    assert found.state == "refused"
    assert (
        f"{directory} was made by hand and is not a complete Qwen3-14B: 1 of 3 shards are missing"
        in found.problem
    )
    with pytest.raises(HostError, match="made by hand"):
        download(job_of(hub, directory))
    assert sorted(directory.iterdir()) == before


@pytest.mark.parametrize("left", [False, True], ids=["absent", "not complete"])
def test_local_weights_are_checked_only(hub: hubs.Hub, directory: Path, left: bool) -> None:
    if left:
        put(directory, {"config.json": b"{}"})
    problem = checked(job_of(hub, directory, "local")).problem
    assert "vllm_weights_source" in problem
    assert hub.asked == []


def test_a_part_that_somebody_else_made_is_not_fetched_into(hub: hubs.Hub, directory: Path) -> None:
    put(Path(str(directory) + ".part"), {"notes.txt": b"mine"})
    with pytest.raises(HostError, match="was not made by this collection"):
        download(job_of(hub, directory))


def test_a_part_that_is_a_link_is_not_followed(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    directory.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    Path(str(directory) + ".part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="exists and is not a directory"):
        download(job_of(hub, directory))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_was_fetched_and_damaged_is_fetched_again_and_the_rest_kept(
    hub: hubs.Hub, directory: Path
) -> None:
    job = job_of(hub, directory)
    download(job)
    os.truncate(directory / SHARD, 30_000)
    kept = (directory / "model-00001-of-00003.safetensors").stat().st_ino
    found = checked(job)
    assert (found.state, found.missing) == ("fetch", 40_090)
    assert f"{SHARD} is cut off" in found.why
    hub.asked.clear()
    download(job)
    assert same(directory, hub.models[ID])
    assert (
        len([path for path in hub.files_asked() if "safetensors" in path and "/resolve/" in path])
        == 1
    )
    assert (directory / "model-00001-of-00003.safetensors").stat().st_ino == kept


def test_bytes_that_changed_without_the_length_are_found_by_their_time(
    hub: hubs.Hub, directory: Path
) -> None:
    job = job_of(hub, directory)
    download(job)
    data = bytearray((directory / SHARD).read_bytes())
    data[-5] ^= 1
    (directory / SHARD).write_bytes(bytes(data))
    assert checked(job).state == "verify"
    download(job)
    assert same(directory, hub.models[ID])
    assert checked(job).state == "complete"


def test_a_file_that_was_only_touched_is_hashed_once(hub: hubs.Hub, directory: Path) -> None:
    job = job_of(hub, directory)
    download(job)
    os.utime(directory / SHARD, (1, 1))
    assert checked(job).state == "verify"
    hub.asked.clear()
    download(job)
    assert hub.asked == []
    assert checked(job).state == "complete"


def test_another_revision_replaces_and_the_old_one_stays_until_then(
    hub: hubs.Hub, directory: Path
) -> None:
    download(job_of(hub, directory))
    other = job_of(hub, directory, "modelscope", revision="v1")
    old = hub.models[ID][SHARD]
    hub.models[ID] = {
        **hub.models[ID],
        SHARD: hubs.safetensors({"layer.1.weight": 40_000}, b"\x77"),
    }
    assert "revision" in checked(other).why
    hub.fault = fail(SHARD, 404)
    with pytest.raises(HostError):
        download(other)
    assert (directory / SHARD).read_bytes() == old
    hub.fault = hubs.Hub.fault
    hub.asked.clear()
    download(other)
    assert same(directory, hub.models[ID])
    assert [path for path in hub.files_asked() if "model-00001" in path] == []
    assert checked(other).state == "complete"
    assert sorted(path.name for path in directory.parent.iterdir()) == ["Qwen3-14B"]


def test_a_directory_made_by_hand_can_be_compared_with_the_hub_once(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    put(directory, hub.models[ID])
    job = job_of(hub, directory, verify=True, memory=str(tmp_path / "memory" / "x.json"))
    assert checked(job).state == "verify"
    download(job)
    assert checked(job).state == "complete"
    data = bytearray((directory / SHARD).read_bytes())
    data[-5] ^= 1
    (directory / SHARD).write_bytes(bytes(data))
    assert checked(job).state == "verify"
    with pytest.raises(HostError, match=rf"1 of its files are not as {ID} has them.*{SHARD}"):
        download(job)
    assert (directory / SHARD).read_bytes() == bytes(data)


# -- in place ----------------------------------------------------------------------------------------


def test_a_run_that_died_while_it_switched_is_finished_and_cleared_up(
    hub: hubs.Hub, directory: Path
) -> None:
    job = job_of(hub, directory)
    download(job)
    old = directory.parent / ".Qwen3-14B.inferops-old-4711"
    # Dead between the two renames: the old directory is away, the new one not yet there.
    shutil.copytree(directory, str(directory) + ".part")
    Path(str(directory) + ".part", LOCK).write_text("process 4711 on here")
    directory.rename(old)
    assert checked(job).state == "fetch"
    download(job)
    assert same(directory, hub.models[ID])
    assert sorted(os.listdir(directory.parent)) == ["Qwen3-14B"]
    # Dead after them, before the old one was removed.
    (directory / LOCK).touch()
    put(old, {SHARD: b"old"})
    by_hand = put(directory.parent / "Qwen3-14B.old-2", {SHARD: b"mine"})
    found = checked(job)
    assert (found.state, found.missing) == ("verify", 0)
    download(job)
    assert not old.exists()
    assert LOCK not in os.listdir(directory)
    assert (by_hand / SHARD).read_bytes() == b"mine"
    assert checked(job).state == "complete"


def test_a_link_is_not_fetched_into(hub: hubs.Hub, directory: Path, tmp_path: Path) -> None:
    directory.parent.mkdir(parents=True)
    (tmp_path / "large").mkdir()
    directory.symlink_to(tmp_path / "large")
    found = checked(job_of(hub, directory))
    assert found.state == "refused"
    assert f"Give the service the path {tmp_path}/large, or remove the link" in found.problem
    put(tmp_path / "large", hub.models[ID])
    assert checked(job_of(hub, directory)).state == "complete"
    assert hub.asked == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("kind", ["-t tmpfs none", "--bind elsewhere"])
def test_where_a_disk_is_mounted_no_other_directory_is_put(
    hub: hubs.Hub, directory: Path, tmp_path: Path, kind: str
) -> None:
    directory.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    subprocess.run(["mount", *kind.split(), directory], check=True, cwd=tmp_path)
    try:
        found = checked(job_of(hub, directory))
        assert f"such as {directory}/Qwen3-14B" in found.problem
        assert hub.asked == []
        put(directory, hub.models[ID])
        assert checked(job_of(hub, directory)).state == "complete"
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_to_be_read_only_is_enough_for_what_is_complete(
    hub: hubs.Hub, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
    try:
        job = job_of(hub, disk / "Qwen" / "Qwen3-14B")
        download(job)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert checked(job).state == "complete"
        download(job)
        with pytest.raises(HostError, match="on a disk that this host may only read"):
            download(job._replace(directory=str(disk / "Qwen" / "other")))
    finally:
        subprocess.run(["umount", disk], check=True)


# -- disks -------------------------------------------------------------------------------------------


def test_room_is_asked_for_before_anything_is_fetched(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    huge = 10**15
    hub.listed = lambda entry: (
        {**entry, "size": huge, "lfs": {**entry["lfs"], "size": huge}} if "lfs" in entry else entry
    )
    found = checked(job_of(hub, directory))
    words = room([found])
    assert f"3000000.0 GB are needed at {directory.parent}" in words
    assert "vllm_service_weights_dir" in words
    assert room([found._replace(needed=1000)]) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_fills_up_is_reported_and_gone_on_with(hub: hubs.Hub, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90k", "none", disk], check=True)
    try:
        job = job_of(hub, disk / "Qwen" / "Qwen3-14B")
        with pytest.raises(
            HostError,
            match=r"Qwen3-14B\.part cannot be written: there is no room on .*tmpfs.*Make room",
        ):
            download(job)
        subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
        download(job)
        assert same(Path(job.directory), hub.models[ID])
    finally:
        subprocess.run(["umount", disk], check=True)
