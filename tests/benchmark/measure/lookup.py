# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play that prints what the lookup returns, against one that prints a constant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from measure.runs import TABLE, Timing, play, rounds
from measure.tables import ratio, spread, table


def lookup(work: Path, count: int) -> None:
    """Measure `count` rounds and print them."""
    models = [row["model"] for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))["rows"]]
    variants: dict[str, Callable[[], Timing]] = {}

    def add(title: str, playbook: str, what: str) -> None:
        variants[title] = lambda: play(work, playbook, what=what, models=models)

    add("debug alone", "lookup.yml", "plain")
    add("lookup of one model", "lookup.yml", "one")
    add(f"lookup of all {len(models)}", "lookup.yml", "all")
    add(f"loop of {len(models)} debug alone", "lookup_loop.yml", "plain")
    add(f"loop of {len(models)} lookups", "lookup_loop.yml", "one")
    for run in variants.values():
        run()
    timings = rounds(count, variants, "lookup")
    rows = []
    base = ""
    for title, runs in timings.items():
        base = title if "alone" in title else base
        wall, cpu = [run.wall for run in runs], [run.cpu for run in runs]
        plain = timings[base]
        rows.append(
            (
                title,
                spread(wall),
                f"{ratio(wall, [run.wall for run in plain]):.3f}",
                spread(cpu),
                f"{ratio(cpu, [run.cpu for run in plain]):.3f}",
                str(len(runs)),
            )
        )
    head = ("", "seconds", "ratio", "processor seconds", "ratio", "rounds")
    table("The lookup: a complete ansible-playbook, median (least-most)", head, rows)
    print("  ratio: to the row with `debug alone` above it; aim: 1.10 or less")
