# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One directory to download, and how far its download is."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple


class Job(NamedTuple):
    """One directory to download.

    Attributes:
        directory: where the model is to be, absolute.
        model: its name in messages.
        source: local, huggingface, modelscope, rsync, nfs or archive.
        id: on the hub. revision: empty for the hub's own default. endpoint: the hub's address.
        location: what rsync reads, the directory of nfs, or the archive's path or address.
        sha256: of the archive; empty if not known.
        skip: patterns of files to leave out, beside those that the engine never reads.
        verify: whether a directory that was made by hand is compared with the hub's checksums.
        memory: where it is recorded that such a directory was verified.
        token: of the hub. size: bytes of an archive that is still on the controller.
    """

    directory: str
    model: str
    source: str = "local"
    id: str = ""
    revision: str = ""
    endpoint: str = ""
    location: str = ""
    sha256: str = ""
    skip: tuple[str, ...] = ()
    verify: bool = False
    memory: str = ""
    token: str = ""
    size: int = 0


class Progress:
    """How far each job is; written by the threads that work, read by the one that reports."""

    def __init__(self, jobs: list[Job]) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, dict[str, Any]] = {
            job.directory: {
                "model": job.model,
                "phase": "waiting",
                "done": 0,
                "total": 0,
                "error": "",
            }
            for job in jobs
        }

    def update(self, job: Job, **values: Any) -> None:
        """Set phase, done, total or error."""
        with self._lock:
            self._jobs[job.directory].update(values)

    def add(self, job: Job, count: int) -> None:
        """Count bytes; fewer than none where they have to come again."""
        with self._lock:
            self._jobs[job.directory]["done"] += count

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """A copy of all: {directory: {model, phase, done, total, error}}, bytes."""
        with self._lock:
            return {directory: dict(each) for directory, each in self._jobs.items()}
