# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether another run of ansible-playbook still runs."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base import runs
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.runs import (
    has_ended,
    this_run,
    unclaimed,
)


def test_this_run_has_not_ended_and_is_the_same_for_all_its_tasks() -> None:
    assert this_run()["pid"] == os.getppid()
    assert not has_ended(this_run())
    assert this_run()["run"] == this_run()["run"]


def test_a_process_that_has_gone_or_is_another_one_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    its = {**this_run(), "pid": child.pid, "began": runs._began(child.pid)}
    assert not has_ended(its)
    assert has_ended({**its, "began": "1"})
    child.kill()
    child.wait()
    assert has_ended(its)


@pytest.mark.skipif(os.geteuid() != 0, reason="runs as another user")
def test_a_process_of_another_user_that_is_hidden_has_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    its = {**this_run(), "pid": os.getpid(), "began": runs._began(os.getpid())}
    monkeypatch.setattr(runs, "_began", lambda _pid: "")  # /proc, mounted with hidepid

    def seen_by_another() -> None:
        os.setuid(1001)
        sys.exit(f"{has_ended(its)} {has_ended({**its, 'pid': 1 << 22})}" != "False True")

    other = multiprocessing.get_context("fork").Process(target=seen_by_another)
    other.start()
    other.join(60)
    assert other.exitcode == 0


@pytest.mark.parametrize(
    ("changed", "ended"),
    [
        ({"boot": "before the restart"}, True),
        ({"machine": "another", "boot": "another"}, False),
        ({"namespace": "pid:[1]"}, False),
    ],
)
def test_a_run_elsewhere_ends_with_its_machine_at_most(
    changed: dict[str, str], ended: bool
) -> None:
    assert has_ended({**this_run(), "pid": 1 << 30, **changed}) is ended


def test_a_module_runs_again_where_the_run_that_kept_it_out_has_ended() -> None:
    gone = {**this_run(), "pid": 1 << 30, "run": "gone"}
    given: list[dict[str, Any]] = []

    def execute(run: dict[str, Any]) -> dict[str, Any]:
        given.append(run)
        kept_out = "gone" not in run.get("ended", ()) and not run["take_over"]
        return {"claimed": gone if kept_out else None}

    assert unclaimed(execute, None) == {"claimed": None}
    assert [each.get("ended") for each in given] == [None, ["gone"]]
    assert unclaimed(execute, "yes") == {"claimed": None}
    assert len(given) == 3
    gone["pid"], gone["began"] = os.getppid(), this_run()["began"]
    assert unclaimed(execute, False)["claimed"] is gone
