# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The states of the group guard of one member: events in, actions out.

What the states and the status texts mean: docs/group-protocol.md.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, NamedTuple, Sequence

VERSION = "1"  # of the protocol
# Why an engine is stopped: kind of message, and what it says of the peer. Each has four numbers:
# epoch, rank, a number for the text, and how many milliseconds ago it happened.
CAUSES = {
    "ended": "the engine of {peer} ended with status {number}",
    "stopped": "{peer} was stopped",
    "silent": "lost {peer}: no word for {number} s",
    "closed": "lost {peer}: its connection ended",
    "replaced": "lost {peer}: it connected again",
    "broken": "lost {peer}: it sent what cannot be read",
}


class GroupError(Exception):
    """Settings, or a peer, with which the group cannot work; the message says what is wrong."""


class Config(NamedTuple):
    """NAME.group.json: what one member knows of its group. Times are in seconds."""

    service: str
    rank: int
    port: int
    digest: str  # of all settings that have to be equal on all members
    beat: float
    lost_after: float
    stop_timeout: float  # from SIGTERM to SIGKILL when the unit is stopped
    members: tuple[tuple[str, str], ...]  # name and address, in the order of ranks
    commands: tuple[tuple[str, ...], ...]  # started before the engine; the first to end ends all
    only_commands: bool  # the engine itself runs on other members
    cleanup: tuple[str, ...]  # run when all children have ended

    def peer(self, rank: int) -> str:
        """Return `rank 1 (npu-02)`."""
        return f"rank {rank} ({self.members[rank][0]})"


