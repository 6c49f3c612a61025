# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that brings a model from the server of `hub`, and faults to give that server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._weights import fetch
from ansible_collections.inferops.ascend.plugins.module_utils._weights import hubs as _hubs
from ansible_collections.inferops.ascend.plugins.module_utils._weights import look as _weights
from ansible_collections.inferops.ascend.plugins.module_utils._weights.sources import (
    Job,
    secrets_of,
)
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

ID = "Qwen/Qwen3-14B"
SHARD = "model-00002-of-00003.safetensors"
ROOT = _weights.Account("root", 0, [0])


class Clock:
    """Waits for tries without waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def job_of(hub: hubs.Hub, folder: Path, source: str = "huggingface", **more: Any) -> Job:
    return Job(str(folder), "Qwen3-14B", source, ID, endpoint=hub.address, **more)


def web_of(job: Job, clock: Clock | None = None) -> _hubs.Web:
    return _hubs.Web(secrets_of(job), timeout=3, sleep=clock or Clock())


def bring(job: Job, clock: Clock | None = None) -> dict[str, Any]:
    progress = fetch.Progress([job])
    fetch.bring(job, progress, 2, web_of(job, clock))
    return progress.snapshot()[job.folder]


def look(job: Job) -> fetch.Record:
    return fetch.look(job, ROOT, web_of(job))


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def same(folder: Path, files: dict[str, bytes]) -> bool:
    return all(
        (folder / name).read_bytes() == data
        for name, data in files.items()
        if not name.startswith(".git")
    )


def cut_once(path: str, after: int) -> Any:
    """Break the connection off in the first answer for a file."""
    done: list[str] = []

    def fault(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != path or done:
            return False
        done.append(asked)
        data = handler.server.hub.models[ID][path]
        handler.answer(data[first:], 200, cut=after)
        return True

    return fault


def cut_always(path: str, data: bytes, after: int) -> Any:
    """Break the connection off at one byte of an archive, in every answer."""

    def fault(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != path:
            return False
        handler.answer(data, 200, cut=after)
        return True

    return fault


def fail(path: str, status: int, times: int = 10**6, **headers: str) -> Any:
    left = [times]

    def fault(handler: hubs.Handler, asked: str, first: int) -> bool:
        if asked != path or not left[0]:
            return False
        left[0] -= 1
        handler.answer(b"no", status, {k.replace("_", "-"): v for k, v in headers.items()})
        return True

    return fault
