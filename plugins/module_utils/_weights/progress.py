# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a run is."""

from __future__ import annotations

import threading
from typing import Any

from .sources import Job


class Progress:
    """How far each job is; written by the threads that work, read by the one that reports."""

    def __init__(self, jobs: list[Job]) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, dict[str, Any]] = {
            job.folder: {"model": job.model, "phase": "waiting", "done": 0, "total": 0, "error": ""}
            for job in jobs
        }

    def say(self, folder: str, **values: Any) -> None:
        """Set phase, done, total or error of a job."""
        with self._lock:
            self._jobs[folder].update(values)

    def add(self, folder: str, count: int) -> None:
        """Count bytes; fewer than none where they have to come again."""
        with self._lock:
            self._jobs[folder]["done"] += count

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return a copy of all: {folder: {model, phase, done, total, error}}, bytes."""
        with self._lock:
            return {folder: dict(each) for folder, each in self._jobs.items()}
