# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock of a host's installations, which outlives a killed run with what that started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Iterator

from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import InstallError


@contextlib.contextmanager
def held(path: str, timeout: float) -> Iterator[int]:
    """Hold the lock file `path` and give its descriptor, for what is started to keep it too.

    So an installer that outlives a killed run keeps the next one from clearing up under it.
    Raises InstallError after `timeout` seconds.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                    raise InstallError(
                        f"Another run is installing on this host (process {holder or '?'}, or "
                        f"what it started, has {path} open) and did not end within {timeout:g} s. "
                        f"Wait for it, or see what it does: fuser -v {path}"
                    ) from None
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        yield descriptor
    finally:
        os.close(descriptor)
