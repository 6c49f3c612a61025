# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether hosts are as their variables define them, from what three modules have read of each.

systemd_instances in check mode knows files, units and digests, vllm_status what is served and by
which process, host_info whose processes are on which cards. Nothing contacts a host here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from .._base.words import listed
from .card_states import card_states, once
from .findings import (
    DEPLOY,
    DIFFERS,
    FAILED,
    LOADING,
    OK,
    SEVERITY_ORDER,
    UNKNOWN,
    UNREACHABLE,
    HostDrift,
    ServiceDrift,
    format_card,
    format_moved,
    format_process,
)

Record = Mapping[str, Any]
_NOTHING: Record = MappingProxyType({})

# Problems of npu-smi with which it cannot be told whose processes are on a card.
_BLIND = frozenset(("no_process_table", "processes_not_shown", "process_unknown_card", "truncated"))
# What ansible-core puts before the words of a plugin that has failed, by version.
_WRAPPING = re.compile(
    r"^.*(?:(?:filter|lookup) plugin '[\w.]+' failed: |original message: |"
    r"Error while resolving value for '\w+': |^Task failed: )",
    re.DOTALL,
)


def reason(text: str) -> str:
    """The last words of an error of Ansible's, which name the thing and the way out."""
    return _WRAPPING.sub("", text.strip()).strip()


def compare(
    host: str,
    wanted: Sequence[Record],
    *,
    converged: Record = _NOTHING,
    status: Record = _NOTHING,
    facts: Record = _NOTHING,
    preflight: Record = _NOTHING,
    excluded: Sequence[int] = (),
    problem: str = "",
    accept_loading: bool = False,
) -> HostDrift:
    """Compare a host with what is wanted of it.

    wanted: what `wanted_services` returns. converged: the result of systemd_instances in check
    mode, also a failed one. status: what vllm_status returns. facts: what host_info returns.
    preflight: the report of the preflight. excluded: logic ids of cards that are not compared.
    problem: why the host could not be compared, if so. accept_loading: a service that is still
    loading is accepted. A result that has `unreachable` set could not be read.
    """
    lost = [each for each in (facts, converged, status) if each.get("unreachable")]
    if lost:
        drift = HostDrift(host, UNREACHABLE, False)
        drift.add(
            "unreachable",
            "the host was not reached: " + reason(str(lost[0].get("msg") or "no connection")),
            f"Try it alone: ansible -i INVENTORY -m ping {host}",
        )
        return drift
    if converged.get("refused"):
        problem = ""  # all was compared; what deploy rejects is reported with its service
    if status.get("failed") and not problem:
        problem = str(status.get("msg") or "vllm_status failed")
    sides = _Comparison(host, wanted, converged, status, facts)
    drift = sides.drift
    if problem:
        drift.add("compare", f"it could not be compared: {reason(problem)}", "")
    sides.preflight(preflight, problem)
    sides.shared()
    sides.services()
    npu = facts.get("npu") or {}
    sides.cards(npu, set(excluded))
    drift.cards = card_states(npu, [service.name for service in drift.services], set(excluded))
    for service in drift.services:
        if any(each.code == "refused" for each in service.findings):
            service.findings = [
                replace(each, advice="Then run deploy." if each.advice == DEPLOY else each.advice)
                for each in service.findings
            ]
        if service.findings:
            service.result = DIFFERS
    worst = max(
        (service.result for service in drift.services), key=SEVERITY_ORDER.index, default=OK
    )
    drift.state = DIFFERS if drift.findings else worst
    if problem or drift.state == UNKNOWN:
        drift.state = FAILED
    drift.ok = drift.state == OK or (drift.state == LOADING and accept_loading)
    return drift


