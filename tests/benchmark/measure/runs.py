# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of complete runs of ansible-playbook and of their tasks.

The variants of a comparison take turns, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
TABLE = ROOT / "vars" / "model_tables" / "ascend-64gb.yml"


class BenchmarkError(Exception):
    """What went wrong, with the way out."""


def fail(text: str) -> NoReturn:
    raise BenchmarkError(text)


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def environment(**settings: str) -> dict[str, str]:
    """The environment of a run: this collection, and Ansible's own defaults."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_CONFIG": str(ROOT / "tests" / "ansible.cfg"),
        **settings,
    }


@dataclass
class Timing:
    """Seconds of one run: on the clock, of the processor here, and of each task."""

    wall: float
    cpu: float
    tasks: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""

    def step(self, actions: Sequence[str]) -> float:
        """Seconds of the tasks with these actions, of which there is at least one."""
        found = [float(task["seconds"]) for task in self.tasks if task["action"] in actions]
        if not found:
            fail(f"No task ran any of {', '.join(actions)}: the benchmark has to follow the role.")
        return sum(found)

    @property
    def changed(self) -> list[str]:
        return [f"{task['task']}: {text}" for task in self.tasks for text in task["changed"]]


def play(
    work: Path, playbook: str, *arguments: str, settings: Sequence[str] = (), **variables: Any
) -> Timing:
    """Run a playbook with these settings of Ansible (`NAME=value`) and extra variables.

    playbook: a file of this directory, or a playbook of the collection by its full name.
    """
    extra = work / "extra.json"
    extra.write_text(json.dumps(variables), encoding="utf-8")
    times = work / "times.json"
    times.unlink(missing_ok=True)
    env = environment(
        ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback_plugins"),
        ANSIBLE_CALLBACKS_ENABLED="step_times",
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(work / "cp"),
        STEP_TIMES=str(times),
        **dict(each.split("=", 1) for each in settings),
    )
    path = str(HERE / playbook) if playbook.endswith(".yml") else playbook
    command = ["ansible-playbook", path, "-e", f"@{extra}", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        fail(
            f"{playbook} failed, so there is nothing to measure:\n{done.stdout[-4000:]}{done.stderr}"
        )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(wall, cpu, json.loads(times.read_text(encoding="utf-8")), done.stdout)


def unchanged(timing: Timing, playbook: str) -> Timing:
    """The same timing; BenchmarkError if the run changed anything."""
    if timing.changed:
        fail(f"{playbook} was to change nothing, but it did:\n" + "\n".join(timing.changed))
    return timing


def rounds(
    count: int,
    variants: dict[str, Callable[[], Timing]],
    title: str,
    often: Sequence[str] = (),
    times: int = 1,
) -> dict[str, list[Timing]]:
    """Run every variant once per round, each round in another order.

    Those named in `often`, which are quick, run `times` times a round, half of them before the
    others and half after.
    """
    timings: dict[str, list[Timing]] = {name: [] for name in variants}
    others = [name for name in variants if name not in often]
    for number in range(count):
        progress(f"{title}: round {number + 1} of {count}")
        quick = [name for each in range(times) for name in (often, often[::-1])[each % 2]]
        half = times // 2 * len(often)
        turn = number % len(others)
        for name in [*quick[:half], *others[turn:], *others[:turn], *quick[half:]]:
            timings[name].append(variants[name]())
    return timings
