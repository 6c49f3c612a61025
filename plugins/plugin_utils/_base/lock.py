# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lock among runs that write into one directory, of this controller or of others that share it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.lock import try_lock
from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import read_bytes

from .errors import AscendError
from .values import shown

_MOST_BYTES = 4096
_PAUSE = 0.2  # seconds


@contextlib.contextmanager
def locked(
    directory: Path, name: str, activity: str, timeout: float, report: Callable[[str], None]
) -> Iterator[None]:
    """Lock the file `name` in a directory, which is made if need be and removed again if empty.

    Waits up to `timeout` seconds for another run, and tells `report` once for whom. activity: what a run
    does, for the messages. The kernel frees the lock of a run that was killed; its file, which is left
    then, is taken over, whoever it belongs to. A directory into which this account cannot write is not
    locked: nothing can be written there.

    Raises AscendError where another run does not end in time, or the file cannot be locked.
    """
    path = directory / name
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    descriptor = None
    try:
        descriptor = _waited(path, activity, timeout, report)
    except OSError as error:
        if directory.is_dir() and os.access(directory, os.W_OK | os.X_OK):
            raise AscendError(
                f"{disk.explain(error, str(path))} It is the lock of runs that are {activity} there, and"
                " nothing was written. If no such run is there, remove it."
            ) from error
    if descriptor is None:
        yield  # what is written there fails, with its own words
        return
    try:
        with contextlib.suppress(OSError):
            _describe(descriptor)
        yield
    finally:
        # Removed while it is locked: who opened it before finds that it has gone, and makes a new one.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()


def _opened(path: Path) -> int:
    """The file of the lock, for every account to open: who may write into the directory is to wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        # Left by another account: the kernel locks what can be read, too.
        return os.open(path, os.O_RDONLY | flags)
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, 0o666)
    return descriptor


def _waited(path: Path, activity: str, timeout: float, report: Callable[[str], None]) -> int:
    """The descriptor of the locked file that is at the path. Raises OSError, AscendError."""
    deadline = time.monotonic() + timeout
    told = False
    while True:
        descriptor = _opened(path)
        try:
            held = try_lock(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if held and _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)
        if held:
            continue  # the run before has removed it
        holder = _holder(path)
        if time.monotonic() >= deadline:
            raise AscendError(
                f"Another run is {activity} in {path.parent} ({holder}) and did not end within"
                f" {timeout:g} s. Nothing was written. Wait until it has ended and run this again; the"
                f" lock is {path}, and is free as soon as that process has ended."
            )
        if not told:
            told = True
            report(f"waiting up to {timeout:g} s for another run that is {activity}: {holder}")
        time.sleep(_PAUSE)


def _is_at(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False


def _describe(descriptor: int) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    text = json.dumps(
        {"user": _user(), "host": socket.gethostname(), "pid": os.getppid(), "since": since}
    )
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _holder(path: Path) -> str:
    try:
        given = json.loads(read_bytes(path, _MOST_BYTES))
        return (
            f"process {shown(given['pid'])} of {shown(given['user'])} on {shown(given['host'])},"
            f" since {shown(given['since'])}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not written who it is"
