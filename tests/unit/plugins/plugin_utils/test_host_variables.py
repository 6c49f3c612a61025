# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that runs another one leaves nothing of it on the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import run_action


class Action:
    """What is used of ActionBase."""

    def __init__(self, tmpdir: str | None, pipelining: bool = False) -> None:
        self._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=tmpdir))
        self._task = SimpleNamespace(copy=SimpleNamespace, check_mode=False)
        self._play_context = self._loader = self._templar = None
        self._shared_loader_obj = SimpleNamespace(action_loader=SimpleNamespace(get=self.get))
        self.pipelining, self.seen = pipelining, ""

    def get(self, _name: str, **_given: Any) -> Action:
        return self

    def run(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        self.seen = self._connection._shell.tmpdir
        return task_vars

    def _is_pipelining_enabled(self, _style: str) -> bool:
        return self.pipelining

    def _make_tmp_path(self) -> None:
        self._connection._shell.tmpdir = "/made/by/the/outer"


@pytest.mark.parametrize(
    ("action", "seen"),
    [
        (Action(None), "/made/by/the/outer"),
        (Action("/there"), "/there"),
        (Action(None, pipelining=True), None),
    ],
)
def test_the_directory_on_the_host_is_that_of_the_action_that_ansible_cleans_up(
    action: Action, seen: str | None
) -> None:
    assert run_action(action, "other", {}, {"a": 1}) == {"a": 1}
    assert action.seen == seen
