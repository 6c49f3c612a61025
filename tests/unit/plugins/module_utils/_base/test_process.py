# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base import process
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError


def test_what_a_program_prints_and_its_status() -> None:
    done = process.run(["sh", "-c", "printf '\\377ok'; echo no >&2; exit 3"], 5)
    assert (done.text, done.errors, done.status) == ("\ufffdok", "no\n", 3)


def test_child_that_keeps_the_output_open_does_not_hang_us() -> None:
    start = time.monotonic()
    with pytest.raises(
        process.ProcessTimeout, match=r"setsid sleep 15.* did not end within 0\.5 s"
    ):
        process.run(["sh", "-c", "setsid sleep 15 & echo out"], 0.5)
    assert time.monotonic() - start < 10


def test_program_that_closes_its_output_and_stays_is_ended() -> None:
    start = time.monotonic()
    with pytest.raises(process.ProcessTimeout):
        process.run(["sh", "-c", "exec >&- 2>&-; sleep 30"], 0.5)
    assert time.monotonic() - start < 10


def test_output_without_end_is_cut() -> None:
    start = time.monotonic()
    assert process.run(["yes"], 20, limit=1001).stdout == b"y\n" * 500 + b"y"
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("where", ["1", "2"])
def test_output_without_end_on_either_pipe_ends_the_program(where: str) -> None:
    start = time.monotonic()
    with pytest.raises(process.TooMuchOutput, match="printed more than 100000 bytes"):
        process.run(["sh", "-c", f"yes >&{where}"], 20, most=100_000)
    assert time.monotonic() - start < 10


def test_much_output_on_both_pipes() -> None:
    code = "import sys; sys.stderr.write('e' * 300000); sys.stdout.write('o' * 300000)"
    done = process.run([sys.executable, "-c", code], 20, limit=1000000)
    assert (len(done.stdout), len(done.stderr), done.status) == (300000, 300000, 0)


def test_program_that_cannot_be_started() -> None:
    with pytest.raises(HostError, match="/nowhere/npu-smi cannot be run"):
        process.run(["/nowhere/npu-smi"], 5)


def test_what_it_is_given_and_what_comes_while_it_runs(tmp_path: Path) -> None:
    pieces: list[bytes] = []
    with (tmp_path / "shared").open("w") as shared:
        code = f"read line; echo $line; sleep 1.2; echo end; echo kept >/proc/self/fd/{shared.fileno()}"
        done = process.run(
            ["sh", "-c", code],
            20,
            given=b"first\n",
            received=pieces.append,
            shared=[shared.fileno()],
        )
    assert done.stdout == b"first\nend\n"
    assert [piece for piece in pieces if piece] == [b"first\n", b"end\n"]
    assert b"" in pieces, "nobody could report how far it is while nothing was printed"
    assert (tmp_path / "shared").read_text() == "kept\n"


def test_a_program_that_does_not_read_what_it_is_given() -> None:
    assert process.run(["sh", "-c", "exec <&-; exit 4"], 20, given=b"x" * 300_000).status == 4


def test_a_program_in_a_directory_that_sudo_leaves_out_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "npu-tool").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "npu-tool").chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(HostError):
        process.run(["npu-tool"], 10)
    monkeypatch.setattr(process, "DIRECTORIES", f"/usr/bin:{tmp_path}")
    assert process.run(["npu-tool"], 10).text == "ran\n"
