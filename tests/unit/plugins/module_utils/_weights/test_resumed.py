# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares, rsync and archives that break off or change meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._weights import faults, fetch, run
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job, Progress
from ansible_collections.inferops.ascend.plugins.module_utils._weights.marker import MARKER
from ansible_collections.inferops.ascend.plugins.module_utils._weights.sources import (
    Directory,
    partial_of,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.switch import LOCK
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs
from ansible_collections.inferops.ascend.tests.hubs.fetching import (
    CLIENTS,
    ID,
    SHARD,
    checked,
    cut_always,
    download,
    put,
    same,
)


def holder_of(directory: Path) -> int:
    text = Path(str(directory) + ".part", LOCK).read_text()
    return int(text.split()[1])


# -- shares, rsync and archives ----------------------------------------------------------------------


def test_two_states_of_a_share_are_never_put_together(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    share = put(tmp_path / "mnt", hub.models[ID])
    job = Job(str(directory), "Qwen3-14B", "nfs", location=str(share))
    # A run that died within a file, after another one had come.
    download(job)
    directory.rename(str(directory) + ".part")
    part = Path(str(directory) + ".part")
    (part / LOCK).touch()
    remote = next(f for f in Directory(job).listing().files if f.path == SHARD)
    partial = part / partial_of(remote)
    (part / SHARD).rename(partial)
    os.truncate(partial, 20_000)
    progress = Progress([job])
    found = checked(job)
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
    fetch.Fetch(job, progress, CLIENTS, 2).run()
    assert same(directory, {**hub.models[ID], **newer})
    assert not list(directory.glob("*.inferops-incomplete"))


def test_a_marker_that_was_not_finished_is_removed(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    job = Job(
        str(directory), "Qwen3-14B", "nfs", location=str(put(tmp_path / "mnt", hub.models[ID]))
    )
    download(job)
    (directory / ".inferops-ascend-killed").write_text("half")
    assert checked(job).state == "verify"
    download(job)
    assert checked(job).state == "complete"
    assert not (directory / ".inferops-ascend-killed").exists() and (directory / MARKER).exists()


def test_another_place_than_before_is_reported_and_nothing_replaced(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        put(tmp_path / name, hub.models[ID])
    job = Job(str(directory), "Qwen3-14B", "nfs", location=str(tmp_path / "one"))
    download(job)
    assert checked(job._replace(location=f"{tmp_path}/one/")).note == ""
    found = checked(job._replace(location=str(tmp_path / "two")))
    assert found.state == "complete"
    assert f"came from {tmp_path}/one, and {tmp_path}/two is asked for now. It is" in found.note
    assert checked(job._replace(source="local", location="")).note == ""


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_rsync_that_outlives_its_run_keeps_others_away(
    hub: hubs.Hub, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    job = Job(str(directory), "Qwen3-14B", "rsync", location=str(tmp_path / "store"))
    runs = str(tmp_path / "run")
    name = run.start([job], CLIENTS, 1, runs)
    deadline = time.monotonic() + 10
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(holder_of(directory), signal.SIGKILL)
    assert run.follow(name, 5, runs).died
    program = int((tmp_path / "pid").read_text())
    seen: list[bool] = []
    progress = Progress([job])
    say = progress.update

    def watched(given: Job, **values: Any) -> None:
        if values.get("phase") == "listing":
            # What has ended has no directory any more, also where nobody has asked how it ended.
            seen.append(os.path.exists(f"/proc/{program}/cwd"))
        say(given, **values)

    monkeypatch.setattr(progress, "update", watched)
    fetch.Fetch(job, progress, CLIENTS, 1).run()
    assert seen == [False], "rsync of the killed run still wrote when the next one began"
    assert same(directory, hub.models[ID])


def test_an_archive_at_an_address_is_continued(hub: hubs.Hub, directory: Path) -> None:
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
        str(directory),
        "Qwen3-14B",
        "archive",
        location=f"{hub.address}/a.tar?key=secret",
        sha256=hubs.sha256(data),
    )
    download(job)
    assert same(directory, hub.models[ID])
    assert "bytes=33333-" in [each.range for each in hub.asked]


def test_two_archives_of_one_length_are_never_put_together(hub: hubs.Hub, directory: Path) -> None:
    old = hubs.tar_of(hub.models[ID], mode="w")
    hub.models[ID] = {name: data.replace(b"\x01", b"\x07") for name, data in hub.models[ID].items()}
    new = hubs.tar_of(hub.models[ID], mode="w")
    assert len(old) == len(new)
    hub.archives = {"/a.tar": old, "/b.tar": new}
    hub.fault = cut_always("/a.tar", old, after=33_333)
    job = Job(str(directory), "Qwen3-14B", "archive", location=f"{hub.address}/a.tar")
    hub.asked.clear()
    with pytest.raises(HostError):
        download(job)
    again = job._replace(location=f"{hub.address}/b.tar?sig=1")
    assert checked(again).missing == len(new)
    hub.fault = lambda handler, asked, first: False
    download(again)
    assert same(directory, hub.models[ID])
    assert "sig" not in (directory / MARKER).read_text()


@pytest.mark.parametrize(
    ("asked", "seconds"), [("7", 7.0), ("9999", 300.0), ("²", 1.0), ("1" * 5000, 1.0), ("", 1.0)]
)
def test_a_hub_is_given_the_time_that_it_asks_for_if_that_is_a_number(
    asked: str, seconds: float
) -> None:
    assert faults.waiting_time({"Retry-After": asked}, 1) == seconds
