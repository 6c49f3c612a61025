# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that downloads a model from the server of `hub`, and faults to give that server."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._weights import (
    check,
    fetch,
    hub_client,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.check import Account
from ansible_collections.inferops.ascend.plugins.module_utils._weights.hubs import Clients, Packages
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job, Progress
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

ID = "Qwen/Qwen3-14B"
SHARD = "model-00002-of-00003.safetensors"
ROOT = Account("root", 0, [0])


class Clock:
    """Waits for tries without waiting; what is shorter than any of them passes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.waits: list[float] = []
        self.sleep = time.sleep
        patch.setattr(time, "sleep", self)

    def __call__(self, seconds: float) -> None:
        if seconds < 0.9:
            self.sleep(seconds)
        else:
            self.waits.append(seconds)


class InProcess(Clients):
    """The hubs' clients of the tests' own environment, in the process of the test."""

    def ask(
        self,
        request: dict[str, Any],
        answered: Callable[[Any], None],
        watch: Callable[[], None] = lambda: None,
        lock: tuple[int, ...] = (),
    ) -> None:
        answers: queue.Queue[Any] = queue.Queue()
        thread = threading.Thread(target=hub_client.serve, args=(request, answers.put))
        thread.start()
        while thread.is_alive() or not answers.empty():
            with suppress(queue.Empty):
                answered(json.loads(json.dumps(answers.get(timeout=0.05))))
            watch()


CLIENTS = InProcess(Packages())


def apart(directory: Path) -> Clients:
    """The same clients as a host has them: in an environment and a process of their own."""
    for source in ("huggingface", "modelscope"):
        (directory / "tools").mkdir(exist_ok=True)
        (directory / "tools" / source).symlink_to(sys.prefix)
    return Clients(Packages(str(directory / "tools")))


def job_of(hub: hubs.Hub, directory: Path, source: str = "huggingface", **more: Any) -> Job:
    return Job(str(directory), "Qwen3-14B", source, ID, endpoint=hub.address, **more)


def download(job: Job) -> dict[str, Any]:
    progress = Progress([job])
    fetch.Fetch(job, progress, CLIENTS, 2).run()
    return progress.snapshot()[job.directory]


def checked(job: Job) -> check.Record:
    return check.check(job, ROOT, CLIENTS)


def put(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def same(directory: Path, files: dict[str, bytes]) -> bool:
    return all(
        (directory / name).read_bytes() == data
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
