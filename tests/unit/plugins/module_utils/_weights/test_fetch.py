# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching against a real server that breaks off and lies: resumed, verified, whole into place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._weights import fetch, run
from ansible_collections.inferops.ascend.plugins.module_utils._weights.check import room
from ansible_collections.inferops.ascend.plugins.module_utils._weights.errors import WeightsError
from ansible_collections.inferops.ascend.plugins.module_utils._weights.marker import MARKER
from ansible_collections.inferops.ascend.plugins.module_utils._weights.progress import Progress
from ansible_collections.inferops.ascend.plugins.module_utils._weights.sources import (
    INCOMPLETE,
    Folder,
    Job,
    partial_of,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.switch import LOCK
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs
from ansible_collections.inferops.ascend.tests.hubs.bringing import (
    CLIENTS,
    ID,
    SHARD,
    bring,
    cut_always,
    cut_once,
    fail,
    job_of,
    look,
    put,
    same,
)

# -- bringing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_model_comes_whole_and_a_second_run_asks_nobody(
    hub: hubs.Hub, folder: Path, source: str
) -> None:
    job = job_of(hub, folder, source)
    found = look(job)
    assert (found.state, found.missing, found.config["num_attention_heads"]) == (
        "fetch",
        found.total,
        40,
    )
    assert not folder.exists()
    bring(job)
    assert same(folder, hub.models[ID])
    assert not Path(str(folder) + ".part").exists()
    hub.asked.clear()
    assert look(job).state == "complete"
    assert hub.asked == []


@pytest.mark.parametrize("source", ["huggingface", "archive"])
def test_the_folder_is_readable_by_all_and_writable_by_its_owner_alone(
    hub: hubs.Hub, folder: Path, tmp_path: Path, source: str
) -> None:
    hub.models[ID]["1_Pooling/config.json"] = b"{}"
    (tmp_path / "a.tar").write_bytes(hubs.tar_of(hub.models[ID]))
    job = job_of(hub, folder, source, location=str(tmp_path / "a.tar"))
    before = os.umask(0o077)
    try:
        folder.parent.mkdir(parents=True)
        bring(job)
    finally:
        os.umask(before)
    modes = {oct(path.stat().st_mode & 0o777) for path in folder.rglob("*") if path.is_file()}
    assert modes == {"0o644"}
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "1_Pooling").stat().st_mode & 0o777 == 0o755


# -- broken off --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_connection_that_breaks_is_gone_on_with_at_its_byte(
    hub: hubs.Hub, folder: Path, source: str
) -> None:
    hub.fault = cut_once(SHARD, 12_345)
    bring(job_of(hub, folder, source))
    assert same(folder, hub.models[ID])
    ranges = [
        each.range for each in hub.asked if SHARD in urllib.parse.unquote(each.path) and each.range
    ]
    starts = [int(each[len("bytes=") :].partition("-")[0]) for each in ranges]
    resumed = [each for each in starts if each]
    assert resumed
    # No more is lost than the block that was being read.
    assert all(11_345 < each <= 12_345 for each in resumed)


def test_a_server_without_ranges_sends_it_again(hub: hubs.Hub, folder: Path) -> None:
    hub.ranges = False
    hub.fault = cut_once(SHARD, 12_345)
    bring(job_of(hub, folder))
    assert same(folder, hub.models[ID])


def test_a_killed_run_is_gone_on_with(hub: hubs.Hub, folder: Path, tmp_path: Path) -> None:
    hub.pace = 60_000
    job = job_of(hub, folder)
    runs = str(tmp_path / "run")
    name = run.start([job], CLIENTS, 1, runs)
    deadline = time.monotonic() + 20
    while run.follow(name, 0, runs).folders[job.folder]["done"] < 50_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(holder_of(folder), signal.SIGKILL)
    state = run.follow(name, 5, runs)
    assert (state.finished, state.died) == (False, True)
    assert not folder.exists()

    hub.pace = None
    found = look(job)
    assert 0 < found.missing < found.total
    hub.asked.clear()
    bring(job)
    assert same(folder, hub.models[ID])
    resumed = [each.range for each in hub.asked if each.range]
    assert resumed, "what had come was fetched again"
    assert len(hub.files_asked()) < len(hub.models[ID])


