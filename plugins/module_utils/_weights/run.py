# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a fetch apart from the connection that started it, and reports how far it is."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from typing import Any, NamedTuple

from .._base.errors import HostError
from .._base.files import write_atomically
from .._base.lock import exclusive, try_lock
from .._base.process import detached
from .._base.reading import read_json
from .fetch import Fetch
from .hubs import Clients
from .jobs import Job, Progress

# Not below /run/lock or /tmp, where any user could replace it.
RUNS = "/run/inferops-ascend/weights"
_KEPT = 7 * 86400


class State(NamedTuple):
    """How far a run is: `finished`, and of each directory {model, phase, done, total, error}, bytes.

    `died`: its process ended without finishing.
    """

    finished: bool
    died: bool
    directories: dict[str, dict[str, Any]]


def start(jobs: list[Job], clients: Clients, connections: int, runs: str = RUNS) -> str:
    """Begin to download jobs in a process of its own, and return the name to follow it by.

    The process outlives this one: a run whose controller went away continues, and the next one finds
    what it downloaded, or waits for it.
    """
    name = f"{int(time.time())}-{os.getpid()}"
    path = os.path.join(runs, name)
    progress = Progress(jobs)
    # The process that works has the lock too; it is free when that is gone, however it went.
    with exclusive(f"{path}.lock", 0, "downloading weights"):
        _remove_old(runs)
        _write(path, progress, False)
        detached(lambda: _work(jobs, clients, connections, progress, path))
    return name


def follow(name: str, patience: float, runs: str = RUNS) -> State:
    """Wait up to `patience` seconds for a run's end, and return how far it is. Raises HostError."""
    if not re.match(r"^\d+-\d+$", name):
        raise HostError(f"{name!r} is not a run")
    path = os.path.join(runs, name)
    deadline = time.monotonic() + patience
    while True:
        gone = _is_free(path + ".lock")
        try:
            content = read_json(path)
        except FileNotFoundError:
            raise HostError(
                f"nothing is known of run {name} on this host. Was it restarted? Run it again; it"
                " continues where it was"
            ) from None
        finished, directories = content["finished"], content["directories"]
        if finished or gone or time.monotonic() >= deadline:
            return State(finished, gone and not finished, directories)
        time.sleep(0.2)


def _work(
    jobs: list[Job], clients: Clients, connections: int, progress: Progress, path: str
) -> None:
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(1):
            _write(path, progress, False)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    for job in jobs:
        progress.update(job, phase="starting")
        try:
            Fetch(job, progress, clients, connections).run()
            progress.update(job, phase="done")
        except Exception as error:
            kind = "" if isinstance(error, HostError) else f"{type(error).__name__}: "
            progress.update(job, phase="failed", error=f"{kind}{error}")
    ended.set()
    reporter.join()
    _write(path, progress, True)


def _write(path: str, progress: Progress, finished: bool) -> None:
    content = {"finished": finished, "directories": progress.snapshot()}
    write_atomically(path, json.dumps(content), 0o600)


def _is_free(lock: str) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _remove_old(runs: str) -> None:
    for name in os.listdir(runs):
        path = os.path.join(runs, name)
        if re.match(r"^\d+-\d+(\.\w+)?$", name) and time.time() - os.stat(path).st_mtime > _KEPT:
            lock = os.path.join(runs, name.partition(".")[0] + ".lock")
            if _is_free(lock):
                os.unlink(path)
