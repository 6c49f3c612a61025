# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A trial in a process of its own: followed, abandoned, stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._calibrate import run
from ansible_collections.inferops.ascend.plugins.module_utils._calibrate.trial import Trial

TRIAL = Trial("t", "", 8000, [0], "", "", "", "", "", "", 10, 10, None, [], [])


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(run, "remove", lambda: None)
    return str(tmp_path / "calibrate")


def works(monkeypatch: pytest.MonkeyPatch, work: Callable[[Any, Any], dict[str, Any]]) -> None:
    monkeypatch.setattr(run, "run_trial", lambda _trial, report, check: work(report, check))


def wait(report: Any, check: Callable[[], None]) -> dict[str, Any]:
    """A trial that starts for a long time."""
    report("starting", {"name": "t"})
    end = time.monotonic() + 60
    while time.monotonic() < end:
        check()
        time.sleep(0.05)
    return {}


def test_a_trial_is_followed_to_its_outcome(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(monkeypatch, lambda _report, _check: {"started": True})
    run.start(TRIAL, 0, directory)
    state = run.follow(60, directory)
    assert (state["finished"], state["outcome"], state["error"]) == (True, {"started": True}, None)


def test_what_keeps_it_from_being_tried_is_reported(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_report: Any, _check: Any) -> dict[str, Any]:
        raise HostError("card 1 is in use")

    works(monkeypatch, fails)
    run.start(TRIAL, 0, directory)
    assert run.follow(60, directory)["error"] == "card 1 is in use"


def test_a_second_trial_waits_for_the_first(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(monkeypatch, wait)
    run.start(TRIAL, 0, directory)
    with pytest.raises(HostError, match="Another run is calibrating"):
        run.start(TRIAL, 0, directory)
    with pytest.raises(HostError, match="Another run is calibrating"):
        run.wait(0, directory)
    assert run.stop(60, directory)
    run.wait(0, directory)
    with pytest.raises(HostError, match="nothing is known of a trial"):
        run.follow(0, directory)


def test_a_trial_that_nobody_asks_for_ends(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, wait)
    monkeypatch.setattr(run, "ABANDONED", 0.5)
    run.start(TRIAL, 0, directory)
    # The next run gets the lock as soon as the first has noticed.
    works(monkeypatch, lambda _report, _check: {"started": False})
    run.start(TRIAL, 60, directory)
    assert run.follow(60, directory)["outcome"] == {"started": False}


def test_a_process_that_died_is_noticed(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(report: Any, _check: Any) -> dict[str, Any]:
        raise SystemExit

    works(monkeypatch, dies)
    run.start(TRIAL, 0, directory)
    with pytest.raises(HostError, match="the process that ran the trial is gone"):
        run.follow(60, directory)


def test_stopping_where_nothing_runs_changes_nothing(directory: str) -> None:
    assert not run.stop(0, directory)
