# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching against a real server that breaks off and lies: resumed, verified, complete into place."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._weights import fetch, run
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job, Progress
from ansible_collections.inferops.ascend.plugins.module_utils._weights.sources import INCOMPLETE
from ansible_collections.inferops.ascend.plugins.module_utils._weights.switch import LOCK
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs
from ansible_collections.inferops.ascend.tests.hubs.fetching import (
    CLIENTS,
    ID,
    SHARD,
    checked,
    cut_once,
    download,
    job_of,
    same,
)

# -- downloads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_model_comes_complete_and_a_second_run_asks_nobody(
    hub: hubs.Hub, directory: Path, source: str
) -> None:
    job = job_of(hub, directory, source)
    found = checked(job)
    assert (found.state, found.missing, found.config["num_attention_heads"]) == (
        "fetch",
        found.total,
        40,
    )
    assert not directory.exists()
    download(job)
    assert same(directory, hub.models[ID])
    assert not Path(str(directory) + ".part").exists()
    hub.asked.clear()
    assert checked(job).state == "complete"
    assert hub.asked == []


@pytest.mark.parametrize("source", ["huggingface", "archive"])
def test_the_directory_is_readable_by_all_and_writable_by_its_owner_alone(
    hub: hubs.Hub, directory: Path, tmp_path: Path, source: str
) -> None:
    hub.models[ID]["1_Pooling/config.json"] = b"{}"
    (tmp_path / "a.tar").write_bytes(hubs.tar_of(hub.models[ID]))
    job = job_of(hub, directory, source, location=str(tmp_path / "a.tar"))
    before = os.umask(0o077)
    try:
        directory.parent.mkdir(parents=True)
        download(job)
    finally:
        os.umask(before)
    modes = {oct(path.stat().st_mode & 0o777) for path in directory.rglob("*") if path.is_file()}
    assert modes == {"0o644"}
    assert directory.stat().st_mode & 0o777 == 0o755
    assert (directory / "1_Pooling").stat().st_mode & 0o777 == 0o755


# -- broken off --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_connection_that_breaks_is_continued_at_its_byte(
    hub: hubs.Hub, directory: Path, source: str
) -> None:
    hub.fault = cut_once(SHARD, 12_345)
    download(job_of(hub, directory, source))
    assert same(directory, hub.models[ID])
    ranges = [
        each.range for each in hub.asked if SHARD in urllib.parse.unquote(each.path) and each.range
    ]
    starts = [int(each[len("bytes=") :].partition("-")[0]) for each in ranges]
    resumed = [each for each in starts if each]
    assert resumed
    # No more is lost than the block that was being read.
    assert all(11_345 < each <= 12_345 for each in resumed)


def test_a_server_without_ranges_sends_it_again(hub: hubs.Hub, directory: Path) -> None:
    hub.ranges = False
    hub.fault = cut_once(SHARD, 12_345)
    download(job_of(hub, directory))
    assert same(directory, hub.models[ID])


