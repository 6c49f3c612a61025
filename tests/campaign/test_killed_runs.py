# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is killed before each operation and the host restarts: no card has two owners, and the next run completes it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from .target import AFTER, BEFORE, UNIT, Target, cards_of, owners

pytestmark = pytest.mark.hosts


def points(operations: list[str], chance: random.Random, everything: bool) -> list[int]:
    """Operations before which a run is killed; in the short form one between two placements."""
    if everything:
        return list(range(1, len(operations) + 1))
    renamed = [
        number
        for number, operation in enumerate(operations, 1)
        if operation.startswith("os.rename") and operation.endswith("placement.conf")
    ]
    between = renamed[len(renamed) // 2 + 1 :]
    return [chance.choice(between or range(1, len(operations) + 1))]


# Parts, for as many workers. The first one is the short form too.
PARTS = [*(("after", part, 4) for part in (1, 2, 3, 4)), ("deferred", 1, 2), ("deferred", 2, 2)]
PARTS += [("nothing", 1, 1)]


@pytest.mark.parametrize(
    ("what", "part", "parts"),
    [
        pytest.param(*each, marks=[pytest.mark.long] if number else [])
        for number, each in enumerate(PARTS)
    ],
)
def test_no_card_has_two_owners_wherever_a_run_is_killed(
    target: Target,
    what: str,
    part: int,
    parts: int,
    everything: bool,
    chance: random.Random,
    figure: Callable[..., None],
) -> None:
    if what == "nothing":
        target.record(what, [])
    elif what == "deferred":
        target.record(what, AFTER, vllm_service_restart="deferred", **UNIT)
    assert target.run("before").status == 0
    operations = target.operations(what)
    last = "after" if what == "deferred" else what
    tried = down = 0
    for at in points(operations, chance, everything)[part - 1 :: parts]:
        assert target.run("before").status == 0
        assert target.state()["processes"] == cards_of(BEFORE)
        where = f"{what} killed before operation {at}: {operations[at - 1]}"
        assert target.run(what, at).status == -9, where
        at_once = target.state()
        assert not owners(at_once["files"]), (where, at_once)
        assert not owners(at_once["processes"]), (where, at_once)
        target.reboot()
        state = target.state()
        assert not owners(state["processes"]), (where, state)
        missing = [name for name in state["enabled"] if name not in state["processes"]]
        assert all(state["files"].get(name) == [] for name in missing), (where, state)
        done = target.run(last)
        assert done.status == 0, (where, done.result)
        check_end(target.state(), last, where)
        tried, down = tried + 1, down + bool(missing)
    figure(
        "killed runs",
        f"{what}: before each of {len(operations)} operations, then a reboot; {part} of {parts}",
        tried,
        f"no card had two owners; a service was down until the next run {down} times",
    )


def check_end(state: dict[str, Any], name: str, where: str) -> None:
    expected = cards_of(AFTER) if name == "after" else {}
    assert state["processes"] == state["files"] == expected, (where, state)
    assert state["enabled"] == sorted(expected), (where, state)
    assert state["configured"] == sorted(f"{each}.yaml" for each in expected), (where, state)
    assert state["leftovers"] == [], (where, state)
