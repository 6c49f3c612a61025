# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The group guard: runs the engine of a service that spans hosts on all its members, or on none.

It is the main process of the service's unit on each member, and the engine is its child:
`python3 group-NAME /etc/vllm/NAME.group.json -- COMMAND...`. This file is its loop over sockets,
signals and time; see docs/group-protocol.md.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import secrets
import selectors
import signal
import socket
import sys
import time

from .group_children import Children, own_unit
from .group_link import Link
from .group_states import Action, Config, Group, GroupError, parse_config

SECRET = "INFEROPS_GROUP_SECRET"
NOTIFY = "NOTIFY_SOCKET"
USAGE = 78  # EX_CONFIG: another start does not help
PENDING = 8  # connections from one address that have not finished the handshake
HANDSHAKE = 5.0  # seconds for a connection and its handshake, or `lost_after` if that is less
RETRY = 1.0  # seconds between two tries to connect or to listen, or `beat` if that is less
UNSENT = 1 << 16  # bytes that a peer has not taken
READ = 4096


def show(text: str) -> None:
    """Write a line to the journal, and the status of the unit."""
    sys.stderr.write(f"group: {text}\n")
    sys.stderr.flush()
    address = os.environ.get(NOTIFY, "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(
                f"STATUS={text}".encode(), "\0" + address[1:] if address[0] == "@" else address
            )


class Connection:
    """A connection with its socket and its times."""

    def __init__(self, sock: socket.socket, link: Link, now: float) -> None:
        self.sock, self.link = sock, link
        self.opened = self.heard = self.beaten = now
        self.failed = False

    def flush(self) -> None:
        """Send what can be sent now."""
        try:
            while self.link.out:
                del self.link.out[: self.sock.send(self.link.out)]
        except BlockingIOError:
            self.failed = self.failed or len(self.link.out) > UNSENT
        except OSError:
            self.failed = True


