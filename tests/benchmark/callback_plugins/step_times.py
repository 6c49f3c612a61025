# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes when each task of a run began and when the last host was through with it."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: step_times
type: aggregate
short_description: Seconds of each task, as JSON
description:
  - Writes a list of tasks to the file that the environment variable STEP_TIMES names. Each has
    C(task), C(action), C(seconds) from its start to the last host's result, and C(changed), what
    hosts say of a change.
author: The inferops.ascend authors
"""

# What the role's module says of a change.
SAID = ("services", "removed", "reloaded")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "step_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[dict[str, Any]] = []
        self.started = 0.0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.started = time.perf_counter()
        self.tasks.append(
            {"task": task.get_name(), "action": task.action, "seconds": 0.0, "changed": []}
        )

    def v2_runner_on_ok(self, result: Any) -> None:
        self.tasks[-1]["seconds"] = time.perf_counter() - self.started
        data = getattr(result, "result", None) or getattr(result, "_result", {})
        if data.get("changed"):
            what = {key: data[key] for key in SAID if data.get(key)}
            host = getattr(result, "host", None) or getattr(result, "_host", "?")
            self.tasks[-1]["changed"].append(f"{host}: {json.dumps(what)}")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        with open(os.environ["STEP_TIMES"], "w", encoding="utf-8") as handle:
            json.dump(self.tasks, handle)
