# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed, find no room, or are not alone: no card has two owners, and the next run completes them."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.hosts import environment

from .target import AFTER, BEFORE, PLACE, UNIT, Target, cards_of, owners

pytestmark = pytest.mark.hosts


def short_first(cases: list[tuple[Any, ...]]) -> list[Any]:
    """Cases of a test, of which the first one is in the short form."""
    marks: list[list[pytest.MarkDecorator]] = [[], *([[pytest.mark.long]] * (len(cases) - 1))]
    return [pytest.param(*case, marks=mark) for case, mark in zip(cases, marks, strict=True)]


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


# Parts, for as many workers.
PARTS = [*(("after", part, 4) for part in (1, 2, 3, 4)), ("deferred", 1, 2), ("deferred", 2, 2)]
PARTS += [("nothing", 1, 1)]


@pytest.mark.parametrize(("what", "part", "parts"), short_first(PARTS))
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


# How the disk of a directory of the host takes nothing: what does that, what undoes it, and the words about it.
FAULTS = {
    "full": (
        "mount -t tmpfs -o size=64k none {0} && cp -a /opt/kept/. {0}/ && {{ cat /dev/zero > {0}/filled"
        " 2>/dev/null || true; }}",
        "umount {0}",
        "there is no room on",
    ),
    "read-only": ("mount --bind {0} {0} && mount -o remount,bind,ro {0}", "umount {0}", "for reading only"),
    "immutable": (
        "mount -t tmpfs none {0} && cp -a /opt/kept/. {0}/ && chattr +i {0}/*.yaml",
        "chattr -i {0}/*.yaml; umount {0}",
        "Is it immutable?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", short_first([(fault,) for fault in FAULTS]))
def test_a_disk_that_takes_nothing(target: Target, fault: str, figure: Callable[..., None]) -> None:
    """Configurations cannot be written: no other file changes either, and all services run on."""
    make, undo, words = (text.format("/etc/vllm") for text in FAULTS[fault])
    assert target.run("before").status == 0
    target.host.sh("rm -rf /opt/kept && cp -a /etc/vllm /opt/kept")
    before = target.state()
    pids = target.host.sh("systemctl show -P MainPID 'vllm@*'")
    if fails(target, make):
        target.host.sh(undo, check=False)
        figure(
            "disks",
            f"/etc/vllm is {fault}",
            0,
            "not tried: this machine's file systems cannot be made so",
        )
        pytest.skip(f"this machine's file systems cannot be made {fault}")
    try:
        done = target.run("after")
        during = target.state()
        assert target.host.sh("systemctl show -P MainPID 'vllm@*'") == pids
    finally:
        target.host.sh(undo)
    message = done.result.get("msg", "")
    assert done.status == 1 and words in message and "/etc/vllm" in message, done.result
    assert "No file was changed, and no service was stopped or started." in message
    assert during["files"] == before["files"] and during["leftovers"] == []
    assert target.run("after").status == 0
    assert target.state()["processes"] == cards_of(AFTER)
    figure(
        "disks",
        f"/etc/vllm is {fault}",
        1,
        "no file changed, no service stopped; the next run did all",
    )


def fails(target: Target, script: str) -> bool:
    return "failed" in target.host.sh(f"{{ {script} ; }} >/dev/null 2>&1 || echo failed")


def test_two_deploys_at_once(
    target: Target, everything: bool, chance: random.Random, figure: Callable[..., None]
) -> None:
    """The host ends as the one or the other has it, and no process ever has the card of another."""
    rounds = 12 if everything else 1
    for number in range(rounds):
        delay = chance.random() * 1.5
        target.host.sh(
            f"python3 {PLACE}/after.module > {PLACE}/1 & sleep {delay:.2f};"
            f" python3 {PLACE}/before.module > {PLACE}/2 & wait"
        )
        state = target.state()
        assert not owners(state["processes"]), (number, state)
        assert state["processes"] in (cards_of(BEFORE), cards_of(AFTER)), (number, state)
        assert state["files"] == state["processes"] and state["leftovers"] == [], (number, state)
    figure("races", "two deploys of one host at once", rounds, "the host is as one of them has it")


@pytest.mark.long
def test_two_plans_at_once(
    tmp_path: Path, chance: random.Random, figure: Callable[..., None]
) -> None:
    """Each ends with a plan of its own or says that another one is running; what is there is one plan."""
    rounds, refused = 8, 0
    for number in range(rounds):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "hosts.yml").write_text(
            "all: {hosts: {a: {}, b: {}, c: {}}, vars: {ascend_host_profile: atlas-800i-a2-64g}}\n"
        )
        runs = [plan(directory, cards) for cards in (1, chance.choice((2, 4)))]
        ends = [run.communicate(timeout=300)[0] for run in runs]
        for run, output in zip(runs, ends, strict=True):
            assert run.returncode in (0, 2), output
            assert "Traceback" not in output, output
        assert 0 in [run.returncode for run in runs], ends
        refused += sum(run.returncode != 0 for run in runs)
        written = "".join(path.read_text() for path in sorted(directory.glob("host_vars/*/*.yml")))
        sizes = {line.strip() for line in written.splitlines() if line.strip().startswith("cards:")}
        assert written and len({size.count(",") for size in sizes}) <= 1, (number, written)
    figure(
        "races",
        "two plans of one inventory at once",
        rounds,
        f"one plan each time; {refused} were refused",
    )


def plan(directory: Path, cards: int) -> Any:
    services = f'[{{"model": "Qwen3-14B", "replicas": 6, "cards": {cards}}}]'
    command = ["ansible-playbook", "-i", str(directory / "hosts.yml"), "inferops.ascend.plan"]
    return subprocess.Popen(
        [*command, "-e", f'{{"vllm_plan_services": {services}}}'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
