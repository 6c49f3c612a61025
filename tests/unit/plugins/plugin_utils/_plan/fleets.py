# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for the tests of the planner, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
    FleetPlan,
    FleetService,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.planner import plan_fleet
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.result import unplaced_problems

PLAN = "ansible_collections.inferops.ascend.plugins.plugin_utils._plan"


EXCHANGE, AGAIN, EXACT = "search.EXCHANGE_TRIALS", "repack.ROUNDS", "repack.EXACT_TRIALS"


A2, A2_32, A3 = "atlas-800i-a2-64g", "atlas-800i-a2-32g", "atlas-800i-a3"


def host(name: str, cards: int | Iterable[int] = 8, kind: str = A2, **more: Any) -> FleetHost:
    ids = tuple(range(cards)) if isinstance(cards, int) else tuple(cards)
    more["excluded"] = frozenset(more.get("excluded", ()))
    return FleetHost(name, kind, ids, **more)


def service(name: str, cards: int | dict[str, int], on: Iterable[str], **more: Any) -> FleetService:
    counts = {A2: cards} if isinstance(cards, int) else cards
    more.setdefault("replicas", 1)
    return FleetService(name, cards=counts, hosts=tuple(on), **more)


def plan(
    hosts: list[FleetHost],
    services: list[FleetService],
    existing: Iterable[Assignment] = (),
    given: Iterable[Assignment] = (),
    **more: Any,
) -> FleetPlan:
    return plan_fleet(hosts, services, list(existing), list(given), **more)


def where(planned: FleetPlan) -> dict[str, dict[str, list[int]]]:
    """{host: {name of the unit: cards}}."""
    result: dict[str, dict[str, list[int]]] = {}
    for assignment in planned.assignments:
        result.setdefault(assignment.host, {})[assignment.name] = list(assignment.cards)
    return result


def reason(planned: FleetPlan) -> str:
    (problem,) = unplaced_problems(planned.unplaced)
    return problem.line


TWO = [host("h1"), host("h2")]


NAMES = ("h1", "h2")
