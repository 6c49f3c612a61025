# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All instances of one template unit on this host: inspect, act, report."""

from __future__ import annotations

from typing import Any

from .._base.errors import HostError
from . import status
from .act import Actions
from .plan import Plan
from .units import Module


def run(module: Module) -> dict[str, Any]:
    """Inspect the host, act unless in check mode, and return the module's result."""
    plan = Plan(module)
    plan.inspect()
    actions = Actions(plan)
    result: dict[str, Any] = {"changed": plan.changed, "copies": [], "refused": [], "held": []}
    if module._diff:
        result["diff"] = diff(plan)
    if plan.rejections:
        result.update(probe(plan), changed=False)
        result["refused"] = [{"name": name, "message": text} for name, text in plan.rejections]
        messages = dict.fromkeys(text for _name, text in plan.rejections)
        module.fail_json(msg="\n".join(messages), **{**report(plan), **result})
    if not module.check_mode:
        try:
            result["copies"] = actions.act()
        except (HostError, OSError) as error:
            module.fail_json(
                msg=f"{error} What was done before stays; run again when this is fixed.", **result
            )
        result["held"] = actions.held
        failures = actions.failures()
        if failures:
            result.update(report(plan))
            module.fail_json(msg="\n".join(failures), **result)
    result.update(report(plan), **probe(plan))
    return result


def report(plan: Plan) -> dict[str, Any]:
    services = []
    for name, desired in plan.desired.items():
        if name in plan.orphans:
            continue
        state = plan.states[plan.unit_of(name)]
        decision = plan.decisions[name]
        services.append(
            {
                "name": name,
                "unit": plan.unit_of(name),
                "action": decision.action,
                "reason": decision.reason,
                "pid": state.pid,
                "boot": {None: "none", True: "enable", False: "disable"}[decision.enable],
                "files": [change.desired.path for change in plan.changes[name]],
                "other_files": [] if name in plan.foreign else plan.others(state, name),
            }
        )
        if desired.state == "started" and decision.action == "none" and not state.running:
            plan.module.warn(
                f"{plan.unit_of(name)} keeps failing and systemd restarts it (restart {state.restarts}). See why: journalctl "
                f"-u {plan.unit_of(name)}"
            )
    return {
        "services": services,
        "removed": plan.orphans,
        "found": sorted(plan.found),
        "files": [change.desired.path for change in plan.shared_changes],
        "reloaded": plan.reload_needed,
        "waiting": [
            {"name": name, "reason": decision.reason}
            for name, decision in plan.decisions.items()
            if decision.action == "wait"
        ],
    }


def diff(plan: Plan) -> list[dict[str, str]]:
    entries = [change.diff() for change in plan.shared_changes]
    for name in plan.desired:
        entries += [change.diff() for change in plan.changes[name]]
    before, after = "", ""
    for name, decision in plan.decisions.items():
        state = plan.states[plan.unit_of(name)]
        if decision.action != "none" or decision.enable is not None:
            unit = plan.unit_of(name)
            before += "{}: {}, {}\n".format(
                unit, state.active, "enabled" if state.enabled else "not enabled"
            )
            does = f"{decision.action}, because {decision.reason}"
            boot = {None: "", True: ", enabled", False: ", not enabled"}[decision.enable]
            after += f"{unit}: {does if decision.action != 'none' else state.active}{boot}\n"
    if before != after:
        header = {"before_header": "units", "after_header": "units"}
        entries.append(dict(header, before=before, after=after))
    return entries


def probe(plan: Plan) -> dict[str, Any]:
    """Return how the services are now, without their journals, if that is asked for."""
    if not plan.module.params["probe"]:
        return {}
    asked = [status.StatusRequest(name) for name in plan.desired]
    answer = status.collect(asked, plan.unit, status.Limits(journal_lines=0), [], [])
    return {"status": answer["services"]}
