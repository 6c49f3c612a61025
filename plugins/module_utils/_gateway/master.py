# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HAProxy's command line: the socket of its master process, by which all of its workers are reached.

After a reload the workers from before it go on with the requests that they have, so what is asked of
the newest alone is not the complete answer (HAProxy's management guide, "Master CLI").
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from .._base.errors import HostError

SOCKET = "/run/vllm-gateway/master.sock"
_TIMEOUT = 30.0  # seconds of one command
# Seconds in which a reload, during which the master process replaces itself, may reset connections.
_RELOAD = 10.0
_MOST = 64 << 20  # bytes of an answer; a line of `show stat` has some 500


class NotRunning(HostError):
    """No HAProxy answers at the socket."""


class Worker(NamedTuple):
    """A worker process. current: it takes new connections; others were left by reloads."""

    pid: int
    current: bool


class Master:
    """Sends commands to the master process of one HAProxy."""

    def __init__(self, path: str = SOCKET) -> None:
        self.path = path

    def ask(self, command: str, worker: Worker | None = None) -> str:
        """The answer to a command, of the master itself or of a worker. Raises HostError, NotRunning."""
        words = command if worker is None else f"@!{worker.pid} {command}"
        deadline = time.monotonic() + _RELOAD
        while True:
            try:
                return self._ask(words)
            except (ConnectionResetError, BrokenPipeError) as error:
                if time.monotonic() >= deadline:
                    raise HostError(f"{self.path} does not answer `{command}`: {error}.") from error
            except OSError as error:
                raise HostError(f"{self.path} does not answer `{command}`: {error}.") from error
            time.sleep(0.05)

    def _ask(self, words: str) -> str:
        """The same, once. Raises OSError too."""
        answer = bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            try:
                connection.connect(self.path)
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise NotRunning(f"no HAProxy answers at {self.path}.") from error
            connection.sendall(words.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            while True:
                block = connection.recv(65536)
                if not block:
                    return answer.decode("utf-8", "replace")
                answer += block
                if len(answer) > _MOST:
                    raise HostError(f"{self.path} answers `{words}` with more than is read.")

    def workers(self) -> list[Worker]:
        """The workers that run, the current one first; none in the middle of a reload.

        Raises HostError, NotRunning.
        """
        found: list[Worker] = []
        current = True
        for line in self.ask("show proc").splitlines():
            if line.startswith("# old workers"):
                current = False
            words = line.split()
            if len(words) > 2 and words[0].isdigit() and words[1] == "worker":
                found.append(Worker(int(words[0]), current))
        return found
