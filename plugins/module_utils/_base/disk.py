# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an error of a disk means: which path and file system it is about, and what is needed there."""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple

from .reading import OutOfBounds, read_text


class Mount(NamedTuple):
    """A file system and where it is mounted (proc_pid_mountinfo(5))."""

    point: str
    kind: str
    source: str

    def __str__(self) -> str:
        return f"the file system {self.source} ({self.kind}) at {self.point}"


def mounts() -> list[Mount]:
    """All that this process sees, in the order in which they were mounted; empty where /proc is not there."""
    try:
        text = read_text("/proc/self/mountinfo", "replace")
    except (OSError, OutOfBounds):
        return []
    found = []
    for line in text.splitlines():
        before, _dash, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) > 4 and len(kinds) > 1:
            found.append(Mount(_unescaped(fields[4]), kinds[0], _unescaped(kinds[1])))
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)


def mount_of(path: str) -> Mount | None:
    """The file system of a path, or of the nearest directory above it that is there."""
    real = os.path.realpath(path)
    fitting = [
        mount
        for mount in mounts()
        if mount.point == "/" or real == mount.point or real.startswith(mount.point + "/")
    ]
    longest = max((len(mount.point) for mount in fitting), default=0)
    # Of two at one place the later one is seen.
    return next((each for each in reversed(fitting) if len(each.point) == longest), None)


def explain(error: OSError, path: str = "", needed: int = 0) -> str:
    """An error of a disk in words: the path, its file system, what is missing there and the way out.

    path: what was being written or read, where the error does not name it. needed: bytes, if known.
    """
    name = path or _path(error)
    if not name:
        return str(error)
    where = mount_of(name)
    at = str(where) if where else "its file system"
    start = f"{name} cannot be written"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = (
            "the quota of this user is used up on"
            if error.errno == errno.EDQUOT
            else "there is no room on"
        )
        need = f", and {needed} bytes are needed" if needed else ""
        return f"{start}: {what} {at}{_free(name)}{need}. Make room there."
    if error.errno == errno.EROFS:
        return (
            f"{start}: {at} is mounted for reading only. Mount it for writing ('mount -o"
            f" remount,rw {where.point if where else '/'}'), or see 'dmesg' for an error of the disk."
        )
    if error.errno == errno.EPERM:
        return (
            f"{start}: this is not permitted, though root asks, on {at}. Is it immutable? See 'lsattr -d"
            f" {name} {os.path.dirname(name) or '.'}', and take it back with 'chattr -i'."
        )
    if error.errno == errno.EIO:
        return f"{name}: {at} reports an error of the disk. See 'dmesg'."
    return f"{name}: {error.strerror or error}, on {at}."


def message(error: Exception) -> str:
    """The message of an error of ours, and of one of the disk what it means."""
    return explain(error) if isinstance(error, OSError) else str(error)


def _path(error: OSError) -> str:
    for name in (error.filename2, error.filename):
        if isinstance(name, (str, bytes)):
            return os.fsdecode(name)
    return ""


def _free(path: str) -> str:
    """What is left there, for a message; files have an entry each, of which there may be none left."""
    while not os.path.isdir(path):
        path = os.path.dirname(os.path.abspath(path))
    try:
        info = os.statvfs(path)
    except OSError:
        return ""
    entries = f" and {info.f_favail} files" if info.f_files else ""
    return f" ({info.f_bavail * info.f_frsize} bytes{entries} are free)"
