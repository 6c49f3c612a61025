# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs programs: with a time limit, and without leaving children behind; and work apart from a run."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from typing import Callable, Mapping, NamedTuple, Sequence, cast

from .errors import HostError
from .text import printable

# Seconds to wait for a killed process: one in uninterruptible sleep does not die of SIGKILL.
_GRACE = 2.0
_BLOCK = 65536
# Where systemd's units find programs. sudo may leave out those of /usr/local (`secure_path`).
DIRECTORIES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Bytes that a program may print on each of its outputs; what is read here prints far less.
MOST_OUTPUT = 64 << 20


class ProcessTimeout(HostError):
    """A program did not end in time; it was killed."""


class TooMuchOutput(HostError):
    """A program printed more than is read; it was killed."""


class Output(NamedTuple):
    """What a program printed, and its exit status (negative: the signal that ended it)."""

    stdout: bytes
    stderr: bytes
    status: int

    @property
    def text(self) -> str:
        """The standard output in lines, without bytes that are not UTF-8 and without what a terminal acts on."""
        return _text(self.stdout)

    @property
    def errors(self) -> str:
        """The standard error, likewise."""
        return _text(self.stderr)


def _text(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return printable(text.replace("\r\n", "\n").replace("\r", "\n"))


def find(program: str) -> str | None:
    """The path of a program, on the search path of this process or in the directories of DIRECTORIES."""
    return shutil.which(program) or shutil.which(program, path=DIRECTORIES)


def run(
    command: Sequence[str],
    timeout: float,
    env: Mapping[str, str] | None = None,
    limit: int | None = None,
    given: bytes = b"",
    received: Callable[[bytes], None] | None = None,
    shared: Sequence[int] = (),
    most: int = MOST_OUTPUT,
    cwd: str | None = None,
) -> Output:
    """Run a program to its end and return what it printed.

    timeout: seconds; then the program and its children, which share its session, are killed.
    limit: bytes of standard output after which it is killed too, and no more is read.
    given: written to its standard input, which then stays open as long as this process runs.
    received: is called with the standard output as it comes, and at least once a second.
    shared: descriptors that it keeps open, such as that of a lock.
    most: bytes of either output after which it is killed. cwd: the directory that it runs in.

    Raises HostError if it cannot be started, ProcessTimeout if it does not end in time, TooMuchOutput
    if it prints more than `most`.
    """
    try:
        process = subprocess.Popen(
            [find(command[0]) or command[0], *command[1:]],
            stdin=subprocess.PIPE if given else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            start_new_session=True,
            pass_fds=shared,
            cwd=cwd,
        )
    except OSError as error:
        raise HostError(f"{command[0]} cannot be run: {error}") from error
    try:
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(given)
                process.stdin.flush()
        out, err = _read(process, time.monotonic() + timeout, limit, received, most)
    except subprocess.TimeoutExpired:
        raise ProcessTimeout(f"{' '.join(command)} did not end within {timeout:g} s") from None
    finally:
        _end(process)
    return Output(out, err, process.returncode)


def _read(
    process: subprocess.Popen[bytes],
    end: float,
    limit: int | None,
    received: Callable[[bytes], None] | None,
    most: int,
) -> tuple[bytes, bytes]:
    """Everything that a process prints, or TimeoutExpired at the time `end`, or TooMuchOutput."""
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, data in ((process.stdout, out), (process.stderr, err)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, data)
        while selector.get_map():
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            before = len(out)
            for key, _events in selector.select(min(left, 1.0)):
                block = os.read(key.fd, _BLOCK)
                key.data.extend(block)
                if not block:
                    selector.unregister(key.fileobj)
            if limit is not None and len(out) >= limit:
                _kill(process)
                return bytes(out[:limit]), bytes(err)
            if max(len(out), len(err)) > most:
                words = [str(word) for word in cast("Sequence[str]", process.args)]
                raise TooMuchOutput(
                    f"{' '.join(words)} printed more than {most} bytes and was ended"
                )
            if received:
                received(bytes(out[before:]))
    process.wait(max(0.0, end - time.monotonic()))
    return bytes(out), bytes(err)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no pipe open and, unless the kernel keeps it, no process behind."""
    if process.poll() is None:
        _kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def detached(work: Callable[[], None]) -> None:
    """Run `work` in a process without a terminal, that nobody waits for."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    # Nothing of the module's own ending may happen here: it would answer, and remove, twice.
    status = 1
    try:
        os.setsid()
        if os.fork():
            status = 0
            return
        for each in (signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        os.chdir("/")
        os.umask(0o022)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        work()
        status = 0
    finally:
        os._exit(status)
