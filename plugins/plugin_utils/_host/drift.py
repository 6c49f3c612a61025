# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether hosts are as their variables say, from what three modules have read of each.

systemd_instances in check mode knows files, units and digests, vllm_status what is served and by
which process, host_info whose processes are on which cards. Nothing is asked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import WIDTH, listed, wrap
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.report import (
    format_card,
    format_process,
)

_CARDS = 12

OK, LOADING, DIFFERS, UNKNOWN = "ok", "loading", "differs", "unknown"
FAILED, UNREACHABLE = "failed", "unreachable"
# The worst of a host's services is the host's.
_ORDER = (OK, LOADING, UNKNOWN, DIFFERS)

DEPLOY = "Run deploy; with --check --diff it first shows what it would change."

# What vllm_status says of the process table when it cannot tell who is on a card.
_BLIND = frozenset(("no_process_table", "processes_not_shown", "process_unknown_card", "truncated"))


@dataclass(frozen=True)
class Finding:
    """One difference: a word to test for, what is wrong, and what to do."""

    code: str
    message: str
    advice: str


@dataclass
class Service:
    """What is said of one service. `cards` are logic ids, `max_model_len` is in tokens.

    `progress` is how far one has come that is still loading, in words.
    """

    name: str
    cards: list[int]
    port: int | None
    max_model_len: int | None
    state: str
    verdict: str = OK
    progress: str = ""
    findings: list[Finding] = field(default_factory=list)

    def add(self, code: str, message: str, advice: str = DEPLOY) -> None:
        self.findings.append(Finding(code, message, advice))


@dataclass
class Verdict:
    """What is said of one host.

    Attributes:
        state: ok, loading, differs, failed (it could not be compared) or unreachable.
        ok: whether the host counts as right for the exit status.
        findings: what is wrong with the host itself. notes: what is worth knowing and wrong with
            nothing.
    """

    host: str
    state: str
    ok: bool
    services: list[Service] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, code: str, message: str, advice: str) -> None:
        self.findings.append(Finding(code, message, advice))


# What ansible-core puts before the words of a plugin that has failed, by version.
_WRAPPING = re.compile(
    r"^.*(?:(?:filter|lookup) plugin '[\w.]+' failed: |original message: |"
    r"Error while resolving value for '\w+': |^Task failed: )",
    re.DOTALL,
)


def reason(text: str) -> str:
    """The last words of an error of Ansible's, which name the thing and the way out."""
    return _WRAPPING.sub("", text.strip()).strip()


def judge(
    host: str,
    wanted: Sequence[Mapping[str, Any]],
    *,
    converged: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    preflight: Mapping[str, Any] | None = None,
    excluded: Sequence[int] = (),
    problem: str = "",
    accept_loading: bool = False,
) -> Verdict:
    """Compare a host with what is wanted of it.

    wanted: what `expected_services` returns. converged: the result of systemd_instances in check
    mode, also a failed one. status: what vllm_status returns. facts: what host_info returns.
    preflight: the filter's verdict. excluded: logic ids of cards that are nobody's business.
    problem: why the host could not be compared, if so. accept_loading: a service that is still
    loading is no failure. A reading that has `unreachable` set was not to be had.
    """
    lost = [each for each in (facts, converged, status) if each and each.get("unreachable")]
    if lost:
        verdict = Verdict(host, UNREACHABLE, False)
        verdict.add(
            "unreachable",
            "the host was not reached: " + reason(str(lost[0].get("msg") or "no connection")),
            f"Try it alone: ansible -m ping {host}",
        )
        return verdict
    if converged and converged.get("refused"):
        problem = ""  # all was compared; what deploy refuses is said where it belongs
    if status and status.get("failed") and not problem:
        problem = str(status.get("msg") or "vllm_status failed")
    judged = _Judgement(host, wanted, converged or {}, status or {}, facts or {})
    verdict = judged.verdict
    if problem:
        verdict.add("compare", f"it could not be compared: {reason(problem)}", "")
    judged.preflight(preflight or {}, problem)
    judged.shared()
    judged.services()
    judged.cards(set(excluded))
    for service in verdict.services:
        if any(each.code == "refused" for each in service.findings):
            service.findings = [
                replace(each, advice="Then run deploy." if each.advice == DEPLOY else each.advice)
                for each in service.findings
            ]
        if service.findings:
            service.verdict = DIFFERS
    worst = max((service.verdict for service in verdict.services), key=_ORDER.index, default=OK)
    verdict.state = DIFFERS if verdict.findings else worst
    if problem or verdict.state == UNKNOWN:
        verdict.state = FAILED
    verdict.ok = verdict.state == OK or (verdict.state == LOADING and accept_loading)
    return verdict