class Guard:
    """The loop: takes what sockets, signals, children and time bring, and does what Group says."""

    def __init__(self, config: Config, secret: bytes, children: Children) -> None:
        self.config, self.secret, self.children = config, secret, children
        self.group = Group(config)
        self.code: int | None = None
        self.selector = selectors.DefaultSelector()
        self.connections: list[Connection] = []
        self.peers: dict[int, Connection] = {}  # those that proved who they are
        self.ranks = {address: rank for rank, (host, address) in enumerate(config.members)}
        self.listener: socket.socket | None = None
        self.deadline: float | None = None
        self.retry = 0.0
        self.since = ""  # when the state began that is shown
        self.noted: dict[int, float] = {}
        self.signals, waker = socket.socketpair()
        for end in (self.signals, waker):
            end.setblocking(False)
        self.waker = waker
        self.selector.register(self.signals, selectors.EVENT_READ, self._signal)

    def run(self) -> int:
        """Run until the group says with which status to end."""
        signal.set_wakeup_fd(self.waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *arguments: None)
        self._do(self.group.begin())
        try:
            while self.code is None:
                for key, _mask in self.selector.select(min(0.1, self.config.beat / 4)):
                    key.data()
                self._tick(time.monotonic())
        finally:
            self.children.kill()  # nothing is left, except after a fault of the guard itself
            self.children.gone()
        return self.code

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if action.do == "send" and action.rank in self.peers:
                self.peers[action.rank].link.send(action.text)
                self.peers[action.rank].flush()
            elif action.do == "deadline":
                self.deadline = time.monotonic() + action.number if action.number >= 0 else None
            elif action.do == "status":
                if action.number:
                    self.since = time.strftime("%Y-%m-%d %H:%M:%S %z")
                show(action.text.replace("{since}", self.since))
            elif action.do == "exit":
                self.code = int(action.number)
            elif action.do in ("start", "terminate", "kill"):
                getattr(self.children, action.do)()

    def _signal(self) -> None:
        numbers = self.signals.recv(READ)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._do(self.group.stop())

    def _tick(self, now: float) -> None:
        """What depends on time. Comes after what the network brought, so that this counts first."""
        for connection in list(self.connections):
            limit = min(HANDSHAKE, self.config.lost_after)
            if connection.failed:
                self._close(connection, "closed", "the connection ended")
            elif not connection.link.open and now - connection.opened > limit:
                self._close(connection, "closed", "no answer in time")
            elif now - connection.heard > self.config.lost_after:
                self._close(connection, "silent", "")
            elif connection.link.open and now - connection.beaten >= self.config.beat:
                connection.beaten = now
                connection.link.send("beat")
            connection.flush()
        status = self.children.ended()
        if status is not None:
            self._do(self.group.ended(status, now))
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self._do(self.group.timeout())
        if self.children.gone():
            self._do(self.group.gone())
        if now >= self.retry and self.code is None:
            self.retry = now + min(RETRY, self.config.beat)
            if self.config.rank == 0 and self.listener is None:
                self._listen()
            elif self.config.rank != 0 and not self.connections:
                self._connect(now)

    def _socket(self, port: int) -> socket.socket:
        """Return a socket bound to this member's address."""
        address = self.config.members[self.config.rank][1]
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
        except OSError as error:
            sock.close()
            reason = os.strerror(error.errno or 0)
            raise GroupError(f"address {address}, port {port} cannot be used: {reason}") from error
        return sock

    def _listen(self) -> None:
        try:
            self.listener = self._socket(self.config.port)
        except GroupError as error:
            self._do(self.group.note(0, str(error)))
            return
        self.listener.listen(64)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self._do(self.group.note(0, ""))

    def _connect(self, now: float) -> None:
        try:
            sock = self._socket(0)
        except GroupError as error:
            self._note(0, str(error))
            return
        code = sock.connect_ex((self.config.members[0][1], self.config.port))
        connection = self._add(sock, 0, now)
        if code not in (0, errno.EINPROGRESS):
            self._close(connection, "closed", f"no connection: {os.strerror(code)}")

    def _accept(self) -> None:
        if self.listener is None:
            return
        now = time.monotonic()
        for _number in range(PENDING):  # then beats and signals have their turn
            try:
                sock, origin = self.listener.accept()
            except OSError:
                return
            rank = self.ranks.get(str(ipaddress.ip_address(origin[0])), 0)
            if rank == 0:
                sock.close()
                continue
            sock.setblocking(False)
            waiting = [
                one for one in self.connections if one.link.peer == rank and not one.link.open
            ]
            for oldest in waiting[: len(waiting) - PENDING + 1]:
                self._close(oldest, "closed", "")
            self._add(sock, rank, now).flush()

    def _add(self, sock: socket.socket, rank: int, now: float) -> Connection:
        link = Link(self.config, self.secret, rank, secrets.token_hex(32))
        connection = Connection(sock, link, now)
        self.connections.append(connection)

        def call() -> None:
            return self._read(connection)

        self.selector.register(sock, selectors.EVENT_READ, call)
        return connection

    def _read(self, connection: Connection) -> None:
        link, now = connection.link, time.monotonic()
        if connection not in self.connections:
            return
        was_open = link.open
        try:
            data = connection.sock.recv(READ)
            if not data:
                self._end(connection, "the connection ended before the handshake")
                return
            messages = link.receive(data)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(connection, f"no connection: {os.strerror(error.errno or 0)}")
            return
        except GroupError as error:
            connection.flush()
            self._close(connection, "broken", str(error))
            return
        connection.flush()
        if link.open and not was_open:
            older = self.peers.get(link.peer)
            if older is not None:
                self._close(older, "replaced", "")
            self.peers[link.peer] = connection
            connection.heard = now
            self._do(self.group.joined(link.peer))
        for message in messages:
            connection.heard = now
            if message.kind != "beat":
                self._do(self.group.told(link.peer, message.kind, message.numbers, now))

    def _end(self, connection: Connection, text: str) -> None:
        """The other end closed. To the leader a member did, or who only tries its port, as deploy."""
        self._close(connection, "closed", text if self.config.rank else "")

    def _close(self, connection: Connection, cause: str, text: str) -> None:
        """End a connection: of a peer with one of CAUSES, before the handshake with a text."""
        self.connections.remove(connection)
        self.selector.unregister(connection.sock)
        connection.sock.close()
        now, rank = time.monotonic(), connection.link.peer
        if self.peers.get(rank) is connection:
            del self.peers[rank]
            self._do(self.group.lost(rank, cause, int(now - connection.heard), now))
        elif text:
            self._note(rank, text)

    def _note(self, rank: int, text: str) -> None:
        """Show why a rank is not there; nobody can make that many lines a second."""
        now = time.monotonic()
        if now - self.noted.get(rank, 0.0) >= RETRY / 2:
            self.noted[rank] = now
            self._do(self.group.note(rank, text))


def main(arguments: list[str]) -> int:
    """Run the guard: CONFIG -- COMMAND... Returns the exit status."""
    try:
        if len(arguments) < 2 or arguments[1] != "--":
            raise GroupError("usage: group-NAME CONFIG -- COMMAND...")
        with open(arguments[0], encoding="utf-8") as file:
            config = parse_config(file.read())
        environment = dict(os.environ)
        # The guard's alone: podman would wait for its child to use it
        environment.pop(NOTIFY, None)
        secret = environment.pop(SECRET, "")
        if not secret:
            raise GroupError(f"{SECRET} is not set, without which peers cannot be trusted")
        commands = [*config.commands, *([] if config.only_commands else [tuple(arguments[2:])])]
        if not commands or not all(commands):
            raise GroupError("no command to run")
        directory = own_unit(config.service)
    except (GroupError, OSError, UnicodeDecodeError) as error:
        show(str(error))
        return USAGE
    children = Children(commands, config.cleanup, environment, directory)
    return Guard(config, secret.encode(), children).run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