def holder_of(folder: Path) -> int:
    text = Path(str(folder) + ".part", LOCK).read_text()
    return int(text.split()[1])


def test_a_run_apart_ends_by_itself_and_says_so(
    hub: hubs.Hub, folder: Path, tmp_path: Path
) -> None:
    job = job_of(hub, folder)
    bad = Job(str(tmp_path / "none"), "other", "huggingface", "no/such", endpoint=hub.address)
    name = run.start([bad, job], CLIENTS, 2, str(tmp_path / "run"))
    state = run.follow(name, 30, str(tmp_path / "run"))
    assert state.finished
    assert state.folders[job.folder]["phase"] == "done"
    assert "no/such" in state.folders[bad.folder]["error"]
    assert same(folder, hub.models[ID])


def test_two_runs_for_one_folder_fetch_it_once(hub: hubs.Hub, folder: Path, tmp_path: Path) -> None:
    hub.pace = 60_000
    job = job_of(hub, folder)
    runs = str(tmp_path / "run")
    first = run.start([job], CLIENTS, 2, runs)
    while not (Path(str(folder) + ".part") / LOCK).exists():
        time.sleep(0.02)
    time.sleep(0.3)
    # A second process, as another host with the same disk would be.
    second = subprocess.Popen(
        ["sh", "-c", 'while [ -d "$0.part" ]; do sleep 0.1; done', str(folder)]
    )
    progress = Progress([job])
    fetch.bring(job, progress, CLIENTS, 2)
    assert run.follow(first, 10, runs).finished
    assert second.wait(10) == 0
    assert same(folder, hub.models[ID])
    large = [path for path in hub.files_asked() if "/resolve/" in path and SHARD in path]
    assert len(large) == 1
    assert progress.snapshot()[job.folder]["phase"].startswith("waiting for process")


# -- wrong bytes -------------------------------------------------------------------------------------