class _Judgement:
    """One run over one host; each method looks at one side of it."""

    def __init__(
        self,
        host: str,
        wanted: Sequence[Mapping[str, Any]],
        converged: Mapping[str, Any],
        status: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:
        self.verdict = Verdict(host, OK, True)
        self.wanted = {service["name"]: service for service in wanted}
        self.converged = converged
        self.plans = {each["name"]: each for each in converged.get("services", ())}
        self.seen = {each["name"]: each for each in status.get("services", ())}
        npu = facts.get("npu") or {}
        self.shown = [card for card in npu.get("cards", ()) if card["logic_id"] is not None]
        self.blind = _BLIND & {each["code"] for each in npu.get("problems", ())}
        self.ours = {each["unit"]: each for each in facts.get("services", ())}
        self.by_name: dict[str, Service] = {}

    # -- the host ---------------------------------------------------------------------------

    def preflight(self, preflight: Mapping[str, Any], problem: str) -> None:
        """What deploy would refuse before it compares anything."""
        for each in preflight.get("findings", ()):
            text = f"{each['subject']}: {each['message']}"
            if each["code"] == "processes" or (problem and each["message"] in problem):
                continue  # cards are looked at below; a refusal stands in the problem
            if each["severity"] == "error":
                self.verdict.add(f"preflight_{each['code']}", text, each["advice"])
            else:
                self.verdict.notes.append(text)

    def shared(self) -> None:
        for path in self.converged.get("files", ()):
            self.verdict.add("files", f"{path} is not what deploy writes.", DEPLOY)
        if self.converged.get("account"):
            self.verdict.add("account", "the services' account or its groups are missing.", DEPLOY)
        for each in self.converged.get("refused", ()):
            if each["name"] not in self.wanted:
                self.verdict.add("refused", f"deploy refuses: {each['message']}", "")
        changes = bool(self.converged.get("files")) or any(
            plan["files"] or plan["boot"] != "none" for plan in self.plans.values()
        )
        if self.converged.get("reloaded") and not changes and not self.converged.get("removed"):
            self.verdict.add("reload", "systemd has not read units that were changed.", DEPLOY)

    # -- services ---------------------------------------------------------------------------

    def services(self) -> None:
        for name, wish in self.wanted.items():
            seen = self.seen.get(name, {})
            service = Service(
                name,
                list(wish["cards"]),
                wish["port"],
                wish["max_model_len"],
                str(seen.get("state") or UNKNOWN),
            )
            self._keep(service)
            self._unit(service, wish, seen)
            if wish["state"] == "started":
                self._serving(service, wish, seen)
        for name in self.converged.get("removed", ()):
            seen = self.seen.get(name, {})
            unit = f"vllm@{name}.service"
            cards = list(self.ours.get(unit, {}).get("cards", ()))
            service = Service(name, cards, seen.get("port"), None, str(seen.get("state") or "-"))
            self._keep(service)
            where = f" on card {listed(cards)}" if cards else ""
            service.add(
                "unlisted",
                f"this collection made it{where}, and vllm_service_instances does not list it.",
                "List it to keep it; deploy removes it.",
            )
        for name, seen in self.seen.items():
            if name not in self.by_name:
                self._keep(Service(name, [], seen.get("port"), None, str(seen["state"]), UNKNOWN))

    def _keep(self, service: Service) -> None:
        self.verdict.services.append(service)
        self.by_name[service.name] = service

    def _unit(self, service: Service, wish: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """What deploy would do to the unit and its files."""
        refused = [
            each["message"]
            for each in self.converged.get("refused", ())
            if each["name"] == service.name
        ]
        for message in refused:
            service.add("refused", f"deploy refuses: {message}", "")
        plan = self.plans.get(service.name)
        if plan is not None:
            if plan["files"]:
                service.add("files", f"not what deploy writes: {', '.join(plan['files'])}.")
            self.verdict.notes += [
                f"vllm@{service.name}.service also reads {path}, which this collection did not"
                " write."
                for path in plan["other_files"]
                if path not in plan["files"] and not any(path in text for text in refused)
            ]
        if plan is None or refused:
            self._unit_alone(service, wish, seen)
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

    def _unit_alone(
        self, service: Service, wish: Mapping[str, Any], seen: Mapping[str, Any]
    ) -> None:
        """The same, where only systemd could be asked."""
        if not seen:
            service.verdict = UNKNOWN
        elif wish["state"] == "started" and service.state in ("stopped", "absent"):
            service.add("unit", "it should run and does not.")
        elif wish["state"] == "stopped" and service.state not in ("stopped", "absent", "failed"):
            service.add("unit", "it runs, and it is to be stopped.")

    def _serving(self, service: Service, wish: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """What the process is, and what it answers."""
        state = service.state
        log = f"journalctl -u vllm@{service.name}"
        cause = seen.get("cause") or {}
        if state in ("failed", "restarting", "unhealthy") or (state == "starting" and cause):
            how = {
                "restarting": "it keeps failing, and systemd restarts it",
                "unhealthy": "it has served and does no more",
                "starting": "it is loading, and this will fail",
            }.get(state, "it failed")
            why = cause.get("cause") or (seen.get("http") or {}).get("error") or "no known cause"
            service.add("service", f"{how}: {why}", cause.get("advice") or f"See why: {log}")
        elif state == "starting":
            service.verdict = LOADING
            parts = [str(seen["phase"])] if seen.get("phase") else []
            parts += [f"{seen['percent']} %"] if seen.get("percent") is not None else []
            parts += [f"for {seen['elapsed']:.0f} s"] if seen.get("elapsed") is not None else []
            service.progress = " ".join(parts)
        elif state == "unknown" and seen:
            why = "; ".join(seen.get("problems", ())) or "it tells nothing"
            service.add("service", f"its state could not be read: {why}", f"See: {log}")
        elif state == "stopping":
            service.add("service", "it is being stopped.", "Wait for it, then run deploy.")
        self._environment(service, wish, seen)
        if state == "ready":
            self._models(service, wish, seen)

    def _environment(
        self, service: Service, wish: Mapping[str, Any], seen: Mapping[str, Any]
    ) -> None:
        pid = (seen.get("unit") or {}).get("main_pid")
        visible = seen.get("visible_cards")
        said = any(
            each.code == "process" and "ASCEND_RT_VISIBLE_DEVICES" in each.message
            for each in service.findings
        )
        if not pid or said or visible == wish["cards"]:
            return
        sees = "every card of the host" if visible is None else f"card {listed(visible)}"
        service.add("cards", f"its process sees {sees}, and should see {listed(wish['cards'])}.")

    def _models(self, service: Service, wish: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Every name that it is to serve, with the length that it is to have."""
        http = seen["http"]
        if http.get("error"):
            service.add("http", f"{http['error']}.", f"See: journalctl -u vllm@{service.name}")
            return
        lengths = {each["id"]: each["max_model_len"] for each in http["models"]}
        mend = DEPLOY if service.findings else f"Restart it: systemctl restart vllm@{service.name}"
        missing = [name for name in wish["aliases"] if name not in lengths]
        if missing:
            service.add("names", f"/v1/models does not list {', '.join(missing)}.", mend)
        wrong = {
            length
            for name, length in lengths.items()
            if name in wish["aliases"] and length != wish["max_model_len"]
        }
        for length in sorted(wrong, key=str):
            service.add(
                "length",
                f"it serves max_model_len {length}, and {wish['max_model_len']} is wanted.",
                mend,
            )

    # -- cards ------------------------------------------------------------------------------

    def cards(self, excluded: set[int]) -> None:
        """Every card carries the processes of its own service and of nobody else."""
        owners = {card: wish["name"] for wish in self.wanted.values() for card in wish["cards"]}
        known = {f"vllm@{name}.service": name for name in self.by_name}
        users: dict[str, set[int]] = {}
        for card in self.shown:
            number = int(card["logic_id"])
            owner = owners.get(number)
            for process in _once(card["processes"]):
                name = known.get(process["unit"] or "")
                if name is not None:
                    users.setdefault(name, set()).add(number)
                if name is None and number not in excluded:
                    self._foreign(card, process, owner)
                elif name is not None and name != owner and name in self.wanted:
                    self.by_name[name].add(
                        "cards",
                        f"PID {process['pid']} of it is on card {number}, which is not its own.",
                    )
        self._missing(users)

    def _foreign(
        self, card: Mapping[str, Any], process: Mapping[str, Any], owner: str | None
    ) -> None:
        whose = f"the card of service {owner}" if owner else "a card of no service"
        unit = process.get("unit")
        stop = f"systemctl stop {unit}" if unit else f"kill {process['pid']}"
        self.verdict.add(
            "tenant",
            f"{format_card(card)}, {whose}, is held by {format_process(process)}.",
            f"Stop it ({stop}), or put the card into ascend_host_excluded_cards.",
        )

    def _missing(self, users: Mapping[str, set[int]]) -> None:
        """A service that answers, but not with its cards."""
        ready = [
            service
            for service in self.by_name.values()
            if service.state == "ready" and service.name in self.wanted
        ]
        if ready and (self.blind or not self.shown or not users):
            self.verdict.notes.append(
                "npu-smi does not show whose processes are on the cards; that was not compared."
            )
            return
        for service in ready:
            idle = sorted(set(service.cards) - users.get(service.name, set()))
            if idle and not {"cards", "process"} & {each.code for each in service.findings}:
                service.add(
                    "cards",
                    f"it answers, and npu-smi shows no process of it on card {listed(idle)}.",
                    "Look at npu-smi info, and at who listens on its port: "
                    f"ss -ltnp sport = :{service.port}",
                )


def _once(processes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One process of each unit, and all that are in none."""
    kept: dict[object, Mapping[str, Any]] = {}
    for process in processes:
        kept.setdefault(process.get("unit") or process["pid"], process)
    return list(kept.values())


# ---------------------------------------------------------------------------------------------
# All hosts


def as_data(verdict: Verdict) -> dict[str, Any]:
    """A verdict in plain types, with `say`, what it comes to in one line."""
    data = asdict(verdict)
    data["say"] = f"{verdict.host}: {_say(data)}"
    return data


def missing(host: str) -> dict[str, Any]:
    """The verdict of a host that is in the play and was not looked at."""
    verdict = Verdict(host, FAILED, False)
    verdict.add("compare", "an earlier step of this run failed on it.", "See above.")
    return as_data(verdict)


def summary(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{ok, hosts: {state: number}, services: {verdict: number}} over all hosts."""
    hosts: dict[str, int] = {}
    services: dict[str, int] = {}
    for verdict in verdicts:
        hosts[verdict["state"]] = hosts.get(verdict["state"], 0) + 1
        for service in verdict["services"]:
            services[service["verdict"]] = services.get(service["verdict"], 0) + 1
    return {
        "ok": all(verdict["ok"] for verdict in verdicts),
        "hosts": hosts,
        "services": services,
    }


def lines(verdicts: Sequence[Mapping[str, Any]], width: int = WIDTH) -> list[str]:
    """A table of all hosts: a line for each service, what is wrong beneath it, the sums last.

    None is longer than `width`, but for words that are.
    """
    services = [service for verdict in verdicts for service in verdict["services"]]
    cards = max((len(_cards(service)) for service in services), default=0)
    columns = max(cards, 5)
    room = width - 41 - columns
    result = []
    for verdict in verdicts:
        result.append(verdict["say"])
        if verdict["services"]:
            head = ("VERDICT", "SERVICE", "CARDS", "PORT", "LENGTH", "STATE")
            result += _row(head, room, columns)
        for service in verdict["services"]:
            cells = (
                service["verdict"].upper() if service["verdict"] == DIFFERS else service["verdict"],
                service["name"],
                _cards(service),
                str(service["port"] or "-"),
                str(service["max_model_len"] or "-"),
                service["state"],
            )
            result += _row(cells, room, columns)
            if service["progress"]:
                result += wrap(f"loading: {service['progress']}", " " * 11, " " * 13, width)
            result += _findings(service["findings"], " " * 11, width)
        result += _findings(verdict["findings"], "  ", width)
        for note in verdict["notes"]:
            result += wrap(note, "  note: ", "    ", width)
    total = summary(verdicts)
    result += wrap(_sums(total), "", "  ", width)
    return result


def _say(verdict: Mapping[str, Any]) -> str:
    count = len(verdict["services"])
    counted = f"{count} service{'' if count == 1 else 's'}"
    wrong = sum(service["verdict"] == DIFFERS for service in verdict["services"])
    loading = sum(service["verdict"] == LOADING for service in verdict["services"])
    if verdict["state"] == UNREACHABLE:
        return "NOT REACHED"
    if verdict["state"] == FAILED:
        return "NOT COMPARED"
    if verdict["state"] == OK:
        return f"{counted}, as wanted"
    parts = [f"{wrong} of {counted} DIFFER{'S' if wrong == 1 else ''}"] if wrong else [counted]
    parts += [f"{loading} loading"] if loading else []
    parts += ["the host DIFFERS"] if verdict["findings"] else []
    return ", ".join(parts)


def _sums(total: Mapping[str, Any]) -> str:
    hosts, services = total["hosts"], total["services"]

    def counted(numbers: Mapping[str, int], order: Sequence[str]) -> str:
        return ", ".join(f"{numbers[word]} {word}" for word in order if numbers.get(word))

    text = "hosts: " + (counted(hosts, (OK, LOADING, DIFFERS, FAILED, UNREACHABLE)) or "none")
    text += "; services: " + (counted(services, (OK, LOADING, DIFFERS, UNKNOWN)) or "none")
    return text[0].upper() + text[1:] + "."


def _cards(service: Mapping[str, Any]) -> str:
    """Card ids for a narrow column; the JSON has all of them."""
    text = listed(list(service["cards"])).replace(" ", "") if service["cards"] else "-"
    return text if len(text) <= _CARDS else text[: text.rindex(",", 0, _CARDS - 2) + 1] + ".."


def _row(cells: Sequence[str], room: int, columns: int) -> list[str]:
    verdict, name, cards, port, length, state = cells
    before = []
    if len(name) > room:
        before = [f"  {verdict:7}  {name}"]
        verdict, name = "", ""
    text = f"  {verdict:7}  {name:{room}}  {cards:{columns}}  {port:>5}  {length:>7}  {state}"
    return [*before, text.rstrip()]


def _findings(findings: Sequence[Mapping[str, Any]], indent: str, width: int) -> list[str]:
    """What is wrong, and each advice once."""
    result = []
    for finding in findings:
        result += wrap(finding["message"], indent + "- ", indent + "  ", width)
    for advice in dict.fromkeys(finding["advice"] for finding in findings):
        if advice:
            result += wrap(advice, indent + "> ", indent + "  ", width)
    return result
