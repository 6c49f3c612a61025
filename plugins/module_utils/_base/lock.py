# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lock among the runs on one host."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import Iterator

from .errors import HostError


@contextmanager
def exclusive(path: str, timeout: float, activity: str) -> Iterator[int]:
    """Lock the file `path` and give its descriptor, for started programs to keep it locked.

    Waits up to `timeout` seconds for another run to end; then raises HostError that names the
    process that locked it. `activity`: what a run does, for that message. The kernel frees the lock
    when its last holder dies, so a killed run leaves none behind.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while not try_lock(descriptor):
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise HostError(
                    f"Another run is {activity} (process {holder or '?'} on this host, or what it "
                    f"started, has locked {path}) and did not end within {timeout:g} s. Wait for it, or "
                    f"see what it does: fuser -v {path}"
                )
            time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, shared: bool = False) -> bool:
    """Lock an open file unless somebody else has locked it; tell whether that worked."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
