# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import time

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


def test_much_output_on_both_pipes() -> None:
    code = "import sys; sys.stderr.write('e' * 300000); sys.stdout.write('o' * 300000)"
    done = process.run([sys.executable, "-c", code], 20, limit=1000000)
    assert (len(done.stdout), len(done.stderr), done.status) == (300000, 300000, 0)


def test_program_that_cannot_be_started() -> None:
    with pytest.raises(HostError, match="/nowhere/npu-smi cannot be run"):
        process.run(["/nowhere/npu-smi"], 5)
