# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of runs that write into one directory one writes at a time, and a killed one keeps nobody out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.lock import locked

NAME = ".a.lock"
FORK = multiprocessing.get_context("fork")


def hold(directory: Path, holds: Event, may_end: Event) -> None:
    with locked(directory, NAME, "planning", 60, print):
        holds.set()
        may_end.wait()


def hold_as(user: int, directory: Path, holds: Event, may_end: Event) -> None:
    os.umask(0o077)
    os.setuid(user)
    hold(directory, holds, may_end)


def append(directory: Path, start: Event) -> None:
    """Read a number from a file and write the next one, as a plan does with what exists."""
    start.wait()
    for _turn in range(50):
        with locked(directory, NAME, "planning", 60, lambda _text: None):
            file = directory / "count"
            before = int(file.read_text()) if file.exists() else 0
            file.write_text(str(before + 1))


def test_of_two_processes_one_writes_at_a_time(tmp_path: Path) -> None:
    start = FORK.Event()
    both = [FORK.Process(target=append, args=(tmp_path, start)) for _each in range(2)]
    for each in both:
        each.start()
    start.set()
    for each in both:
        each.join(120)
    assert [each.exitcode for each in both] == [0, 0]
    assert (tmp_path / "count").read_text() == "100"
    assert os.listdir(tmp_path) == ["count"]


def test_who_holds_it_is_told_and_a_killed_run_keeps_nobody_out(tmp_path: Path) -> None:
    holds, may_end = FORK.Event(), FORK.Event()
    other = FORK.Process(target=hold, args=(tmp_path, holds, may_end))
    other.start()
    assert holds.wait(60)
    said: list[str] = []
    with pytest.raises(AscendError) as rejected, locked(
        tmp_path, NAME, "planning", 0.5, said.append
    ):
        pass
    holder = f"process {os.getpid()} of "
    for text in (str(rejected.value), *said):
        assert holder in text and socket.gethostname() in text and "since" in text, text
    assert len(said) == 1
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join(60)
    assert (tmp_path / NAME).exists()
    with locked(tmp_path, NAME, "planning", 0, said.append):
        pass
    assert os.listdir(tmp_path) == []


def test_a_directory_that_was_made_for_it_is_removed_unless_it_is_used(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b", NAME, "planning", 0, print):
        pass
    assert os.listdir(tmp_path) == []
    with locked(tmp_path / "a" / "b", NAME, "planning", 0, print):
        (tmp_path / "a" / "b" / "host_vars").mkdir()
    assert os.listdir(tmp_path / "a" / "b") == ["host_vars"]


@pytest.mark.skipif(os.geteuid() != 0, reason="runs as other users")
def test_other_accounts_that_may_write_there_wait_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a file of which a killed run of another account left nothing but the right to read it."""
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)  # they may not enter what is above
    here = Path()
    for left in (False, True):
        if left:
            (here / NAME).touch(0o644)
        holds, may_end, second = FORK.Event(), FORK.Event(), FORK.Event()
        first, other = (
            FORK.Process(target=hold_as, args=(user, here, *events), daemon=True)
            for user, events in ((1001, (holds, may_end)), (1002, (second, may_end)))
        )
        first.start()
        assert holds.wait(60)
        other.start()
        assert not second.wait(1), "two accounts write at once"
        may_end.set()
        first.join(60)
        assert second.wait(60)
        other.join(60)
        assert (first.exitcode, other.exitcode) == (0, 0)
        assert os.listdir(here) == []


def test_a_lock_that_cannot_be_opened_is_no_reason_to_write_without_it(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to("elsewhere")
    with pytest.raises(AscendError, match=f"{NAME}.*nothing was written"), locked(
        tmp_path, NAME, "planning", 0, print
    ):
        raise AssertionError("it went on")
    (tmp_path / "file").touch()
    with locked(tmp_path / "file", NAME, "planning", 0, print):
        pass  # what writes there fails, and tells why
