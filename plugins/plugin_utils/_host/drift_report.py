# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Comparisons of all hosts as a table and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .._base.words import WIDTH, counted, listed, wrap
from .drift_groups import groups
from .findings import DIFFERS, FAILED, LOADING, OK, UNKNOWN, UNREACHABLE, HostDrift

# The width of the column of cards.
_CARDS = 12


def as_dict(drift: HostDrift) -> dict[str, Any]:
    """A comparison in plain types, with `summary`, its outcome in one line."""
    data = asdict(drift)
    data["summary"] = f"{drift.host}: {_status_line(data)}"
    return data


def missing(host: str) -> dict[str, Any]:
    """The outcome of a host that is in the play and was not compared."""
    drift = HostDrift(host, FAILED, False)
    drift.add("compare", "an earlier step of this run failed on it.", "See above.")
    return as_dict(drift)


def rejected(problems: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The outcome of all hosts of a run that contacted none, because variables are wrong.

    problems: by host; none for a host whose variables are right.
    """
    reports = []
    for host, texts in problems.items():
        drift = HostDrift(host, FAILED, False)
        for text in texts or ["variables of other hosts are wrong, so that it was not contacted."]:
            drift.add("compare", text, "Change the variable, and run this again." if texts else "")
        reports.append(as_dict(drift))
    return reports


def as_data(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All of it, as `vars/schemas/verify.schema.json` describes it."""
    return {**summary(reports), "results": list(reports)}


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{ok, hosts: {state: number}, services: {result: number}, groups} over all hosts.

    groups: see `drift_groups.groups`.
    """
    services = (service["result"] for each in reports for service in each["services"])
    several = groups(reports)
    return {
        "ok": all(report["ok"] for report in reports)
        and not any(group["result"] == DIFFERS for group in several),
        "hosts": dict(Counter(report["state"] for report in reports)),
        "services": dict(Counter(services)),
        "groups": several,
    }


def failures(reports: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """{host: why the run fails for it}.

    Where hosts of one service are as their own variables say and differ from each other, it is the
    first of them.
    """
    found = {report["host"]: report["summary"] for report in reports if not report["ok"]}
    for group in groups(reports):
        here = [report["host"] for report in reports if report["host"] in group["hosts"]]
        if group["result"] == DIFFERS and not found.keys() & set(here):
            found[here[0]] = f"{group['name']}: {group['message']}"
    return found


def lines(reports: Sequence[Mapping[str, Any]], width: int = WIDTH) -> list[str]:
    """A table of all hosts: a line for each service, what is wrong below it, the sums last.

    None is longer than `width`, but for words that are.
    """
    services = [service for report in reports for service in report["services"]]
    cards = max((len(_cards(service)) for service in services), default=0)
    columns = max(cards, 5)
    room = width - 41 - columns
    result = []
    for report in reports:
        result.append(report["summary"])
        if report["services"]:
            head = ("RESULT", "SERVICE", "CARDS", "PORT", "LENGTH", "STATE")
            result += _row(head, room, columns)
        for service in report["services"]:
            cells = (
                service["result"].upper() if service["result"] == DIFFERS else service["result"],
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
        result += _findings(report["findings"], "  ", width)
        for note in report["notes"]:
            result += wrap(note, "  note: ", "    ", width)
    total = summary(reports)
    if total["groups"]:
        result.append("Services over several hosts:")
    for group in total["groups"]:
        word = group["result"].upper() if group["result"] == DIFFERS else group["result"]
        text = f"{group['name']} ({', '.join(group['hosts'])}): {group['message']}"
        result += wrap(text, f"  {word:7}  ", " " * 11, width)
    result += wrap(_sums(total), "", "  ", width)
    return result


def _status_line(report: Mapping[str, Any]) -> str:
    services = counted(len(report["services"]), "service")
    found = Counter(service["result"] for service in report["services"])
    by_state = {UNREACHABLE: "NOT REACHED", FAILED: "NOT COMPARED", OK: f"{services}, as wanted"}
    if report["state"] in by_state:
        return by_state[report["state"]]
    wrong, loading = found[DIFFERS], found[LOADING]
    parts = [f"{wrong} of {services} DIFFER{'S' if wrong == 1 else ''}"] if wrong else [services]
    parts += [f"{loading} loading"] if loading else []
    parts += ["the host DIFFERS"] if report["findings"] else []
    return ", ".join(parts)


def _sums(total: Mapping[str, Any]) -> str:
    hosts, services = total["hosts"], total["services"]

    def numbered(numbers: Mapping[str, int], order: Sequence[str]) -> str:
        return ", ".join(f"{numbers[word]} {word}" for word in order if numbers.get(word))

    text = "hosts: " + (numbered(hosts, (OK, LOADING, DIFFERS, FAILED, UNREACHABLE)) or "none")
    text += "; services: " + (numbered(services, (OK, LOADING, DIFFERS, UNKNOWN)) or "none")
    return text[0].upper() + text[1:] + "."


def _cards(service: Mapping[str, Any]) -> str:
    """Card ids for a narrow column; the JSON has all of them."""
    text = listed(list(service["cards"])).replace(" ", "") if service["cards"] else "-"
    return text if len(text) <= _CARDS else text[: text.rindex(",", 0, _CARDS - 2) + 1] + ".."


def _row(cells: Sequence[str], room: int, columns: int) -> list[str]:
    outcome, name, cards, port, length, state = cells
    before = []
    if len(name) > room:
        before = [f"  {outcome:7}  {name}"]
        outcome, name = "", ""
    text = f"  {outcome:7}  {name:{room}}  {cards:{columns}}  {port:>5}  {length:>7}  {state}"
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
