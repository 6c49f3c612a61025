# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copied to a host as `sitecustomize.py`: ends the Python program that loads it before its operation KILL_AT.

An operation is a file that is opened for writing, renamed, linked, removed or given a mode, a directory
that is made or removed, and a program that is run. The interpreter tells of each before it does it. What
changes nothing does not count: a directory that is there already or is not empty, a program that only reads.
"""

from __future__ import annotations

import os
import signal
import sys

AT = int(os.environ.get("KILL_AT", "0"))
LOG = os.environ.get("KILL_LOG", "")
CHANGES = ("rename", "remove", "rmdir", "mkdir", "link", "symlink", "chmod", "chown", "truncate")


class Counter:
    def __init__(self) -> None:
        self.count = 0
        self.log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if LOG else -1

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
            what = [path]
        elif event == "subprocess.Popen":
            command = arguments[1]
            what = list(command) if isinstance(command, (list, tuple)) else [command]
            if {"show", b"show"} & set(what) or "npu-smi" in str(what[0]):
                return
        elif event.startswith("os.") and event[3:] in CHANGES:
            what = [each for each in arguments if isinstance(each, (str, bytes))]
        else:
            return
        words = [
            os.fsdecode(each) if isinstance(each, (str, bytes)) else str(each) for each in what
        ]
        # Where Ansible unpacks the module.
        if words and words[0].startswith(("/tmp/", "/dev/")):
            return
        self.count += 1
        if self.log >= 0:
            os.write(self.log, f"{event} {' '.join(words)}\n".encode())
        if self.count == AT:
            os.kill(os.getpid(), signal.SIGKILL)


if AT or LOG:
    sys.addaudithook(Counter())
