# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a unit and of its process."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service import cards
from ansible_collections.inferops.ascend.plugins.module_utils._service.units import (
    elapsed,
    environ_of,
    state_of,
)


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "health", "served", "written", "state"),
    [
        ({"ActiveState": "active", "MainPID": "4"}, 200, False, True, "ready"),
        ({"ActiveState": "active", "MainPID": "4"}, None, False, True, "starting"),
        ({"ActiveState": "active", "MainPID": "4"}, None, True, True, "unhealthy"),
        ({"ActiveState": "active", "MainPID": "4"}, 503, False, True, "unhealthy"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart"},
            None,
            False,
            True,
            "restarting",
        ),
        ({"ActiveState": "activating", "SubState": "start-pre"}, None, False, True, "starting"),
        ({"ActiveState": "inactive", "Job": "71"}, None, False, True, "starting"),
        ({"ActiveState": "activating", "MainPID": "4"}, None, False, True, "starting"),
        ({"ActiveState": "deactivating", "MainPID": "4"}, None, True, True, "stopping"),
        ({"ActiveState": "failed", "MainPID": "0"}, None, False, True, "failed"),
        ({"ActiveState": "inactive", "MainPID": "0"}, None, False, True, "stopped"),
        ({"ActiveState": "inactive", "LoadState": "masked"}, None, False, True, "stopped"),
        ({"ActiveState": "inactive", "LoadState": "loaded"}, None, False, False, "absent"),
        ({"ActiveState": "inactive", "LoadState": "not-found"}, None, False, True, "absent"),
        ({}, None, False, True, "unknown"),
    ],
)
def test_a_service_in_one_word(
    values: dict[str, str], health: int | None, served: bool, written: bool, state: str
) -> None:
    assert state_of(values, health, served, written) == state


def test_the_time_of_a_start_is_that_since_it_began_or_that_it_lasted() -> None:
    begun = {"ExecMainStartTimestampMonotonic": "100000000", "MainPID": "7"}
    assert elapsed(begun, 160.5) == 60.5
    ended = {**begun, "ExecMainExitTimestampMonotonic": "103000000", "MainPID": "0"}
    assert elapsed(ended, 999.0) == 3.0
    # The end of the start before lies before this one's beginning.
    again = {**begun, "ExecMainExitTimestampMonotonic": "90000000"}
    assert elapsed(again, 160.5) == 60.5
    assert elapsed({}, 160.5) is None


def test_a_process_that_wrote_over_its_environment_is_told_by_its_children(tmp_path: Path) -> None:
    put(tmp_path, "proc/10/environ", "VLLM::APIServer\0\0\0")
    put(tmp_path, "proc/11/environ", "INFEROPS_DIGEST=abc\0ASCEND_RT_VISIBLE_DEVICES=4,5\0")
    put(tmp_path, "sys/fs/cgroup/system.slice/vllm@chat.service/cgroup.procs", "10\n11\n")
    found = environ_of(tmp_path, 10, "/system.slice/vllm@chat.service")
    assert found["INFEROPS_DIGEST"] == "abc"
    assert cards.visible(found) == [4, 5]
