# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups for tests: settings of members, and members as real processes on loopback addresses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._service.group_states import (
    Config,
    parse_config,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.group_program import (
    group_program,
)
from ansible_collections.inferops.ascend.tests.ports import free_ports

SECRET = "a secret of the group"
PATIENCE = 60.0  # seconds after which a state that has not come is given up


def settings(rank: int, size: int = 2, **changes: Any) -> dict[str, Any]:
    return {
        "protocol": 1,
        "service": "chat",
        "rank": rank,
        "port": 20000,
        "digest": "d1",
        "beat": 0.2,
        "lost_after": 3,
        "stop_timeout": 30,
        "members": [
            {"host": f"npu-0{each + 1}", "address": f"127.0.0.{each + 1}"} for each in range(size)
        ],
        **changes,
    }


def config(rank: int, size: int = 2, **changes: Any) -> Config:
    return parse_config(json.dumps(settings(rank, size, **changes)))


def wait_for(what: Callable[[], str] | str, condition: Callable[[], Any]) -> Any:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not seen: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Writes its process number and its environment when it starts, and then runs until it is ended.
ENGINE = 'env > "$0.env"; echo $$ >> "$0"; exec sleep 1000'


class Member:
    """The guard of one rank as a process, with an engine that sleeps."""

    def __init__(self, folder: Path, rank: int, size: int, port: int, **changes: Any) -> None:
        self.rank, self.folder = rank, folder
        self.described = settings(rank, size, port=port, **changes)
        self.script, self.secret = ENGINE, SECRET
        self.pids = folder / f"engine-{rank}"
        self.lines: list[str] = []
        self.variables: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Member:
        program, described = self.folder / f"group-{self.rank}", self.folder / f"{self.rank}.json"
        program.write_text(group_program(), encoding="utf-8")
        described.write_text(json.dumps(self.described), encoding="utf-8")
        command = [sys.executable, "-I", str(program), str(described), "--"]
        environment = {**os.environ, "INFEROPS_GROUP_SECRET": self.secret, **self.variables}
        if not self.secret:
            del environment["INFEROPS_GROUP_SECRET"]
        self.process = subprocess.Popen(
            [*command, "sh", "-c", self.script, str(self.pids)],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.lines = []
        threading.Thread(target=self._read, args=(self.process, self.lines), daemon=True).start()
        return self

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: list[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip("\n").removeprefix("group: "))

    @property
    def status(self) -> str:
        return self.lines[-1] if self.lines else ""

    def shows(self, text: str) -> None:
        """Wait until the status contains a text."""
        wait_for(
            lambda: f"rank {self.rank} shows {text!r}; it showed {self.lines}",
            lambda: text in self.status,
        )

    def showed(self, text: str) -> None:
        """Wait until the status contained a text since the start."""
        wait_for(
            lambda: f"rank {self.rank} showed {text!r}; it showed {self.lines}",
            lambda: any(text in line for line in self.lines),
        )

    def engines(self) -> list[int]:
        """Process numbers of all engines that were started."""
        return [int(line) for line in self.pids.read_text().split()] if self.pids.exists() else []

    def running(self) -> list[int]:
        return [pid for pid in self.engines() if alive(pid)]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait until the guard has ended; return its status."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        for pid in self.running():
            os.kill(pid, signal.SIGKILL)


class Members(list[Member]):
    """A group of some size on loopback addresses."""

    def __init__(self, folder: Path, size: int, **changes: Any) -> None:
        self.port = free_ports(1)[0]
        super().__init__(Member(folder, rank, size, self.port, **changes) for rank in range(size))

    def start(self) -> Members:
        for member in self:
            member.start()
        return self

    def whole(self) -> float:
        """Wait until all run, each with one engine; return how many seconds that took."""
        began = time.monotonic()
        for member in self:
            member.shows("running since")
        wait_for("one engine each", lambda: all(len(member.running()) == 1 for member in self))
        return time.monotonic() - began


Make = Callable[..., Members]