class _Comparison:
    """One run over one host; each method compares one side of it."""

    def __init__(
        self, host: str, wanted: Sequence[Record], converged: Record, status: Record, facts: Record
    ) -> None:
        self.drift = HostDrift(host, OK, True)
        self.wanted = {service["name"]: service for service in wanted}
        self.converged = converged
        self.refused = converged.get("refused", ())
        self.plans = {each["name"]: each for each in converged.get("services", ())}
        self.seen = {each["name"]: each for each in status.get("services", ())}
        self.moved = {each["name"]: each.get("moved") for each in facts.get("standing", ())}
        self.ours = {each["unit"]: each for each in facts.get("services", ())}
        self.by_name: dict[str, ServiceDrift] = {}

    # -- the host ---------------------------------------------------------------------------

    def preflight(self, preflight: Record, problem: str) -> None:
        """What deploy would reject before it compares anything."""
        for each in preflight.get("findings", ()):
            text = f"{each['subject']}: {each['message']}"
            if each["code"] in ("processes", "identity") or (
                problem and each["message"] in problem
            ):
                continue  # cards and services are compared below; a rejection is in the problem
            if each["severity"] == "error":
                self.drift.add(f"preflight_{each['code']}", text, each["advice"])
            else:
                self.drift.notes.append(text)

    def shared(self) -> None:
        for path in self.converged.get("files", ()):
            self.drift.add("files", f"{path} is not what deploy writes.", DEPLOY)
        if self.converged.get("account"):
            self.drift.add(
                "account",
                "an account of the services, its groups or its directory are not as deploy makes them.",
                DEPLOY,
            )
        for each in self.refused:
            if each["name"] not in self.wanted:
                self.drift.add("refused", f"deploy rejects: {each['message']}", "")
        changes = bool(self.converged.get("files")) or any(
            plan["files"] or plan["boot"] != "none" for plan in self.plans.values()
        )
        if self.converged.get("reloaded") and not changes and not self.converged.get("removed"):
            self.drift.add("reload", "systemd has not read units that were changed.", DEPLOY)

    # -- services ---------------------------------------------------------------------------

    def services(self) -> None:
        for name, target in self.wanted.items():
            seen = self.seen.get(name, {})
            state = str(seen.get("state") or UNKNOWN)
            length = target["max_model_len"]
            service = ServiceDrift(
                name,
                list(target["cards"]),
                target["port"],
                length,
                state,
                target.get("model") or "",
            )
            if target.get("hosts"):
                service.group = _group(target, seen)
            self._keep(service)
            if self.moved.get(name):
                text = f"{format_moved(self.moved[name])}: the numbers of the cards have changed."
                service.add("identity", text, "See npu-smi info for a missing card. " + DEPLOY)
            self._unit(service, target, seen)
            if target["state"] == "started":
                self._serving(service, target, seen)
        for name in self.converged.get("removed", ()):
            seen = self.seen.get(name, {})
            unit = f"vllm@{name}.service"
            cards = list(self.ours.get(unit, {}).get("cards", ()))
            state = str(seen.get("state") or "-")
            service = ServiceDrift(name, cards, seen.get("port"), None, state)
            self._keep(service)
            where = f" on card {listed(cards)}" if cards else ""
            service.add(
                "unlisted",
                f"this collection made it{where}, and vllm_service_instances does not list it.",
                "List it to keep it; deploy removes it.",
            )
        for name, seen in self.seen.items():
            if name not in self.by_name:
                self._keep(
                    ServiceDrift(
                        name, [], seen.get("port"), None, str(seen["state"]), result=UNKNOWN
                    )
                )

    def _keep(self, service: ServiceDrift) -> None:
        self.drift.services.append(service)
        self.by_name[service.name] = service

    def _unit(self, service: ServiceDrift, target: Record, seen: Record) -> None:
        """What deploy would do to the unit and its files."""
        refused = [each["message"] for each in self.refused if each["name"] == service.name]
        for message in refused:
            service.add("refused", f"deploy rejects: {message}", "")
        plan = self.plans.get(service.name)
        if plan is not None:
            if plan["files"]:
                service.add("files", f"not what deploy writes: {', '.join(plan['files'])}.")
            self.drift.notes += [
                f"vllm@{service.name}.service also reads {path}, which this collection did not"
                " write."
                for path in plan["other_files"]
                if path not in plan["files"] and not any(path in text for text in refused)
            ]
        if plan is None or refused:
            self._unit_alone(service, target, seen)
            return
        action, reason = plan["action"], plan["reason"]
        if action == "stop":
            service.add("unit", f"it runs, and {reason}.")
        elif service.state in ("failed", "restarting"):
            pass  # what it has to say of itself follows
        elif action == "start":
            service.add("unit", f"it should run and does not: {reason}.")
        elif action == "restart":
            service.add("process", f"{reason}.")
        if plan["boot"] == "enable":
            service.add("boot", "it is not enabled, so it would not start at boot.")
        elif plan["boot"] == "disable":
            service.add("boot", "it is enabled, so it would start at boot.")

    def _unit_alone(self, service: ServiceDrift, target: Record, seen: Record) -> None:
        """The same, where only systemd could be asked."""
        if not seen:
            service.result = UNKNOWN
        elif target["state"] == "started" and service.state in ("stopped", "absent"):
            service.add("unit", "it should run and does not.")
        elif target["state"] == "stopped" and service.state not in ("stopped", "absent", "failed"):
            service.add("unit", "it runs, and it is to be stopped.")

    def _serving(self, service: ServiceDrift, target: Record, seen: Record) -> None:
        """What the process is, and what it answers."""
        state = service.state
        log = f"journalctl -u vllm@{service.name}"
        cause = seen.get("cause") or {}
        if state == "starting" and service.group and service.group["missing"]:
            self._missing(service, service.group["status"], cause)
        elif state in ("failed", "restarting", "unhealthy") or (state == "starting" and cause):
            how = {
                "restarting": "it keeps failing, and systemd restarts it",
                "unhealthy": "it has served and does no more",
                "starting": "it is loading, and this will fail",
            }.get(state, "it failed")
            why = cause.get("cause") or (seen.get("http") or {}).get("error") or "no known cause"
            service.add("service", f"{how}: {why}", cause.get("advice") or f"See why: {log}")
        elif state == "starting":
            service.result = LOADING
            parts = [str(seen["phase"])] if seen.get("phase") else []
            parts += [f"{seen['percent']} %"] if seen.get("percent") is not None else []
            parts += [f"for {seen['elapsed']:.0f} s"] if seen.get("elapsed") is not None else []
            service.progress = " ".join(parts)
        elif state == "unknown" and seen:
            why = "; ".join(seen.get("problems", ())) or "it reports nothing"
            service.add("service", f"its state could not be read: {why}", f"See: {log}")
        elif state == "stopping":
            service.add("service", "it is being stopped.", "Wait for it, then run deploy.")
        self._environment(service, target, seen)
        if state == "ready":
            self._models(service, target, seen)

    def _missing(self, service: ServiceDrift, status: str, cause: Record) -> None:
        """A member that starts no engine, because another is not there or not equal."""
        advice = f"See on that host: systemctl status vllm@{service.name}"
        why = f" {cause['cause']}" if cause else ""
        service.add("member", f"no engine runs, {status}.{why}", cause.get("advice") or advice)

    def _environment(self, service: ServiceDrift, target: Record, seen: Record) -> None:
        pid = (seen.get("unit") or {}).get("main_pid")
        visible = seen.get("visible_cards")
        reported = any(
            each.code == "process" and "ASCEND_RT_VISIBLE_DEVICES" in each.message
            for each in service.findings
        )
        if not pid or reported or visible == target["cards"]:
            return
        sees = "every card of the host" if visible is None else f"card {listed(visible)}"
        service.add("cards", f"its process sees {sees}, and should see {listed(target['cards'])}.")

    def _models(self, service: ServiceDrift, target: Record, seen: Record) -> None:
        """Every name that it is to serve, with the length that it is to have."""
        if seen.get("headless"):
            return  # its leader serves them
        http = seen["http"]
        if http.get("error"):
            service.add("http", f"{http['error']}.", f"See: journalctl -u vllm@{service.name}")
            return
        lengths = {each["id"]: each["max_model_len"] for each in http["models"]}
        advice = (
            DEPLOY if service.findings else f"Restart it: systemctl restart vllm@{service.name}"
        )
        missing = [name for name in target["aliases"] if name not in lengths]
        if missing:
            service.add("names", f"/v1/models does not list {', '.join(missing)}.", advice)
        wrong = {
            length
            for name, length in lengths.items()
            if name in target["aliases"] and length != target["max_model_len"]
        }
        for length in sorted(wrong, key=str):
            service.add(
                "length",
                f"it serves max_model_len {length}, and {target['max_model_len']} is wanted.",
                advice,
            )

    # -- cards ------------------------------------------------------------------------------

    def cards(self, npu: Record, excluded: set[int]) -> None:
        """Every card has the processes of its service and no others. npu: what npu_info returns."""
        owners: dict[int, list[str]] = {}  # several where services share a card
        for name, target in self.wanted.items():
            for each in target["cards"]:
                owners.setdefault(each, []).append(name)
        known = {f"vllm@{name}.service": service for name, service in self.by_name.items()}
        shown = [card for card in npu.get("cards", ()) if card["logic_id"] is not None]
        users: dict[str, set[int]] = {}
        for card in shown:
            number = int(card["logic_id"])
            owner = owners.get(number, [])
            for process in once(card["processes"]):
                service = known.get(process["unit"] or "")
                if service is None:
                    if number not in excluded:
                        self._foreign(card, process, owner)
                    continue
                users.setdefault(service.name, set()).add(number)
                if service.name not in owner and service.name in self.wanted:
                    service.add(
                        "cards",
                        f"PID {process['pid']} of it is on card {number}, which is not one of its"
                        " cards.",
                    )
        ready = [
            each
            for each in self.drift.services
            if each.state == "ready" and each.name in self.wanted
        ]
        blind = _BLIND & {each["code"] for each in npu.get("problems", ())}
        if ready and (blind or not shown or not users):
            self.drift.notes.append(
                "npu-smi does not show whose processes are on the cards; that was not compared."
            )
            return
        for service in ready:
            idle = sorted(set(service.cards) - users.get(service.name, set()))
            if idle and not {"cards", "process"} & {each.code for each in service.findings}:
                service.add(
                    "cards",
                    f"it answers, and npu-smi shows no process of it on card {listed(idle)}.",
                    "Check npu-smi info, and which process listens on its port: "
                    f"ss -ltnp sport = :{service.port}",
                )

    def _foreign(self, card: Record, process: Record, owner: Sequence[str]) -> None:
        whose = f"the card of service {', '.join(owner)}" if owner else "a card of no service"
        unit = process.get("unit")
        stop = f"systemctl stop {unit}" if unit else f"kill {process['pid']}"
        self.drift.add(
            "tenant",
            f"{format_card(card)}, {whose}, is in use by {format_process(process)}.",
            f"Stop it ({stop}), or add the card to ascend_host_excluded_cards.",
        )


def _group(target: Record, seen: Record) -> dict[str, Any]:
    written = seen.get("group") or {}
    return {
        "hosts": target["hosts"],
        "rank": target["rank"],
        "members": written.get("members") or [],
        "digest": written.get("digest") or "",
        "status": written.get("status") or "",
        "missing": written.get("missing") or [],
    }
