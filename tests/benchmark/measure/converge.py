# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The converge against loops of Ansible's own modules, and complete playbooks against a ping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from measure.fleet import Fleet
from measure.runs import Timing, progress, rounds
from measure.tables import ratio, spread, table

STEPS = {
    "role": ("inferops.ascend.systemd_instances", "inferops.ascend.vllm_services"),
    "loops": ("ansible.builtin.template", "ansible.builtin.systemd_service"),
    "ping": ("ansible.builtin.ping",),
}
PLAYBOOKS = ("deploy", "verify")


@dataclass(frozen=True)
class Extent:
    """How much is measured: runs of the slow variant, of the others, and how ssh is used."""

    slow: int
    quick: int
    pipelining: Sequence[str] = ("0", "1")
    trips: Sequence[int] = (1, 4, 8)


def trips(fleet: Fleet, extent: Extent) -> None:
    """Count what goes over ssh to a host for growing numbers of services."""
    numbers = extent.trips
    counts: dict[str, list[int]] = {}
    for number in numbers:
        progress(f"counting round trips for {number} services")
        some = replace(fleet, services=number)
        some.deploy("h1")
        loops = some.loops()
        for value in extent.pipelining:
            flag, pipelining = f"ANSIBLE_PIPELINING={value}", "on" if value == "1" else "off"
            for name in STEPS:
                extra = loops if name == "loops" else {}
                count = some.trips(f"{name}.yml", flag, **extra)
                counts.setdefault(f"{name}, pipelining {pipelining}", []).append(count)
            for name in PLAYBOOKS:
                count = some.trips(f"inferops.ascend.{name}", flag)
                counts.setdefault(f"playbook {name}, pipelining {pipelining}", []).append(count)
    table(
        "Commands and transfers over ssh to one host, nothing to change",
        ("", *(f"{number} service{'s' if number > 1 else ''}" for number in numbers)),
        [(title, *map(str, found)) for title, found in counts.items()],
    )
    print("  pipelining is off by default in Ansible")


def limits(fleet: Fleet) -> dict[str, str]:
    """One host and all of them, by title."""
    found = {"1 host": "h1"}
    if fleet.size > 1:
        found[f"{fleet.size} hosts"] = fleet.everyone
    return found


def converge(fleet: Fleet, extent: Extent) -> None:
    """Compare the role with the loops and with a ping, where there is nothing to change."""
    loops = fleet.loops()
    steps: list[tuple[str, ...]] = []
    complete: list[tuple[str, ...]] = []
    try:
        for title, hosts in limits(fleet).items():
            for pipelining in extent.pipelining:
                flag = f"ANSIBLE_PIPELINING={pipelining}"
                title += ", pipelining" if pipelining == "1" else ""
                slow = extent.slow if hosts == "h1" else max(1, extent.slow // 2)

                def variant(
                    name: str, hosts: str = hosts, flag: str = flag
                ) -> Callable[[], Timing]:
                    extra = loops if name == "loops" else {}
                    return lambda: fleet.no_change(f"{name}.yml", hosts, flag, **extra)

                variants = {name: variant(name) for name in STEPS}
                # Connections are kept open between runs, as Ansible does by default; open them now.
                variants["ping"]()
                times = max(1, extent.quick // slow)
                timings = rounds(slow, variants, title, often=("role", "ping"), times=times)
                steps.append(
                    row(title, {k: [t.step(STEPS[k]) for t in v] for k, v in timings.items()})
                )
                complete.append(row(title, {k: [t.wall for t in v] for k, v in timings.items()}))
    finally:
        # What was measured before an interruption is worth reading.
        head = ("", "role", "loops", "ping", "loops/role", "role/ping")
        what = f"{fleet.services} services a host, nothing to change; seconds, median (least-most)"
        table(f"The converge step: {what}", head, steps)
        print("  role: the task that converges; loops: template and systemd_service; ping: ping")
        print(f"  runs of loops: {extent.slow}, on several hosts half as many; of the others more")
        print("  aim: loops/role 15 or more, role/ping 2 or less")
        table(f"The complete run of ansible-playbook: {what}", head, complete)


def row(title: str, seconds: dict[str, list[float]]) -> tuple[str, ...]:
    return (
        title,
        *(spread(seconds[name]) for name in STEPS),
        f"{ratio(seconds['loops'], seconds['role']):.1f}",
        f"{ratio(seconds['role'], seconds['ping']):.2f}",
    )


def playbooks(fleet: Fleet, count: int) -> None:
    """Compare complete playbooks that change nothing with a play of one ping, without pipelining."""
    flag = "ANSIBLE_PIPELINING=0"
    rows: list[tuple[str, ...]] = []
    try:
        for title, hosts in limits(fleet).items():
            variants: dict[str, Callable[[], Timing]] = {
                "ping": lambda hosts=hosts: fleet.no_change("ping.yml", hosts, flag),
                **{
                    name: lambda name=name, hosts=hosts: fleet.no_change(
                        f"inferops.ascend.{name}", hosts, flag
                    )
                    for name in PLAYBOOKS
                },
            }
            variants["ping"]()
            timings = rounds(count, variants, f"playbooks, {title}")
            number = hosts.count(",") + 1
            base = timings["ping"]
            for name, runs in timings.items():
                wall = [run.wall for run in runs]
                cpu = [run.cpu / number for run in runs]
                rows.append(
                    (
                        f"{title}, {name}",
                        spread(wall),
                        f"{ratio(wall, [run.wall for run in base]):.2f}",
                        spread(cpu),
                        f"{ratio(cpu, [run.cpu / number for run in base]):.2f}",
                        str(len(runs)),
                    )
                )
    finally:
        head = ("", "seconds", "to ping", "processor seconds a host", "to ping", "runs")
        what = f"{fleet.services} services a host, nothing to change, pipelining off"
        table(f"Complete playbooks: {what}; median (least-most)", head, rows)
        print("  processor seconds: of the controller, ssh included, divided by the hosts")
        print("  aim on 8 hosts: 3 times the ping or less, 0.5 processor seconds a host or less")
