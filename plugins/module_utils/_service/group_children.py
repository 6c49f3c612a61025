# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The processes of one member of a group: the engine, what runs beside it, and what they start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Sequence

CLEANUP = 60.0  # seconds for the command that removes what killed children leave
CONTROL_GROUPS = "/sys/fs/cgroup"


def unit_directory(text: str, service: str, root: str = CONTROL_GROUPS) -> str | None:
    """Return the directory of the control group that is the service's unit, else None.

    `text` is /proc/self/cgroup. Everything in that directory may be killed, so a control group that
    has not the name of a unit of this service, as in a login session, does not count.
    """
    paths = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if controllers == "name=systemd" or number == "0":
            paths[controllers] = path
    for controllers, folder in (("name=systemd", "systemd"), ("", "unified"), ("", "")):
        path = paths.get(controllers, "/")
        directory = os.path.join(root, folder, path.lstrip("/"))
        if path.endswith(f"@{service}.service") and os.path.isdir(directory):
            return directory
    return None


def own_unit(service: str) -> str | None:
    """Return the control group to kill in: that of the unit whose main process this is, else None.

    Beside the name, systemd has to be the parent. Each check alone keeps a guard that was started
    in another way, as by a test or by hand, from killing what is not its own.
    """
    if os.getppid() != 1:
        return None
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        return unit_directory(file.read(), service)


def processes(directory: str) -> set[int]:
    """Return the processes of a control group and of those below it, without this one."""
    found = set()
    for folder in [path for path, names, files in os.walk(directory)]:
        with contextlib.suppress(OSError), open(
            os.path.join(folder, "cgroup.procs"), encoding="ascii"
        ) as file:
            found |= {int(line) for line in file}
    return found - {0, os.getpid()}


def exit_status(returncode: int) -> int:
    """Return the status of a process as a shell shows it: 128 and the signal that ended it."""
    return 128 - returncode if returncode < 0 else returncode


def _usual_priority() -> None:
    """Give up the guard's priority over its children, in a child before its program runs."""
    usual = max(0, os.getpriority(os.PRIO_PROCESS, 0))
    os.setpriority(os.PRIO_PROCESS, 0, usual)


class Children:
    """Starts, watches and ends the children.

    `directory` is the control group of the unit, in which all of it is killed except this process;
    without one the children's process groups are.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        cleanup: Sequence[str],
        environment: dict[str, str],
        directory: str | None,
    ) -> None:
        self._commands, self._cleanup = commands, cleanup
        self._environment, self._directory = environment, directory
        self._children: list[subprocess.Popen[bytes]] = []
        self._cleaner: subprocess.Popen[bytes] | None = None
        self._since = 0.0
        self._told: set[int] = set()
        self._failed: int | None = None
        self._stage = ""  # up, terminate, kill, clean

    def start(self) -> None:
        """Start all children at once; one that cannot be started counts as ended."""
        self._stage, self._failed, self._children = "up", None, []
        for command in self._commands:
            try:
                self._children.append(self._run(command))
            except OSError as error:
                sys.stderr.write(f"group: {command[0]} cannot be started: {error.strerror}\n")
                self._failed = 126 if isinstance(error, PermissionError) else 127
                return

    def ended(self) -> int | None:
        """Return the exit status of a child that ended without being told to."""
        if self._stage != "up":
            return None
        ends = [child.returncode for child in self._children if child.poll() is not None]
        return exit_status(ends[0]) if ends else self._failed

    def terminate(self) -> None:
        """Send SIGTERM to the last child, and to the one before it when that has ended, and so on."""
        if self._stage in ("", "up"):
            self._stage = "terminate"
            self._told.clear()

    def kill(self) -> None:
        """Kill what is left."""
        if self._stage != "clean":
            self._stage = "kill"

    def gone(self) -> bool:
        """Go on with the end of the children; return True once, when nothing is left of them."""
        if self._stage == "terminate":
            left = [child for child in self._children if child.poll() is None]
            if left and left[-1].pid not in self._told:
                left[-1].terminate()
                self._told.add(left[-1].pid)
            if not left:
                self._stage = "kill"
        if self._stage == "kill" and not self._kill():
            self._stage, self._since = "clean", time.monotonic()
            if self._cleanup:
                with contextlib.suppress(OSError):
                    self._cleaner = self._run(self._cleanup)
        if self._stage == "clean":
            if self._cleaner and self._cleaner.poll() is None:
                if time.monotonic() - self._since > CLEANUP:
                    self._cleaner.kill()
                return False
            self._stage, self._cleaner = "", None
            return True
        return False

    def _run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env=self._environment,
            start_new_session=True,
            preexec_fn=_usual_priority,
        )

    def _kill(self) -> bool:
        """Kill what there is of the children; return whether there was something."""
        left = [child.pid for child in self._children if child.poll() is None]
        if self._directory is None:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
            return bool(left)
        others = processes(self._directory)
        for pid in others:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return bool(left or others)
