# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what placing the services of a fleet costs by itself, and how that grows with the fleet.

Hosts of eight cards, filled to 90 % with the mix of sizes of the shipped table. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
    FleetPlan,
    FleetService,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.planner import (
    plan_fleet,
)

from measure.runs import TABLE, BenchmarkError, fail, progress
from measure.tables import figure, heading, table

KIND, CARDS, FILL = "atlas-800i-a2-64g", 8, 0.9


@dataclass
class Fleet:
    """Hosts and what they are to serve."""

    hosts: list[FleetHost]
    services: list[FleetService]

    @property
    def wanted(self) -> int:
        """Cards, of which whole hosts are taken by what is larger than one."""
        sizes = ((each.cards[KIND], each.replicas or 0) for each in self.services)
        return sum(
            replicas * max(cards, -(-cards // CARDS) * CARDS * (cards > CARDS))
            for cards, replicas in sizes
        )


def fleet(hosts: int, *, apart: bool) -> Fleet:
    """The table's rows in turn until 90 % of the cards are taken.

    One service a row with as many replicas, or `apart`, a service of its own for each of these.
    """
    rows = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["min_cards"] <= hosts * CARDS // 2]
    random.Random(1).shuffle(rows)
    left, passed, number = int(hosts * CARDS * FILL), 0, 0
    replicas: Counter[int] = Counter()
    while passed < len(rows):
        place = number % len(rows)
        cards = rows[place]["min_cards"]
        passed = 0 if cards <= left else passed + 1
        if not passed:
            replicas[place] += 1
            left -= cards
        number += 1
    names = tuple(f"npu-{n:05}" for n in range(hosts))
    services = []
    for place, count in replicas.items():
        model, cards = rows[place]["model"], {KIND: rows[place]["min_cards"]}
        if apart:
            services += [FleetService(f"{model}.{n}", 1, cards, names) for n in range(count)]
        else:
            services.append(FleetService(model, count, cards, names))
    return Fleet([FleetHost(name, KIND, tuple(range(CARDS))) for name in names], services)


def timed(of: Fleet, existing: Sequence[Assignment], rounds: int) -> tuple[float, FleetPlan]:
    """The median of processor seconds, and the plan."""
    seconds = []
    for _round in range(rounds):
        gc.collect()
        start = time.process_time()
        plan = plan_fleet(of.hosts, of.services, existing, [])
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), plan


def check(of: Fleet, plan: FleetPlan, left: int = 0) -> None:
    if len(plan.unplaced) != left:
        fail(f"{len(of.hosts)} hosts: {len(plan.unplaced)} replicas had no room, not {left}")


def measure(hosts: int, rounds: int, *, apart: bool) -> dict[str, float]:
    """Seconds by what was planned; MiB and shares by their names."""
    whole = fleet(hosts, apart=apart)
    found: dict[str, float] = {}
    found["new"], plan = timed(whole, [], rounds)
    check(whole, plan)
    placed = sum(len(assignment.cards) for assignment in plan.assignments)
    found["placed"] = placed / whole.wanted
    found["services"], found["replicas"] = (
        len(whole.services),
        sum(each.replicas or 0 for each in whole.services),
    )
    found["no change"], again = timed(whole, plan.assignments, rounds)
    if again.moved:
        fail(f"{hosts} hosts: {len(again.moved)} services moved although nothing changed")
    names = whole.services[0].hosts
    more = Fleet(whole.hosts, [*whole.services, FleetService("more", 1, {KIND: 1}, names)])
    found["one service more"], again = timed(more, plan.assignments, rounds)
    if [move.service for move in again.moved] != ["more"]:
        fail(f"{hosts} hosts: one service more, and others moved")
    gone = replace(whole.hosts[0], excluded=frozenset(range(CARDS)))
    less = Fleet([gone, *whole.hosts[1:]], whole.services)
    found["one host less"], again = timed(less, plan.assignments, rounds)
    # Single cards for all that is free, and one too many: rejected after planning everything again.
    count = hosts * CARDS - placed + 1
    full = [FleetService(f"more-{n}", 1, {KIND: 1}, names) for n in range(count)]
    found["one too many"], over = timed(
        Fleet(whole.hosts, [*whole.services, *full]), plan.assignments, rounds
    )
    check(whole, over, 1)
    tracemalloc.start()
    plan_fleet(whole.hosts, whole.services, plan.assignments, [])
    found["MiB"] = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return found


SECONDS = ("new", "no change", "one service more", "one host less", "one too many")


def show(title: str, sizes: Sequence[int], found: Sequence[dict[str, float]]) -> None:
    head = ["", *(f"{size:,}" for size in sizes)]
    head[1] += " hosts"
    rows = [
        ["services", *(f"{each['services']:,.0f}" for each in found)],
        ["replicas", *(f"{each['replicas']:,.0f}" for each in found)],
        ["cards placed of those wanted", *(f"{each['placed']:.0%}" for each in found)],
    ]
    rows += [[name, *(f"{each[name]:.3g}" for each in found)] for name in SECONDS]
    rows.append(["MiB at most, no change", *(figure(each["MiB"]) for each in found)])
    steps = list(zip(sizes, sizes[1:], found, found[1:], strict=False))
    for name in SECONDS:
        growth = [figure(more[name] / less[name]) for _small, _large, less, more in steps]
        rows.append([f"growth, {name}", "", *growth])
    ideal = [
        large * math.log(large * CARDS) / (small * math.log(small * CARDS))
        for small, large, _less, _more in steps
    ]
    rows.append(["growth of n log n, in cards", "", *map(figure, ideal)])
    table(title, head, rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="fleet_planner", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sizes = sorted(arguments.sizes)
    try:
        print(heading(), flush=True)
        for apart, title in ((False, "A service for each model"), (True, "Each replica a service")):
            found = []
            for size in sizes:
                progress(f"{title}: {size} hosts")
                found.append(measure(size, arguments.rounds, apart=apart))
            show(f"{title}; processor seconds, median", sizes, found)
    except BenchmarkError as error:
        progress(f"error: {error}")
        return 1
    print("  aim: under 1 s for 1,000 hosts, growth no faster than n log n, all cards placed")
    return 0
