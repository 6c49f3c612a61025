# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets services that have a card together start one after the other.

An engine measures how much of the card's memory is in use, before and after it has loaded, and takes
the difference for its own ("Error in memory profiling" in vllm_ascend/worker/worker.py). What another
one loads meanwhile is missing in its KV cache, or ends its start.

    turn CARD ADDRESS PORT SECONDS -- COMMAND...

Waits until no other service of the card is starting, and becomes the command. A second process of its
keeps the turn until the port answers, the command has ended, or the seconds are over. So long it waits at
most, too. The turn is a socket without a file, whose name goes when its process ends.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from typing import Sequence

PAUSE = 0.5  # seconds between two tries


def name_of(card: int) -> str:
    """The name of the socket that a service has while it starts on this card."""
    return f"\0inferops-ascend-card-{card}"


def wait(name: str, seconds: float) -> socket.socket:
    """The turn; also without the socket's name when the time is over."""
    turn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end, told = time.monotonic() + seconds, False
    while True:
        try:
            turn.bind(name)
            return turn
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                tell(f"cannot tell whether another service of this card is starting: {error}")
                return turn
        if time.monotonic() >= end:
            tell(f"another service of this card is starting for more than {seconds:g} s, going on")
            return turn
        if not told:
            tell("another service of this card is starting, waiting for it")
            told = True
        time.sleep(PAUSE)


def keep(pid: int, address: str, port: int, seconds: float) -> None:
    """Return when the port answers, the process has ended, or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and _runs(pid):
        try:
            socket.create_connection((address, port), PAUSE).close()
            return
        except OSError:
            time.sleep(PAUSE)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def tell(text: str) -> None:
    sys.stderr.write(f"turn: {text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    card, address, port, seconds = arguments[:4]
    command = list(arguments[5:])
    turn = wait(name_of(int(card)), float(seconds))
    engine = os.getpid()
    child = os.fork()
    if child:
        # The command inherits no child that it does not know of.
        os.waitpid(child, 0)
        turn.close()
        os.execvp(command[0], command)
    if not os.fork():
        keep(engine, address, int(port), float(seconds))
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
