# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the members of a service reach each other: one listens for a while, the others connect.

The listener goes on after the module that started it, because with few forks another host connects
much later. It ends when all members have connected, when it is told to, and at its time. No file is
left: it is told by a socket in the abstract namespace, which ends with it.
"""

from __future__ import annotations

import errno
import os
import secrets
import selectors
import socket
import struct
import time
from typing import Any, Mapping, Sequence

from .._base import errors, process

MAGIC = "inferops-probe"
_CONTROL = "\0inferops.ascend.group-probe"
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid; unix(7)
_STOP = 5.0  # seconds for a listener to end
TAKEN = "taken"  # a port at which another process listens
# What became of a connection, beside the words of the kernel.
OPEN, OTHER, REFUSED, SILENT = "open", "other", "refused", "silent"


def stop() -> bool:
    """End the listener of this host; whether there was one. Raises HostError if it stays."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(_STOP)
        try:
            control.connect(_CONTROL)
            control.recv(1)  # its end closes this
        except ConnectionRefusedError:
            return False
        except ConnectionResetError:
            return True
        except OSError as error:
            raise errors.HostError(
                "an earlier check of services over several hosts still listens on this host and"
                f" does not end: {error}. Find it with `ss -xlp | grep group-probe`."
            ) from error
    return True


def listen(address: str, ports: Mapping[str, Sequence[str]], seconds: float) -> dict[str, Any]:
    """Listen on ports of this host and on one that the kernel chooses, apart from this process.

    ports: by port the addresses of who connects to it; all of them connect to the free one. The
    listener ends when each has, or after `seconds`. Returns {token, ports: {port: why not, or
    empty}, free_port}: what answers sends the token; where another process listens, the reason is
    TAKEN. Raises HostError.
    """
    found: dict[str, str] = {}
    awaited: dict[socket.socket, set[str]] = {}
    for port, peers in ports.items():
        opened = _listening(address, int(port))
        found[port] = opened if isinstance(opened, str) else ""
        if not isinstance(opened, str):
            awaited[opened] = set(peers)
    free = _listening(address, 0)
    token = secrets.token_hex(16)
    result: dict[str, Any] = {"token": token, "ports": found, "free_port": None}
    if not isinstance(free, str):
        awaited[free] = {each for peers in ports.values() for each in peers}
        result["free_port"] = free.getsockname()[1]
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        control.bind(_CONTROL)
        control.listen(1)
    except OSError as error:
        control.close()
        raise errors.HostError(f"no socket for the listener: {error}") from error
    process.detached(lambda: serve(control, awaited, token, seconds))
    for each in (control, *awaited):
        each.close()
    return result


def _listening(address: str, port: int) -> socket.socket | str:
    """A socket that listens, or why there is none."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
        found.listen(64)
    except OSError as error:
        found.close()
        return TAKEN if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
    return found


def serve(
    control: socket.socket,
    awaited: Mapping[socket.socket, set[str]],
    token: str,
    seconds: float,
) -> None:
    """Answer each connection with the token until all had theirs, or until told to end."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for each in (control, *awaited):
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        while any(awaited.values()) and time.monotonic() < end:
            for key, _mask in selector.select(max(0.0, end - time.monotonic())):
                listener = key.fileobj
                if not isinstance(listener, socket.socket):
                    continue
                try:
                    connection, origin = listener.accept()
                except OSError:
                    continue
                with connection:
                    if listener is not control:
                        awaited[listener].discard(origin[0])
                        _answer(connection, token)
                    elif _may_stop(connection):
                        for each in (control, *awaited):
                            each.close()  # before the one that waits for it hears of it
                        return


def _answer(connection: socket.socket, token: str) -> None:
    try:
        connection.send(f"{MAGIC} {token}\n".encode("ascii"))
    except OSError:
        return


def _may_stop(connection: socket.socket) -> bool:
    """Whether the other end is root, or who started the listener."""
    given = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(given)[1]) in (0, os.geteuid())


class _Attempt:
    """One connection that is being tried."""

    def __init__(self, address: str, asked: Mapping[str, Any]) -> None:
        self.token = str(asked.get("token") or "")
        self.result = ""
        self.data = b""
        self.connected = False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        try:
            self.socket.bind((address, 0))
            code = self.socket.connect_ex((str(asked["address"]), int(asked["port"])))
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code not in (0, errno.EINPROGRESS):
            self.end(code)

    def end(self, code: int) -> None:
        self.result = REFUSED if code == errno.ECONNREFUSED else os.strerror(code)

    def go_on(self) -> None:
        """Take what came. Sets the result when that is enough."""
        if not self.connected:
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.end(code)
                return
            self.connected = True
            if not self.token:
                self.result = OPEN
            return
        try:
            block = self.socket.recv(256)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(error.errno or errno.EIO)
            return
        self.data += block
        if b"\n" in self.data or not block or len(self.data) > 256:
            right = self.data == f"{MAGIC} {self.token}\n".encode("ascii")
            self.result = OPEN if right else OTHER


def connect(address: str, asked: Sequence[Mapping[str, Any]], seconds: float) -> list[str]:
    """Connect from an address of this host to others, all at once.

    asked: [{address, port, token}]; without a token, whoever listens there is right. Returns of each
    open, other (somebody else answers), refused, silent (nothing comes back within `seconds`), or
    what the kernel says.
    """
    attempts = [_Attempt(address, each) for each in asked]
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for each in attempts:
            if not each.result:
                selector.register(each.socket, selectors.EVENT_WRITE, each)
        while selector.get_map() and time.monotonic() < end:
            for key, _mask in selector.select(max(0.0, end - time.monotonic())):
                attempt = key.data
                attempt.go_on()
                if attempt.result:
                    selector.unregister(attempt.socket)
                else:
                    selector.modify(attempt.socket, selectors.EVENT_READ, attempt)
    for each in attempts:
        each.socket.close()
    return [each.result or (OTHER if each.connected else SILENT) for each in attempts]
