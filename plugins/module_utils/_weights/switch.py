# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One process at a time in a model's `.part` directory, and the switch of it into place."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from contextlib import contextmanager, suppress
from typing import Iterator

from .._base.errors import HostError
from .._base.files import TEMPORARY, sync_directory
from .._base.lock import try_lock
from .jobs import Job, Progress
from .marker import read_marker
from .sources import size_of, walk

PART = ".part"
LOCK = ".inferops-ascend.lock"
# A directory that was replaced, until it is removed: beside it, hidden, with a process' number behind.
_OLD = ".inferops-old-"


@contextmanager
def part_alone(job: Job, progress: Progress) -> Iterator[int]:
    """Be in the `.part` directory of a job, as the only one, also among hosts that share the disk.

    Gives the descriptor of the lock. It waits as long as another one has it.
    """
    part = job.directory + PART
    before = os.getcwd()
    while True:
        _make_part(part)
        with suppress(FileNotFoundError):
            os.chdir(part)
            # Not made here: the directory may have been switched into place just now.
            descriptor = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            if not try_lock(descriptor):
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
                progress.update(
                    job,
                    phase=f"waiting for {holder or 'another process'}",
                    done=sum(size_of(path) for path in walk(".")),
                )
            elif _is_same_file(descriptor, os.path.join(part, LOCK)):
                break
            os.close(descriptor)
        os.chdir(before)
        time.sleep(0.5)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield descriptor
    finally:
        os.chdir(before)
        os.close(descriptor)


def _make_part(part: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(part, 0o755)
    status = os.lstat(part)
    if not stat.S_ISDIR(status.st_mode):
        raise HostError(f"{part} exists and is not a directory. Move it away")
    names = os.listdir(part)
    if names and LOCK not in names:
        raise HostError(
            f"{part} was not made by this collection, which would download into it. Move it away"
        )
    # Whoever may write to the parent could have made it, with links in it. A share may give
    # root another number, so ask which one it gives.
    probe = os.path.join(part, f".inferops-ascend.{os.getpid()}")
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        me = os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        os.unlink(probe)
    if me != status.st_uid:
        raise HostError(f"{part} belongs to another user. Remove it, and run again")
    if not names:
        lock = os.path.join(part, LOCK)
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))


def switch(directory: str) -> None:
    """Move the `.part` directory, which is the working directory, into its place."""
    sync_directory(".")
    if os.path.isdir(directory) and os.listdir(directory):
        if not read_marker(directory):
            raise HostError(f"{directory} was made by hand meanwhile and is not overwritten")
        os.rename(directory, f"{_old(directory)}{os.getpid()}")
    os.rename(directory + PART, directory)
    # Only now: whoever dies between the two leaves a `.part` that is known as ours.
    remove_left(directory)


def _old(directory: str) -> str:
    return os.path.join(os.path.dirname(directory), f".{os.path.basename(directory)}{_OLD}")


def left_behind(directory: str) -> list[str]:
    """What a run that died while it switched left beside and in a directory."""
    stem = os.path.basename(_old(directory))
    above = os.path.dirname(directory)
    if not os.access(above, os.R_OK | os.W_OK):
        return []
    left = [os.path.join(above, name) for name in os.listdir(above) if name.startswith(stem)]
    with suppress(FileNotFoundError, NotADirectoryError):
        left += [
            os.path.join(directory, name)
            for name in os.listdir(directory)
            if name == LOCK or name.startswith(TEMPORARY)
        ]
    return left


def remove_left(directory: str) -> None:
    for path in left_behind(directory):
        if os.path.isdir(path) and not os.path.islink(path):
            # Another process may be at it too.
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)


def _is_same_file(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
