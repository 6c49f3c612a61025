# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a trial apart from the connection that started it; it ends soon after nobody asks for it."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from .._base.errors import HostError
from .._base.files import write_atomically
from .._base.lock import exclusive, try_lock
from .._base.process import detached
from .._base.reading import read_json
from .trial import Trial, remove
from .trial import run as run_trial

# Not below /run/lock or /tmp, where any user could replace it.
DIRECTORY = "/run/inferops-ascend/calibrate"
# Seconds without a question after which the controller counts as gone.
ABANDONED = 60.0
_POLL = 0.2


class AbandonedError(HostError):
    """Nobody asks for the trial any more."""


def start(trial: Trial, lock_timeout: float, directory: str = DIRECTORY) -> None:
    """Begin a trial in a process of its own, whose progress `follow` reads.

    Raises HostError where another one on this host does not end in `lock_timeout` seconds; one whose
    controller went away does.
    """
    with exclusive(f"{directory}/lock", lock_timeout, "calibrating"):
        _ask(directory)
        _write(directory, {"finished": False, "phase": "starting", "status": None})
        # The process that works inherits the lock and holds it to its end.
        detached(lambda: _work(trial, directory))


def wait(timeout: float, directory: str = DIRECTORY) -> None:
    """Wait for a trial that runs, as one whose controller went away. Raises HostError as `start`."""
    if os.path.exists(f"{directory}/lock"):
        with exclusive(f"{directory}/lock", timeout, "calibrating"):
            pass


def follow(patience: float, directory: str = DIRECTORY) -> dict[str, Any]:
    """Wait up to `patience` seconds for the trial's end, and return how far it is.

    {finished, phase, status (of vllm_status) or None, outcome or None, error or None}. Raises HostError.
    """
    deadline = time.monotonic() + patience
    while True:
        _ask(directory)
        locked = _is_locked(directory)
        try:
            state = _read(directory)
        except FileNotFoundError:
            raise HostError(
                "nothing is known of a trial on this host. Was it restarted? Run the calibration again;"
                " it goes on with the trials that are known"
            ) from None
        if state["finished"] or time.monotonic() >= deadline:
            return state
        if not locked:
            raise HostError(
                "the process that ran the trial is gone. Run the calibration again; it removes what is"
                " left and goes on with the trials that are known"
            )
        time.sleep(_POLL)


def stop(lock_timeout: float, directory: str = DIRECTORY) -> bool:
    """End a trial that runs, and remove what is left of one; tell whether something was."""
    left = os.path.exists(f"{directory}/state")
    pid, deadline = _worker(directory), time.monotonic() + lock_timeout
    while not pid and _is_locked(directory) and time.monotonic() < deadline:
        time.sleep(_POLL)  # it has begun, and has not told its number yet
        pid = _worker(directory)
    if pid:
        os.kill(pid, signal.SIGTERM)
    with exclusive(f"{directory}/lock", lock_timeout, "calibrating"):
        remove()
        if left:
            os.unlink(f"{directory}/state")
    return left


def _work(trial: Trial, directory: str) -> None:
    state: dict[str, Any] = {"finished": False, "pid": os.getpid(), "outcome": None, "error": None}

    def report(phase: str, status: Any) -> None:
        _write(directory, {**state, "phase": phase, "status": status})

    def check() -> None:
        if time.time() - os.stat(f"{directory}/asked").st_mtime > ABANDONED:
            raise AbandonedError("nobody asks for the trial any more")

    signal.signal(signal.SIGTERM, _end)
    try:
        state["outcome"] = run_trial(trial, report, check)
    except HostError as error:
        state["error"] = str(error)
    except Exception as error:
        state["error"] = f"{type(error).__name__}: {error}"
    _write(directory, {**state, "finished": True, "phase": "done", "status": None})


def _end(_signal: int, _frame: object) -> None:
    raise AbandonedError("the trial was stopped")


def _ask(directory: str) -> None:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(f"{directory}/asked", "w", encoding="utf-8"):
        os.utime(f"{directory}/asked")


def _write(directory: str, state: dict[str, Any]) -> None:
    write_atomically(f"{directory}/state", json.dumps(state), 0o600)


def _read(directory: str) -> dict[str, Any]:
    state: dict[str, Any] = read_json(f"{directory}/state")
    return state


def _worker(directory: str) -> int | None:
    """The process that runs a trial now."""
    try:
        state = _read(directory)
    except (FileNotFoundError, ValueError):
        return None
    pid = state.get("pid")
    return int(pid) if pid and _is_locked(directory) else None


def _is_locked(directory: str) -> bool:
    try:
        descriptor = os.open(f"{directory}/lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