def test_a_killed_run_is_continued(hub: hubs.Hub, directory: Path, tmp_path: Path) -> None:
    hub.pace = 60_000
    job = job_of(hub, directory)
    runs = str(tmp_path / "run")
    name = run.start([job], CLIENTS, 1, runs)
    deadline = time.monotonic() + 20
    while run.follow(name, 0, runs).directories[job.directory]["done"] < 50_000 or not begun(
        directory
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(holder_of(directory), signal.SIGKILL)
    state = run.follow(name, 5, runs)
    assert (state.finished, state.died) == (False, True)
    assert not directory.exists()

    hub.pace = None
    found = checked(job)
    assert 0 < found.missing < found.total
    hub.asked.clear()
    download(job)
    assert same(directory, hub.models[ID])
    resumed = [each.range for each in hub.asked if each.range]
    assert resumed, "what had come was fetched again"
    assert len(hub.files_asked()) < len(hub.models[ID])


def begun(directory: Path) -> list[Path]:
    """The files of which a part is on the disk."""
    there = Path(str(directory) + ".part").rglob(f"*{INCOMPLETE}")
    return [path for path in there if path.exists() and path.stat().st_size]


def holder_of(directory: Path) -> int:
    text = Path(str(directory) + ".part", LOCK).read_text()
    return int(text.split()[1])


def test_a_run_apart_ends_by_itself_and_says_so(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    job = job_of(hub, directory)
    bad = Job(str(tmp_path / "none"), "other", "huggingface", "no/such", endpoint=hub.address)
    name = run.start([bad, job], CLIENTS, 2, str(tmp_path / "run"))
    state = run.follow(name, 30, str(tmp_path / "run"))
    assert state.finished
    assert state.directories[job.directory]["phase"] == "done"
    assert "no/such" in state.directories[bad.directory]["error"]
    assert same(directory, hub.models[ID])


def test_two_runs_for_one_directory_fetch_it_once(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    hub.pace = 60_000
    job = job_of(hub, directory)
    runs = str(tmp_path / "run")
    first = run.start([job], CLIENTS, 2, runs)
    while not (Path(str(directory) + ".part") / LOCK).exists():
        time.sleep(0.02)
    time.sleep(0.3)
    # A second process, as another host with the same disk would be.
    second = subprocess.Popen(
        ["sh", "-c", 'while [ -d "$0.part" ]; do sleep 0.1; done', str(directory)]
    )
    progress = Progress([job])
    fetch.Fetch(job, progress, CLIENTS, 2).run()
    assert run.follow(first, 10, runs).finished
    assert second.wait(10) == 0
    assert same(directory, hub.models[ID])
    large = [path for path in hub.files_asked() if "/resolve/" in path and SHARD in path]
    assert len(large) == 1
    assert progress.snapshot()[job.directory]["phase"].startswith("waiting for process")


# -- wrong bytes -------------------------------------------------------------------------------------


def test_altered_bytes_never_get_into_place(hub: hubs.Hub, directory: Path) -> None:
    def alter(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != SHARD:
            return False
        data = bytearray(handler.server.hub.models[ID][SHARD])
        data[-1] ^= 1
        handler.answer(bytes(data[first:]))
        return True

    hub.fault = alter
    with pytest.raises(HostError, match=r"two times.*take another source"):
        download(job_of(hub, directory))
    assert not directory.exists()
    hub.fault = hubs.Hub.fault
    download(job_of(hub, directory))
    assert same(directory, hub.models[ID])


def test_a_small_file_is_compared_with_gits_id(hub: hubs.Hub, directory: Path) -> None:
    def alter(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != "tokenizer.json":
            return False
        handler.answer(handler.server.hub.models[ID][asked].replace(b"1.0", b"2.0"))
        return True

    hub.fault = alter
    with pytest.raises(HostError, match="tokenizer.json"):
        download(job_of(hub, directory))


def test_another_files_beginning_is_thrown_away(hub: hubs.Hub, directory: Path) -> None:
    """A part that was left by another revision has the right length to resume, and wrong bytes."""
    part = Path(str(directory) + ".part")
    part.mkdir(parents=True)
    (part / LOCK).touch()
    (part / (SHARD + INCOMPLETE)).write_bytes(b"z" * 20_000)
    download(job_of(hub, directory))
    assert same(directory, hub.models[ID])


def test_a_page_of_a_proxy_instead_of_a_file_is_reported(hub: hubs.Hub, directory: Path) -> None:
    def page(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked == SHARD:
            handler.answer(b"<html>blocked</html>", 200, {"Content-Type": "text/html"})
        return asked == SHARD

    hub.fault = page
    with pytest.raises(HostError, match=r"has 20 bytes, where the listing has 40090"):
        download(job_of(hub, directory))


def test_a_repository_that_is_not_complete_does_not_get_into_place(
    hub: hubs.Hub, directory: Path
) -> None:
    del hub.models[ID][SHARD]
    with pytest.raises(
        HostError, match=rf"as it is there, but .* not a complete model: 1 of 3 .*{SHARD}"
    ):
        download(job_of(hub, directory))
    assert not directory.exists()
