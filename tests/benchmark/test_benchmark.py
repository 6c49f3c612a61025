# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark runs, in its shortest form; its figures are not evaluated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def printed(*command: str) -> str:
    """What a command of the benchmark prints."""
    done = subprocess.run(
        [sys.executable, "-B", str(HERE / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.hosts
def test_the_playbooks_and_the_converge_are_measured() -> None:
    text = printed("run", "--short", "--only", "trips", "playbooks", "converge")
    for title in ("Commands and transfers", "Complete playbooks", "The converge step"):
        assert title in text
    for row in ("1 host, ping", "1 host, deploy", "1 host, verify", "role, pipelining off"):
        assert row in text


def test_the_lookup_is_measured() -> None:
    assert "lookup of one model" in printed("run", "--short", "--only", "lookup")


@pytest.mark.parametrize("name", ["fleet_planner", "fleet_playbook"])
def test_the_plan_of_a_fleet_is_measured(name: str) -> None:
    text = printed(name, "--sizes", "10", "--rounds", "1")
    assert "no change" in text
    assert "10 hosts" in text
