# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers behind a gateway: whether they take requests, taking them out, and putting them back."""

from __future__ import annotations

import csv
import time
from typing import Any, Callable, Collection, NamedTuple, Sequence

from .._base.errors import HostError
from .master import Master, Worker

# Bits of `srv_admin_state` in `show servers state` (include/haproxy/server-t.h, SRV_ADMF_*).
_MAINTENANCE = 0x01 | 0x02 | 0x04 | 0x20
_DRAINED = 0x08 | 0x10
_RELOAD = 10.0  # seconds in which a reload may leave HAProxy without a current worker


class Server(NamedTuple):
    """A server of a backend, as the current worker has it.

    sessions: requests that it has and that wait for it, of all workers. up: it takes new requests.
    """

    backend: str
    name: str
    address: str
    up: bool
    drained: bool
    health: str
    sessions: int

    def as_dict(self) -> dict[str, Any]:
        return dict(self._asdict())


class Servers:
    """The servers of one gateway. Each method raises HostError, and NotRunning where no HAProxy answers."""

    def __init__(
        self,
        master: Master,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._master = master
        self._clock = clock
        self._sleep = sleep

    def all(self) -> list[Server]:
        """Every server of every backend."""
        current, *older = self._workers()
        sessions: dict[tuple[str, str], int] = {}
        health = {}
        for worker in (current, *older):
            for row in self._statistics(worker):
                key = (row["pxname"], row["svname"])
                busy = int(row["scur"] or 0) + int(row["qcur"] or 0)
                sessions[key] = sessions.get(key, 0) + busy
                if worker is current:
                    health[key] = row["status"]
        found = []
        for row in _table(self._master.ask("show servers state", current), " "):
            key = (row["be_name"], row["srv_name"])
            admin = int(row["srv_admin_state"])
            status = health.get(key, "")
            taken_out = bool(admin & (_DRAINED | _MAINTENANCE))
            found.append(
                Server(
                    *key,
                    address=f"{row['srv_addr']}:{row['srv_port']}",
                    up=status.startswith(("UP", "no check")) and not taken_out,
                    drained=taken_out,
                    health=status,
                    sessions=sessions.get(key, 0),
                )
            )
        return found

    def named(self, names: Collection[str]) -> list[Server]:
        """Those of these names, in every backend that has one."""
        return [server for server in self.all() if server.name in names]

    def drain(self, names: Collection[str], timeout: float) -> list[Server]:
        """Have the servers get no new requests, and wait until they have none left, at most `timeout` seconds.

        Returns them as they are then; `is_drained` is false of those for which the time was too short.
        """

        def again(servers: Sequence[Server]) -> None:
            # A reload may begin with a state that was saved before, in which they take requests.
            self._set([each for each in servers if not each.drained], "state drain")

        again(self.named(names))
        return self._await(names, timeout, is_drained, again)

    def ready(
        self, names: Collection[str], timeout: float, awaited: Collection[str]
    ) -> list[Server]:
        """Put the servers back, and wait until the checks of the awaited ones succeed, at most `timeout` seconds.

        One that was taken out counts as down until its check succeeds again, because what HAProxy knows of
        it may be from before its restart. Returns all as they are then.
        """
        drained = [each for each in self.named(names) if each.drained]
        checked = self._checked()
        self._set([each for each in drained if each[:2] in checked], "health down")
        self._set(drained, "state ready")
        return self._await(names, timeout, lambda each: each.up or each.name not in awaited)

    def _checked(self) -> set[tuple[str, ...]]:
        """(backend, name) of the servers that HAProxy checks."""
        rows = self._statistics(self._workers()[0])
        return {(row["pxname"], row["svname"]) for row in rows if row["check_status"]}

    def _set(self, servers: Sequence[Server], setting: str) -> None:
        if not servers:
            return
        current, *older = self._workers()
        for server in servers:
            command = f"set server {server.backend}/{server.name} {setting}"
            answer = self._master.ask(command, current).strip()
            if answer:
                raise HostError(f"HAProxy answers `{command}` with: {answer}")
            for worker in older:
                # What it has from before the reload may not be there, and matters to no new request.
                self._master.ask(command, worker)

    def _await(
        self,
        names: Collection[str],
        timeout: float,
        reached: Callable[[Server], bool],
        again: Callable[[Sequence[Server]], None] = lambda servers: None,
    ) -> list[Server]:
        deadline = self._clock() + timeout
        while True:
            servers = self.named(names)
            if all(map(reached, servers)) or self._clock() >= deadline:
                return servers
            again(servers)
            self._sleep(0.2)

    def _workers(self) -> list[Worker]:
        deadline = self._clock() + _RELOAD
        while True:
            workers = self._master.workers()
            if workers and workers[0].current:
                return workers
            if self._clock() >= deadline:
                raise HostError(
                    f"{self._master.path}: HAProxy has no worker. See journalctl -u vllm-gateway."
                )
            self._sleep(0.1)

    def _statistics(self, worker: Worker) -> list[dict[str, str]]:
        # All backends (-1), of servers alone (4), all of them (-1).
        rows = _table(self._master.ask("show stat -1 4 -1", worker), ",")
        return [row for row in rows if row.get("svname")]


def is_drained(server: Server) -> bool:
    """Whether it gets no new requests and has none left."""
    return server.drained and not server.sessions


def _table(text: str, separator: str) -> list[dict[str, str]]:
    """Rows by column of a table whose heading begins with `#`; [] where there is none.

    A worker that ends meanwhile answers with nothing, or with a sentence.
    """
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("# ")), None)
    if start is None:
        return []
    names = lines[start][2:].split(separator)
    rows = csv.reader((line for line in lines[start + 1 :] if line.strip()), delimiter=separator)
    return [dict(zip(names, row)) for row in rows if len(row) >= len(names) - 1]