def parse_config(text: str) -> Config:
    """Read NAME.group.json; raises GroupError."""

    def words(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise ValueError(f"{value!r} is not a list of words")
        return tuple(value)

    try:
        # Its first line says whose file it is, as those of all files of a service do.
        found = json.loads(re.sub(r"(?m)^#.*\n", "", text))
        if str(found["protocol"]) != VERSION:
            raise ValueError(f"protocol {found['protocol']}, this program knows {VERSION}")
        config = Config(
            service=found["service"],
            rank=int(found["rank"]),
            port=int(found["port"]),
            digest=found["digest"],
            beat=float(found["beat"]),
            lost_after=float(found["lost_after"]),
            stop_timeout=float(found["stop_timeout"]),
            members=tuple(
                (str(one["host"]), str(ipaddress.ip_address(one["address"])))
                for one in found["members"]
            ),
            commands=tuple(words(command) for command in found.get("commands") or []),
            only_commands=bool(found.get("only_commands")),
            cleanup=words(found.get("cleanup") or []),
        )
        if not all(re.fullmatch(r"[!-~]{1,128}", word) for word in (config.service, config.digest)):
            raise ValueError("service and digest are words of at most 128 ASCII characters")
        if not 0 <= config.rank < len(config.members) or not 2 <= len(config.members) <= 256:
            raise ValueError(f"rank {config.rank} of {len(config.members)} members")
        if len({address for host, address in config.members}) < len(config.members):
            raise ValueError("two members have the same address")
        if not 0 < config.port < 65536 or not 0 < config.beat < config.lost_after:
            raise ValueError("port is 1 to 65535, beat is above 0 and below lost_after")
        if not config.stop_timeout >= 0:
            raise ValueError("stop_timeout is 0 or more")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else error
        raise GroupError(f"settings of the group: {missing}") from error
    return config


class Action(NamedTuple):
    """What the caller of Group has to do.

    send: `text` to the peer of `rank`. start: all children. terminate: SIGTERM to them. kill: what
    is left of them. deadline: call `timeout` after `number` seconds, instead of an earlier deadline;
    below 0 for never. status: show `text`, with the time of the last status whose `number` is 1 for
    {since}. exit: with status `number`.
    """

    do: str
    text: str = ""
    rank: int = 0
    number: float = 0


class Group:
    """The states of one member, without clock, socket or process.

    Each method is an event and returns what has to be done; `now` is a monotonic time in seconds.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.leader = config.rank == 0
        self.state = "waiting"
        self.epoch = 0  # number of the last common start
        self.connected: set[int] = set()
        self.missing: tuple[int, ...] = (0,)  # what the leader said last
        self.cause = ""
        self._ready: set[int] = set()  # ranks that have no engine
        self._ending: set[int] = set()  # ranks whose engine has not ended yet
        self._started: set[int] = set()
        self._known = 0  # the highest epoch that a member has seen
        self._notes: dict[int, str] = {}
        self._ended_at, self._status = 0.0, 0
        self._gone = self._waited = False
        self._shown = self._shown_state = self._announced = ""
        self._actions: list[Action] = []

    def begin(self) -> list[Action]:
        """Return what to do first."""
        return self._answer()

    def joined(self, rank: int) -> list[Action]:
        """A peer has proved who it is."""
        self.connected.add(rank)
        self._notes.pop(rank, None)
        self._announced = ""
        if not self.leader and self.state == "waiting":
            self._send(f"ready {self.epoch}")
        return self._answer()

    def note(self, rank: int, text: str) -> list[Action]:
        """Why a rank is not there, for the status; an empty text when that has passed."""
        self._notes[rank] = text
        return self._answer()

    def lost(self, rank: int, cause: str, number: int, now: float) -> list[Action]:
        """The connection of a peer that had joined has ended; cause is one of CAUSES."""
        for ranks in (self.connected, self._ready, self._ending):
            ranks.discard(rank)
        self.missing = (0,)
        self._fail(rank, cause, number, now, now)
        return self._answer()

    def told(self, rank: int, kind: str, numbers: Sequence[int], now: float) -> list[Action]:
        """A peer sent a message. What belongs to another epoch or state has no effect."""
        current = bool(numbers) and numbers[0] == self.epoch
        if kind == "waiting":
            self.missing = tuple(numbers)
        elif kind == "ready":
            if self.state in ("starting", "running"):
                if not current:
                    return self._answer()
                self._fail(rank, "stopped", 0, now, now)
            self._known = max(self._known, numbers[0])
            self._ready.add(rank)
            self._ending.discard(rank)
            self._start_together()
        elif kind == "go" and self.state == "waiting" and numbers[0] > self.epoch:
            self.epoch = numbers[0]
            self._start()
            self._send(f"started {self.epoch}")
        elif kind == "started" and current and self.state == "starting":
            self._started.add(rank)
            if len(self._started) == len(self.config.members) - 1:
                self.state = "running"
                self._send(f"running {self.epoch}")
        elif kind == "running" and current and self.state == "starting":
            self.state = "running"
        elif kind == "leaving" and current and self.state in ("starting", "running"):
            self.state = "draining"
        elif kind in CAUSES and current:
            self._fail(
                rank if self.leader else numbers[1], kind, numbers[2], now - numbers[3] / 1000, now
            )
        return self._answer()

    def ended(self, status: int, now: float) -> list[Action]:
        """One of the children has ended without being told to; status as a shell shows it."""
        if self.state in ("starting", "running"):
            self.state, self._ended_at, self._status = "ending", now, status
            self._gone = self._waited = False
            self._send(f"ended {self.epoch} {self.config.rank} {status} 0")
            self._stop(min(2.0, self.config.lost_after))
        elif self.state == "draining":
            self._fail(0, "stopped", 0, now, now)
        return self._answer()

    def gone(self) -> list[Action]:
        """Nothing is left of the children, after `terminate` or `kill`."""
        self._gone = True
        if self.state == "stopping":
            self._wait()
        self._leave()
        return self._answer()

    def stop(self) -> list[Action]:
        """The guard was told to stop."""
        if self.state in ("starting", "running", "draining"):
            words = "leaving {}" if self.leader else "stopped {} {} 0 0"
            self._send(words.format(self.epoch, self.config.rank))
            self._stop(self.config.stop_timeout)
        elif self.state == "waiting":
            self._gone = True
        self.state = "leaving"
        self._leave()
        return self._answer()

    def timeout(self) -> list[Action]:
        """The deadline has passed."""
        self._waited = True
        if self.state != "waiting" and not self._gone:
            self._actions.append(Action("kill"))
        self._leave()
        return self._answer()

    def _leave(self) -> None:
        if self._gone and self.state == "leaving":
            self._actions.append(Action("exit"))
        elif self._gone and self._waited and self.state == "ending":
            self._actions.append(Action("exit", number=self._status or 1))

    def _fail(self, rank: int, cause: str, number: int, when: float, now: float) -> None:
        """Stop the engine because of a peer, and tell the others."""
        if self.state == "ending":
            # The engine that ended first has failed, the others because of it.
            if cause == "ended" and when >= self._ended_at:
                return
        elif self.state == "draining":
            rank, cause = 0, "stopped"
        elif self.state not in ("starting", "running"):
            return
        self.cause = CAUSES[cause].format(peer=self.config.peer(rank), number=number)
        if self.leader:
            ago = int((now - when) * 1000)
            self._send(f"{cause} {self.epoch} {rank} {number} {ago}", but=rank)
        self._ending = set(self.connected)
        if self.state == "ending" and self._gone:
            self._wait()
            return
        self.state, self._gone = "stopping", False
        self._stop(min(3.0, self.config.lost_after))

    def _stop(self, seconds: float) -> None:
        self._gone = self._waited = False
        self._actions += [Action("terminate"), Action("deadline", number=seconds)]

    def _wait(self) -> None:
        self.state = "waiting"
        self._actions.append(Action("deadline", number=-1))
        if self.leader:
            self._start_together()
        else:
            self._send(f"ready {self.epoch}")

    def _start_together(self) -> None:
        if self.state == "waiting" and len(self._ready) == len(self.config.members) - 1:
            self.epoch = max(self.epoch, self._known) + 1
            self._send(f"go {self.epoch}")
            self._start()

    def _start(self) -> None:
        self.state, self.cause, self._announced = "starting", "", ""
        self._ready.clear()
        self._started.clear()
        self._ending.clear()
        self._actions.append(Action("start"))

    def _send(self, words: str, but: int = -1) -> None:
        self._actions += [Action("send", words, rank) for rank in sorted(self.connected - {but})]

    def _absent(self) -> list[int]:
        """Ranks whom a common start waits for."""
        if not self.leader:
            return [rank for rank in self.missing if rank != self.config.rank] or [0]
        others = [rank for rank in range(1, len(self.config.members)) if rank not in self._ready]
        return others if self.state == "waiting" else [0, *others]

    def _answer(self) -> list[Action]:
        if self.leader and self.state in ("waiting", "stopping"):
            words = " ".join(["waiting", *map(str, self._absent())])
            if words != self._announced:
                self._announced = words
                self._send(words)
        text = self._describe()
        if text != self._shown:
            self._actions.append(
                Action("status", text, number=float(self.state != self._shown_state))
            )
            self._shown, self._shown_state = text, self.state
        actions, self._actions = self._actions, []
        return actions

    def _describe(self) -> str:
        members = self.config.members
        if self.state == "starting":
            return f"all {len(members)} members are here, starting"
        if self.state == "running":
            return "running since {since}"
        if self.state == "draining":
            return (
                f"the leader {members[0][0]} is being stopped; the engine runs until it has ended"
            )
        if self.state == "stopping":
            late = "its processes are being killed"
            return f"{self.cause}; {late if self._waited else 'the engine is being stopped'}"
        if self.state == "ending":
            return f"the engine ended with status {self._status}"
        if self.state == "leaving":
            return "stopping"
        names = []
        for rank in self._absent():
            ending = ", its engine has not ended yet" if rank in self._ending else ""
            names.append(f"rank {rank} ({members[rank][0]}, {members[rank][1]}{ending})")
        texts = ["waiting for " + " and ".join(names) + " since {since}"]
        texts += [text for rank, text in sorted(self._notes.items()) if text]
        return "; ".join([*texts, f"{self.cause}; the engine was stopped"] if self.cause else texts)
