# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of the plan came to, for programs: `vars/schemas/plan.schema.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .._base.errors import AscendError
from .files import Change
from .inventory import Problem
from .result import PlanRejected, PlanSettings, Run
from .views import View, change_kind, totals_of

UNCHANGED, PENDING, WRITTEN, FAILED = "unchanged", "pending", "written", "failed"

_SIZES = ("data_parallel_size", "tensor_parallel_size", "pipeline_parallel_size")
_CHANGES = ("added", "moved", "removed")
_TOTALS = ("hosts", "cards", "used", "free", "excluded", "clash", "services", "instances")


def planned(run: Run, *, locked: bool) -> dict[str, Any]:
    """A plan, what it changes, and whether that is written or pending."""
    state = UNCHANGED
    if run.all_changes:
        state = PENDING if run.settings.check or locked else WRITTEN
    return {
        **_common(run.settings, state, locked=locked),
        "warnings": list(run.warnings),
        "notes": list(run.notes),
        "hosts": [_host(host) for host in run.plan["hosts"]],
        "changes": [{"kind": change_kind(each), **each} for each in run.plan["changes"]],
        "files": [_file(each) for each in run.all_changes],
        "summary": _summary(run.plan),
    }


def failed(error: AscendError, settings: PlanSettings, *, locked: bool) -> dict[str, Any]:
    """A plan that was rejected, or could not be written."""
    rejected = error if isinstance(error, PlanRejected) else PlanRejected([Problem(str(error))])
    return {
        **_common(settings, FAILED, locked=locked),
        "problems": [{**asdict(each), "hosts": list(each.hosts)} for each in rejected.found],
        "unplaced": rejected.unplaced,
    }


def _common(settings: PlanSettings, state: str, *, locked: bool) -> dict[str, Any]:
    return {
        "state": state,
        "check": settings.check,
        "locked": locked,
        "problems": [],
        "unplaced": [],
        "warnings": [],
        "notes": [],
        "hosts": [],
        "changes": [],
        "files": [],
        "summary": _summary({"hosts": [], "changes": []}),
    }


def _summary(plan: View) -> dict[str, int]:
    totals = totals_of(plan)
    kinds = [change_kind(each) for each in plan["changes"]]
    return {
        **{name: totals[name] for name in _TOTALS},
        **{kind: kinds.count(kind) for kind in _CHANGES},
    }


def _host(host: View) -> dict[str, Any]:
    return {
        "name": host["name"],
        "profile": host["profile"],
        "card_memory_gb": host["card_memory_gb"],
        "cards": list(host["cards"]),
        "excluded": list(host["excluded"]),
        "by_hand": host["given"],
        "services": [_service(each) for each in host["services"]],
    }


def _service(service: View) -> dict[str, Any]:
    kept = ("name", "service", "model", "kind", "cards", "port", "max_model_len", "basis", "table")
    return {
        **{key: service[key] for key in kept},
        "row": service["row"],
        "state": service["state"],
        "by_hand": service["given"],
        "cluster": _cluster(service),
        "gpu_memory_utilization": service["part"],
        **dict(zip(_SIZES, service["sizes"], strict=True)),
    }


def _cluster(service: View) -> dict[str, Any] | None:
    cluster: Mapping[str, Any] | None = service["cluster"]
    return None if cluster is None else {**cluster, "engine": service["engine"]}


def _file(change: Change) -> dict[str, Any]:
    if change.after is None:
        kind = "removed"
    elif change.before is None:
        kind = "created"
    else:
        kind = "changed" if change.before != change.after else "unchanged"
    adopted = None if change.adopt is None else str(change.adopt)
    return {"host": change.host, "path": str(change.path), "change": kind, "adopted": adopted}
