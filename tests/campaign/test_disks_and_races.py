# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that takes nothing changes nothing; two runs at once end as one of them."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.hosts import environment

from .target import AFTER, BEFORE, PLACE, Target, cards_of, owners

pytestmark = [pytest.mark.hosts, pytest.mark.long]

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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_takes_nothing(target: Target, fault: str, figure: Callable[..., None]) -> None:
    """Configurations cannot be written: no other file changes either, and all services run on."""
    make, undo, words = (text.format("/etc/vllm") for text in FAULTS[fault])
    assert target.run("before").status == 0
    target.host.sh("rm -rf /opt/kept && cp -a /etc/vllm /opt/kept")
    before = target.state()
    pids = target.host.sh("systemctl show -P MainPID 'vllm@*'")
    if fails(target, make):
        target.host.sh(undo, check=False)
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
    target: Target, chance: random.Random, figure: Callable[..., None]
) -> None:
    """The host ends as the one or the other has it, and no process ever has the card of another."""
    rounds = 12
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
