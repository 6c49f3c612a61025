# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All instances of one template unit on this host: inspect, act, report."""

from __future__ import annotations

from typing import Any

from .._base import disk
from .._base.errors import HostError
from .._base.files import remove_leftovers
from . import accounts, cards, status
from .plan import Plan
from .units import Module, describe
from .writes import Writes


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
                msg=f"{disk.message(error)} What was done before stays; run again when this is fixed.",
                **result,
            )
        result["held"] = actions.held
        failures = actions.failures()
        if failures:
            result.update(report(plan))
            module.fail_json(msg="\n".join(failures), **result)
    result.update(report(plan), **probe(plan))
    return result


class Actions:
    """What one run does. `held`: sentences about cards that did not become free in time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.problems: list[str] = []
        self.still_up: set[str] = set()
        self.held: list[str] = []

    def act(self) -> list[str]:
        """Converge the host to the desired state; return the copies kept of foreign files.

        The order loses nothing at an interruption: everything is written beside the files before one
        of them changes; running services go on until every file is in place, but for those that give
        a card to another one (`handover`); an orphan's files go only when it is stopped.
        """
        plan = self.plan
        plan.accounts.create()
        every = [name for name in plan.desired if name not in plan.left]
        gone = [name for name in every if plan.desired[name].state == "absent"]
        kept = [name for name in every if name not in gone]
        up = plan.with_action("start restart", kept)
        goes = plan.with_action("stop restart", kept)
        freed = cards.Freed(
            plan.module.params["npu_smi"],
            plan.module.params["free_timeout"],
            sorted({card for name in up for card in plan.cards.get(name, ())}),
            # Others may have a card together with a service that is stopped.
            staying=[plan.unit_of(name) for name in kept if name not in goes],
        )
        writes = Writes(plan, kept, gone)
        first = plan.with_action("stop restart", writes.givers)
        down = [name for name in goes if name not in first]
        if down or first:
            freed.before()
        self._stop(first)
        unwritten = {*self.still_up, *plan.placed.blocked(self.still_up, self.still_up)}
        kept = [name for name in kept if name not in unwritten]
        copies = writes.make(kept, unwritten, first)
        self._stop([name for name in plan.with_action("stop", gone) if name not in first])
        self._enable("disable", False)
        for name in [each for each in gone if each not in self.still_up]:
            writes.remove(name)
        if gone:
            remove_leftovers(plan.paths)
        self._enable("enable", True)
        if plan.reload_needed:
            plan.units.systemctl("daemon-reload")
        self._stop([name for name in down if name in kept])
        up = [name for name in up if name in kept and name not in self.still_up]
        plan.accounts.hand_over(
            name
            for name in kept
            if name in [*up, *down, *first] or not plan.states[plan.unit_of(name)].up
            if name not in self.still_up
        )
        self._remove_accounts()
        if up:
            self.held = freed.wait()
            for text in self.held:
                plan.module.warn(text)
            # A start limit that earlier failures used up must not hold back a wanted start.
            self._systemctl("reset-failed", up)
            # What did not start is reported by failures(), all of it and with its journal.
            self._systemctl("start", up)
        return copies

    def _systemctl(self, verb: str, names: list[str]) -> str:
        """Run systemctl for instances; return the error where it fails."""
        try:
            self.plan.units.systemctl(*verb.split(), "--", *map(self.plan.unit_of, names))
        except HostError as error:
            return str(error)
        return ""

    def _stop(self, names: list[str]) -> None:
        """Stop units. One that does not stop is noted, and keeps none of the others down."""
        if not names:
            return
        problem = self._systemctl("stop", names)
        if problem:
            self.problems.append(problem)
            states = self.plan.units.states([self.plan.unit_of(name) for name in names])
            self.still_up |= {name for name in names if states[self.plan.unit_of(name)].running}
        # A server that had to be killed counts as failed, though it is down as wanted.
        self._systemctl("reset-failed", names)

    def _enable(self, verb: str, wanted: bool) -> None:
        names = [name for name, done in self.plan.decisions.items() if done.enable is wanted]
        problem = self._systemctl(f"{verb} --no-reload --quiet", names) if names else ""
        self.problems += [problem] if problem else []

    def _remove_accounts(self) -> None:
        """Remove accounts that are needed no more, unless something runs as them."""
        for account in self.plan.unneeded:
            pids = accounts.processes_of(account.entry.pw_uid)
            if pids:
                self.plan.module.warn(
                    f"The account {account.entry.pw_name} of {self.plan.unit_of(account.name)} stays:"
                    f" process {pids[0]} still runs as that user. The next run removes it once nothing does."
                )
                continue
            try:
                accounts.remove(account)
            except HostError as error:
                self.problems.append(str(error))

    def failures(self) -> list[str]:
        """Return messages about the steps that failed and the services that should run and do not."""
        started = [
            self.plan.unit_of(name)
            for name in self.plan.with_action("start restart", self.plan.desired)
        ]
        self.plan.states.update(self.plan.units.states(started))
        return self.problems + [
            describe(unit, self.plan.states[unit], self.plan.units.journal(unit))
            for unit in started
            if not self.plan.states[unit].running
        ]


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
        "removed": [name for name in plan.orphans if name not in plan.left],
        "found": sorted(plan.found),
        "groups": plan.groups,
        "left": plan.left,
        "files": [change.desired.path for change in plan.shared_changes],
        "accounts": _accounts(plan),
        "reloaded": plan.reload_needed,
        "waiting": [
            {"name": name, "reason": decision.reason}
            for name, decision in plan.decisions.items()
            if decision.action == "wait" and name not in plan.left
        ],
    }


def _accounts(plan: Plan) -> list[dict[str, str]]:
    found = [
        {"name": plan.accounts.users[name].name, "action": action}
        for name, action in plan.accounts.missing.items()
    ]
    return found + [{"name": each.entry.pw_name, "action": "is removed"} for each in plan.unneeded]


def diff(plan: Plan) -> list[dict[str, str]]:
    entries = [change.diff() for change in plan.shared_changes]
    for name in plan.desired:
        entries += [change.diff() for change in plan.changes[name]]
    text = "".join("{name} {action}\n".format(**each) for each in _accounts(plan))
    if text:
        header = {"before_header": "accounts", "after_header": "accounts"}
        entries.append(dict(header, before="", after=text))
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
    completion = plan.module.params["completion"]
    asked = [status.StatusRequest(name, completion=completion) for name in plan.desired]
    answer = status.collect(asked, plan.unit, status.Limits(journal_lines=0), [], [])
    return {"status": answer["services"]}
