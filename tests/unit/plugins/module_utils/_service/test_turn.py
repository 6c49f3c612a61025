# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of one card start one after the other: the real program, with small commands as engines."""

from __future__ import annotations

import itertools
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service import turn
from ansible_collections.inferops.ascend.tests.ports import free_ports

PROGRAM = Path(turn.__file__)
# Tells that it runs, listens when there is a file, and ends on its own after a while.
ENGINE = """
import pathlib, socket, sys, time
here, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
(here / "runs").touch()
while not (here / "go").exists():
    time.sleep(0.02)
listener = socket.create_server(("127.0.0.1", port))
(here / "serves").touch()
time.sleep(120)
"""
_CARDS = itertools.count(os.getpid() * 100)
Start = Callable[..., tuple[Path, "subprocess.Popen[str]"]]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def card() -> int:
    """A number that no other test uses at this time."""
    return next(_CARDS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(name: str, card: int, seconds: float = 60) -> tuple[Path, subprocess.Popen[str]]:
        here, port = tmp_path / name, str(free_ports(1)[0])
        here.mkdir()
        words = [sys.executable, str(PROGRAM), str(card), "127.0.0.1", port, str(seconds), "--"]
        command = [*words, sys.executable, "-c", ENGINE, str(here), port]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return here, process

    yield begin
    for process in started:
        process.kill()
        process.wait()  # as systemd does; one that is not waited for counts as running
        if process.stderr:
            process.stderr.close()


def waits(process: subprocess.Popen[str]) -> bool:
    """Whether it tells that it waits."""
    assert process.stderr is not None
    assert select.select([process.stderr], [], [], 30)[0], "it tells nothing"
    return "another service of this card is starting" in process.stderr.readline()


def test_the_second_one_starts_when_the_first_one_serves(start: Start, card: int) -> None:
    first, _engine = start("first", card)
    until((first / "runs").exists)
    second, waiting = start("second", card)
    assert waits(waiting)
    assert not (second / "runs").exists()
    (first / "go").touch()
    until((second / "runs").exists)
    assert (first / "serves").exists()


def test_an_engine_that_fails_gives_its_turn_away(start: Start, card: int) -> None:
    first, engine = start("first", card)
    until((first / "runs").exists)
    second, waiting = start("second", card)
    assert waits(waiting)
    engine.kill()
    engine.wait()
    until((second / "runs").exists)


def test_other_cards_do_not_wait(start: Start, card: int) -> None:
    first, _engine = start("first", card)
    until((first / "runs").exists)
    other, _other = start("other", card + 50)
    until((other / "runs").exists)


def test_nobody_waits_without_end(start: Start, card: int) -> None:
    first, _engine = start("first", card)
    until((first / "runs").exists)
    second, waiting = start("second", card, seconds=0.2)
    assert waits(waiting)
    until((second / "runs").exists)
    assert not (first / "serves").exists()


def test_the_command_is_the_process_that_was_started(start: Start, card: int) -> None:
    """systemd knows the main process by its number, and waits for no child but those it makes."""
    here, process = start("first", card)
    until((here / "runs").exists)
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert shown[1] == b"-c"
    tasks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8")
    assert tasks.split() == []
