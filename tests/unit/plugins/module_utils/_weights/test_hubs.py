# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hubs' own clients in a process and an environment of their own."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._weights import fetch, hub_client, run
from ansible_collections.inferops.ascend.plugins.module_utils._weights.hubs import Clients, Packages
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Progress
from ansible_collections.inferops.ascend.plugins.module_utils._weights.switch import LOCK
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs
from ansible_collections.inferops.ascend.tests.hubs.fetching import (
    ID,
    SHARD,
    apart,
    download,
    job_of,
    same,
)


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_token_is_in_no_command_and_no_environment(
    hub: hubs.Hub, directory: Path, tmp_path: Path, source: str
) -> None:
    hub.token = "hf_verysecrettoken"
    seen: list[bytes] = []

    def look(handler: hubs.Handler, asked: str, first: int) -> bool:
        for path in Path("/proc").glob("[0-9]*") if asked == SHARD else ():
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    seen.append((path / name).read_bytes())
        return False

    hub.fault = look
    job = job_of(hub, directory, source, token=hub.token)
    fetch.Fetch(job, Progress([job]), apart(tmp_path), 2).run()
    assert same(directory, hub.models[ID])
    assert any(b"json.loads(sys.stdin" in each for each in seen)
    assert not any(b"verysecret" in each for each in seen)


def test_the_client_ends_with_the_run_and_its_files_are_continued(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    hub.models[ID] = hubs.model(shards=1, shard_bytes=8_000_000)
    hub.pace = 1_000_000
    job = job_of(hub, directory)
    clients, runs = apart(tmp_path), str(tmp_path / "run")
    name = run.start([job], clients, 1, runs)
    deadline = time.monotonic() + 30
    while run.follow(name, 0, runs).directories[job.directory]["done"] < 1_500_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(int(Path(f"{directory}.part", LOCK).read_text().split()[1]), signal.SIGKILL)
    assert run.follow(name, 10, runs).died
    hub.pace = None
    hub.asked.clear()
    fetch.Fetch(job, Progress([job]), clients, 2).run()
    assert same(directory, hub.models[ID])
    assert [each.range for each in hub.asked if each.range], "it was downloaded again"


def test_files_above_the_hubs_limit_come_in_ranges(
    hub: hubs.Hub, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "SEGMENT", 15_000)
    download(job_of(hub, directory))
    assert same(directory, hub.models[ID])
    ranges = [each.range for each in hub.asked if each.range and SHARD in each.path]
    assert set(ranges) == {"bytes=0-14999", "bytes=15000-29999", "bytes=30000-40089"}


def test_a_client_that_cannot_be_installed_leaves_nothing_and_names_the_ways_out(
    tmp_path: Path,
) -> None:
    clients = Clients(Packages(str(tmp_path / "tools"), wheels=str(tmp_path), offline=True))
    with pytest.raises(HostError) as caught:
        clients.install("modelscope")
    for words in ("modelscope>=1.26", "Python 3.", "wheels: ..., offline: true", "an archive"):
        assert words in str(caught.value)
    assert list((tmp_path / "tools").iterdir()) == []


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_file_that_does_not_end_fills_no_disk(
    hub: hubs.Hub, directory: Path, tmp_path: Path, source: str
) -> None:
    sent: list[int] = []

    def endless(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != SHARD:
            return False
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            for _block in range(200):
                handler.wfile.write(bytes(1_000_000))
                sent.append(1_000_000)
        return True

    hub.fault = endless
    job = job_of(hub, directory, source)
    with pytest.raises(HostError, match="where the listing has"):
        fetch.Fetch(job, Progress([job]), apart(tmp_path), 2).run()
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert max((path.stat().st_size for path in files), default=0) <= hub_client.MOST_CONFIG
    assert sum(sent) < 200_000_000
