# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One connection between two members of a group, without its socket: bytes in, messages out.

First a handshake in which both prove that they know the secret of the group, then lines with a
sequence number and a MAC: docs/group-protocol.md.
"""

from __future__ import annotations

import hmac
import re
from typing import NamedTuple

from .group_states import CAUSES, VERSION, Config, GroupError

MAGIC = "inferops-group"
LINE = 2048  # bytes of a line at most
UNREADABLE = "sends what is not this protocol"
NONCE = re.compile(r"[0-9a-f]{64}")
# How many numbers follow the kind of a message; None for a list of ranks.
FROM_MEMBER = {"beat": 0, "ready": 1, "started": 1, "ended": 4, "stopped": 4}
FROM_LEADER = {"beat": 0, "waiting": None, "go": 1, "running": 1, "leaving": 1}
# Why a member is refused: what the leader shows of the member, and the member of itself.
REFUSALS = {
    "version": ("uses another version of the protocol", "another version of the protocol"),
    "secret": ("has another secret", "another secret than the leader"),
    "service": ("is a member of another service", "another service than the leader"),
    "rank": ("has the rank of another host", "the rank of another host"),
    "settings": ("has other settings", "other settings than the leader"),
}


class Message(NamedTuple):
    """A line of a peer that has proved who it is."""

    kind: str
    numbers: tuple[int, ...]


def mac(key: bytes, text: str) -> str:
    """Return HMAC-SHA256 in hexadecimal digits."""
    return hmac.new(key, text.encode("ascii"), "sha256").hexdigest()


class Link:
    """The protocol of one connection. `out` is what has to be sent; whoever sends it empties it.

    `peer` is the rank whose address the other end has, `nonce` 64 random hexadecimal digits. After
    a GroupError the connection has to be closed, once `out` is sent; before `open` its text is for
    the status.
    """

    def __init__(self, config: Config, secret: bytes, peer: int, nonce: str) -> None:
        self.config, self.peer, self.open = config, peer, False
        self.out = bytearray()
        self._secret, self._nonce, self._talk = secret, nonce, ""
        self._buffer = b""
        self._keys = (b"", b"")  # for what is sent, for what is received
        self._sent = self._received = 0
        if config.rank == 0:
            self._write(f"{MAGIC} {VERSION} {nonce}")

    def send(self, words: str) -> None:
        """Send a message: its kind and its numbers."""
        self._sent += 1
        text = f"{self._sent} {words}"
        self._write(f"{text} {mac(self._keys[0], text)}")

    def receive(self, data: bytes) -> list[Message]:
        """Take what came; return the messages that are complete. Raises GroupError."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        messages = []
        for line in lines:
            if len(line) > LINE:
                raise self._wrong(UNREADABLE)
            try:
                words = line.decode("ascii").split(" ")
            except UnicodeDecodeError:
                raise self._wrong(UNREADABLE) from None
            if self.open:
                messages.append(self._message(words))
            elif self.config.rank == 0:
                self._check_member(words)
            else:
                self._check_leader(words)
        if len(self._buffer) > LINE:
            raise self._wrong(UNREADABLE)
        return messages

    def _write(self, line: str) -> None:
        self.out += line.encode("ascii") + b"\n"

    def _wrong(self, text: str) -> GroupError:
        host, address = self.config.members[self.peer]
        return GroupError(
            f"the leader {host} {text}" if self.peer == 0 else f"{address} ({host}) {text}"
        )

    def _check_member(self, words: list[str]) -> None:
        """The leader reads the member's proof, and answers with its own or with a refusal."""
        if words[0] != MAGIC or len(words) < 2:
            raise self._wrong(UNREADABLE)
        reason: str | None = None
        if words[1] != VERSION:
            reason = "version"
        elif len(words) != 7 or not NONCE.fullmatch(words[5]):
            raise self._wrong(UNREADABLE)
        else:
            self._talk = " ".join([*words[:5], self._nonce, words[5]])
            if not hmac.compare_digest(words[6], mac(self._secret, f"member {self._talk}")):
                reason = "secret"
            elif words[2] != self.config.service:
                reason = "service"
            elif words[3] != str(self.peer):
                reason = "rank"
            elif words[4] != self.config.digest:
                reason = "settings"
        if reason:
            self._write(f"refuse {reason}")
            raise self._wrong(REFUSALS[reason][0])
        self._write("welcome " + mac(self._secret, f"leader {self._talk}"))
        self._begin("from leader", "from member")

    def _check_leader(self, words: list[str]) -> None:
        """The member reads the leader's challenge and sends its proof; then it reads the leader's."""
        config = self.config
        if not self._talk:
            if words[0] != MAGIC or len(words) < 2:
                raise self._wrong(UNREADABLE)
            if words[1] != VERSION:
                theirs = words[1] if re.fullmatch(r"[0-9]{1,9}", words[1]) else "another"
                raise self._wrong(f"uses version {theirs} of the protocol, this host {VERSION}")
            if len(words) != 3 or not NONCE.fullmatch(words[2]):
                raise self._wrong(UNREADABLE)
            hello = f"{MAGIC} {VERSION} {config.service} {config.rank} {config.digest}"
            self._talk = f"{hello} {words[2]} {self._nonce}"
            self._write(f"{hello} {self._nonce} " + mac(self._secret, f"member {self._talk}"))
        elif words[0] == "refuse" and len(words) == 2 and words[1] in REFUSALS:
            raise self._wrong("refuses: " + REFUSALS[words[1]][1])
        elif words[0] == "welcome" and len(words) == 2:
            if not hmac.compare_digest(words[1], mac(self._secret, f"leader {self._talk}")):
                raise self._wrong("does not know the secret of the group")
            self._begin("from member", "from leader")
        else:
            raise self._wrong(UNREADABLE)

    def _begin(self, ours: str, theirs: str) -> None:
        keys = [
            mac(self._secret, f"{name} {self._talk}").encode("ascii") for name in (ours, theirs)
        ]
        self._keys = (keys[0], keys[1])
        self.open = True

    def _message(self, words: list[str]) -> Message:
        *text, proof = words
        self._received += 1
        right = mac(self._keys[1], " ".join(text))
        if not hmac.compare_digest(proof, right) or text[0] != str(self._received):
            raise self._wrong(UNREADABLE)
        numbers = text[2:]
        if len(text) < 2 or not all(re.fullmatch(r"[0-9]{1,15}", number) for number in numbers):
            raise self._wrong(UNREADABLE)
        message = Message(text[1], tuple(map(int, numbers)))
        known = FROM_LEADER if self.peer == 0 else FROM_MEMBER
        length = known.get(message.kind, 4 if self.peer == 0 and message.kind in CAUSES else -1)
        ranks = message.numbers if length is None else message.numbers[1:2]
        if length not in (None, len(numbers)) or any(
            rank >= len(self.config.members) for rank in ranks
        ):
            raise self._wrong(UNREADABLE)
        return message
