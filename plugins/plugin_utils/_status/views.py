# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The status of a fleet for people: lines for a terminal, and one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._base.words import WIDTH, counted, wrap
from .._host.findings import DIFFERS, OK
from .._plan.html import html
from .._plan.terminal import card_map
from .._plan.views import escaped
from .fleet import EXCLUDED, FOREIGN, UNHEALTHY

Status = Mapping[str, Any]


def lines(status: Status, width: int = WIDTH) -> list[str]:
    """What a person on call reads first: what is wrong, what waits, the map, gateways and rollouts."""
    found = [_result(status)]
    for each in status["problems"]:
        found += wrap(f"{_where(each)}: {each['message']}", "- ", "  ", width)
        if each["advice"]:
            found += wrap(each["advice"], "  > ", "    ", width)
    if status["waiting"]:
        found += ["", "Waiting:"]
        for each in status["waiting"]:
            found += wrap(f"{_where(each)}: {each['message']}", "- ", "  ", width)
    found += ["", *card_map(_fleet(status), width)]
    for title, rows in (("Gateways:", _gateways(status)), ("Last rollouts:", _rollouts(status))):
        texts = [text for row in rows for text in wrap(row, "- ", "  ", width)]
        found += ["", title, *texts] if texts else []
    return found


def page(status: Status, moment: str) -> str:
    """One HTML page of all of it, in the form of the page of a plan. moment: when it was read."""
    about = {
        "title": "Fleet status",
        "moment": moment,
        "problems": [{**each, "where": _where(each)} for each in status["problems"]],
        "waiting": [{**each, "where": _where(each)} for each in status["waiting"]],
        "sections": [
            {"title": title, "rows": rows}
            for title, rows in (
                ("Gateways", list(_gateways(status))),
                ("Last rollouts", list(_rollouts(status))),
            )
            if rows
        ],
    }
    return html({**_fleet(status), "status": about})


def _result(status: Status) -> str:
    problems = len(status["problems"])
    if problems:
        return f"{counted(problems, 'problem')}:"
    return "All is as wanted." if status["ok"] else "Nothing is wrong; not everything serves yet."


def _where(each: Mapping[str, str]) -> str:
    return escaped(f"{each['host']}, {each['service']}" if each["service"] else each["host"])


def _gateways(status: Status) -> Iterator[str]:
    """Each gateway with its names of models, and how many of their servers take requests."""
    for each in status["gateways"]:
        backends: dict[str, list[bool]] = {}
        for server in each["servers"]:
            backends.setdefault(server["backend"], []).append(server["up"])
        parts = [f"{name} {sum(up)} of {len(up)} up" for name, up in backends.items()]
        yield f"{escaped(each['host'])}: {each['state']}; {', '.join(parts) or 'no servers'}"


def _rollouts(status: Status) -> Iterator[str]:
    """Hosts by what their last rollout was."""
    found: dict[str, list[str]] = {}
    for host in status["hosts"]:
        last = host["rollout"]
        if last:
            text = f"{last['action']} {last['before']} -> {last['after']}: {last['state']}"
            found.setdefault(escaped(text), []).append(escaped(host["host"]))
    for text, hosts in found.items():
        yield f"{text} ({', '.join(hosts)})"


def _fleet(status: Status) -> dict[str, Any]:
    """The status as a plan's views take it: what serves where, without changes."""
    return {"hosts": [_host(host) for host in status["hosts"]], "changes": []}


def _host(host: Mapping[str, Any]) -> dict[str, Any]:
    # A card that its service uses stays in its block, whose notes tell what is wrong with it.
    out = [
        card["id"]
        for card in host["cards"]
        if not card["services"] and card["use"] in (EXCLUDED, UNHEALTHY, FOREIGN)
    ]
    return {
        "name": host["host"],
        "profile": "" if host["state"] == OK else host["state"],
        "card_memory_gb": None,
        "cards": [card["id"] for card in host["cards"]],
        "excluded": out,
        "given": False,
        "wrong": host["state"] != OK,
        "services": [_service(host, service) for service in host["services"]],
    }


def _service(host: Mapping[str, Any], service: Mapping[str, Any]) -> dict[str, Any]:
    group = service["group"]
    cluster = None
    if group:
        hosts = group["hosts"]
        cluster = {"leader": hosts[0], "rank": group["rank"], "hosts": hosts}
    return {
        "name": service["name"],
        "model": service["model"],
        "kind": "",
        "cards": service["cards"],
        "port": service["port"],
        "max_model_len": service["max_model_len"],
        "basis": "",
        "table": "",
        "row": None,
        "state": "stopped" if service["state"] == "stopped" else "started",
        "given": False,
        "cluster": cluster,
        "engine": "",
        "sizes": [1, 1, 1],
        "part": service["part"],
        "wrong": service["result"] == DIFFERS,
        "notes": _notes(host["cards"], service),
    }


def _notes(cards: Sequence[Mapping[str, Any]], service: Mapping[str, Any]) -> list[str]:
    """What a service does, where it is not just serving, and what is wrong with its cards."""
    state, result = service["state"], service["result"]
    notes = []
    if state not in ("ready", "stopped"):
        notes.append(state)
    if result not in (OK, state):
        notes.append("DIFFERS" if result == DIFFERS else result)
    for card in cards:
        if card["id"] in service["cards"] and card["use"] in (UNHEALTHY, FOREIGN):
            words = card["health"] if card["use"] == UNHEALTHY else "used by others"
            notes.append(f"card {card['id']} {words}")
    return notes