def test_altered_bytes_never_get_into_place(hub: hubs.Hub, folder: Path) -> None:
    def alter(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != SHARD:
            return False
        data = bytearray(handler.server.hub.models[ID][SHARD])
        data[-1] ^= 1
        handler.answer(bytes(data[first:]))
        return True

    hub.fault = alter
    with pytest.raises(WeightsError, match=r"two times.*take another source"):
        bring(job_of(hub, folder))
    assert not folder.exists()
    hub.fault = hubs.Hub.fault
    bring(job_of(hub, folder))
    assert same(folder, hub.models[ID])


def test_a_small_file_is_held_against_gits_id(hub: hubs.Hub, folder: Path) -> None:
    def alter(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != "tokenizer.json":
            return False
        handler.answer(handler.server.hub.models[ID][asked].replace(b"1.0", b"2.0"))
        return True

    hub.fault = alter
    with pytest.raises(WeightsError, match="tokenizer.json"):
        bring(job_of(hub, folder))


def test_another_files_beginning_is_thrown_away(hub: hubs.Hub, folder: Path) -> None:
    """A part that was left by another revision has the right length to resume, and wrong bytes."""
    part = Path(str(folder) + ".part")
    part.mkdir(parents=True)
    (part / LOCK).touch()
    (part / (SHARD + INCOMPLETE)).write_bytes(b"z" * 20_000)
    bring(job_of(hub, folder))
    assert same(folder, hub.models[ID])


def test_a_page_of_a_proxy_instead_of_a_file_is_said(hub: hubs.Hub, folder: Path) -> None:
    def page(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked == SHARD:
            handler.answer(b"<html>blocked</html>", 200, {"Content-Type": "text/html"})
        return asked == SHARD

    hub.fault = page
    with pytest.raises(WeightsError, match=r"has 20 bytes, where the listing says 40090"):
        bring(job_of(hub, folder))


def test_a_repository_that_is_not_whole_does_not_get_into_place(
    hub: hubs.Hub, folder: Path
) -> None:
    del hub.models[ID][SHARD]
    with pytest.raises(
        WeightsError, match=rf"as it is there, but .* not a whole model: 1 of 3 .*{SHARD}"
    ):
        bring(job_of(hub, folder))
    assert not folder.exists()


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
        f"{folder} was made by hand and is not a whole Qwen3-14B: 1 of 3 shards are missing"
        in found.problem
    )
    with pytest.raises(WeightsError, match="made by hand"):
        bring(job_of(hub, folder))
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("left", [False, True], ids=["absent", "not whole"])
def test_local_weights_are_checked_only(hub: hubs.Hub, folder: Path, left: bool) -> None:
    if left:
        put(folder, {"config.json": b"{}"})
    problem = look(job_of(hub, folder, "local")).problem
    assert "vllm_weights_source" in problem
    assert hub.asked == []


def test_a_part_that_somebody_else_made_is_not_fetched_into(hub: hubs.Hub, folder: Path) -> None:
    put(Path(str(folder) + ".part"), {"notes.txt": b"mine"})
    with pytest.raises(WeightsError, match="this collection did not make it"):
        bring(job_of(hub, folder))


def test_a_part_that_is_a_link_is_not_followed(hub: hubs.Hub, folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    Path(str(folder) + ".part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match="in the way"):
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
    with pytest.raises(WeightsError):
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
    with pytest.raises(WeightsError, match=rf"1 of its files are not as {ID} has them.*{SHARD}"):
        bring(job)
    assert (folder / SHARD).read_bytes() == bytes(data)


# -- in place ----------------------------------------------------------------------------------------


def test_a_run_that_died_while_it_switched_is_finished_and_cleared_up(
    hub: hubs.Hub, folder: Path
) -> None:
    job = job_of(hub, folder)
    bring(job)
    old = folder.parent / ".Qwen3-14B.inferops-old-4711"
    # Dead between the two renames: the old folder is away, the new one not yet there.
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
        with pytest.raises(WeightsError, match="on a disk that this host may only read"):
            bring(job._replace(folder=str(disk / "Qwen" / "other")))
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
        with pytest.raises(WeightsError, match=r"the disk of .*\.part is full\. Make room"):
            bring(job)
        subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
        bring(job)
        assert same(Path(job.folder), hub.models[ID])
    finally:
        subprocess.run(["umount", disk], check=True)


# -- shares, rsync and archives ----------------------------------------------------------------------


def test_two_states_of_a_share_are_never_put_together(
    hub: hubs.Hub, folder: Path, tmp_path: Path
) -> None:
    share = put(tmp_path / "mnt", hub.models[ID])
    job = Job(str(folder), "Qwen3-14B", "nfs", location=str(share))
    # A run that died within a file, after another one had come.
    bring(job)
    folder.rename(str(folder) + ".part")
    part = Path(str(folder) + ".part")
    (part / LOCK).touch()
    remote = next(f for f in Folder(job).listing().files if f.path == SHARD)
    partial = part / partial_of(remote)
    (part / SHARD).rename(partial)
    os.truncate(partial, 20_000)
    progress = Progress([job])
    found = look(job)
    assert found.missing == found.total - sum(
        each.stat().st_size for each in part.iterdir() if each.name not in (MARKER, LOCK)
    )
    # Meanwhile the share was given other weights of the same size.
    newer = {
        name: data.replace(b"\x01", b"\x09").replace(b"\x02", b"\x08")
        for name, data in hub.models[ID].items()
        if name.endswith(".safetensors")
    }
    time.sleep(0.01)
    put(share, newer)
    fetch.bring(job, progress, CLIENTS, 2)
    assert same(folder, {**hub.models[ID], **newer})
    assert not list(folder.glob("*.inferops-incomplete"))


def test_another_place_than_before_is_said_and_nothing_replaced(
    hub: hubs.Hub, folder: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        put(tmp_path / name, hub.models[ID])
    job = Job(str(folder), "Qwen3-14B", "nfs", location=str(tmp_path / "one"))
    bring(job)
    assert look(job._replace(location=f"{tmp_path}/one/")).note == ""
    found = look(job._replace(location=str(tmp_path / "two")))
    assert found.state == "complete"
    assert f"came from {tmp_path}/one, and {tmp_path}/two is asked for now. It is" in found.note
    assert look(job._replace(source="local", location="")).note == ""


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_rsync_that_outlives_its_run_keeps_others_away(
    hub: hubs.Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "store", hub.models[ID])
    slow = tmp_path / "bin" / "rsync"
    slow.parent.mkdir()
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *--files-from*) echo $$ > {tmp_path}/pid; sleep 1.5;; esac\n'
        f'exec {shutil.which("rsync")} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    job = Job(str(folder), "Qwen3-14B", "rsync", location=str(tmp_path / "store"))
    runs = str(tmp_path / "run")
    name = run.start([job], CLIENTS, 1, runs)
    deadline = time.monotonic() + 10
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(holder_of(folder), signal.SIGKILL)
    assert run.follow(name, 5, runs).died
    program = int((tmp_path / "pid").read_text())
    seen: list[bool] = []
    progress = Progress([job])
    say = progress.say

    def watched(given: str, **values: Any) -> None:
        if values.get("phase") == "listing":
            # What has ended has no folder any more, also where nobody has asked how it ended.
            seen.append(os.path.exists(f"/proc/{program}/cwd"))
        say(given, **values)

    monkeypatch.setattr(progress, "say", watched)
    fetch.bring(job, progress, CLIENTS, 1)
    assert seen == [False], "rsync of the killed run still wrote when the next one began"
    assert same(folder, hub.models[ID])


def test_an_archive_at_an_address_is_gone_on_with(hub: hubs.Hub, folder: Path) -> None:
    data = hubs.tar_of(hub.models[ID], mode="w")
    hub.archives["/a.tar"] = data
    done: list[int] = []

    def fault(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked == "/a.tar" and len(done) == 1:
            done.append(1)
            handler.answer(data, 200, cut=33_333)
            return True
        done.append(0)
        return False

    hub.fault = fault
    job = Job(
        str(folder),
        "Qwen3-14B",
        "archive",
        location=f"{hub.address}/a.tar?key=secret",
        sha256=hubs.sha256(data),
    )
    bring(job)
    assert same(folder, hub.models[ID])
    assert "bytes=33333-" in [each.range for each in hub.asked]


def test_two_archives_of_one_length_are_never_put_together(hub: hubs.Hub, folder: Path) -> None:
    old = hubs.tar_of(hub.models[ID], mode="w")
    hub.models[ID] = {name: data.replace(b"\x01", b"\x07") for name, data in hub.models[ID].items()}
    new = hubs.tar_of(hub.models[ID], mode="w")
    assert len(old) == len(new)
    hub.archives = {"/a.tar": old, "/b.tar": new}
    hub.fault = cut_always("/a.tar", old, after=33_333)
    job = Job(str(folder), "Qwen3-14B", "archive", location=f"{hub.address}/a.tar")
    hub.asked.clear()
    with pytest.raises(WeightsError):
        bring(job)
    again = job._replace(location=f"{hub.address}/b.tar?sig=1")
    assert look(again).missing == len(new)
    hub.fault = lambda handler, asked, first: False
    bring(again)
    assert same(folder, hub.models[ID])
    assert "sig" not in (folder / MARKER).read_text()
