# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a fleet is now: hosts, services, cards, gateways, the last rollout, and what waits, as data.

Everything was read before: hosts are compared by the action `verify`, gateways are asked by the module
`vllm_gateway_servers`, rollouts are the records on the hosts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.text import is_number

from .._gateway.names import server_name
from .._gateway.targets import Target
from .._host import drift, drift_report
from .._host.findings import DIFFERS, FAILED, LOADING, OK, UNREACHABLE
from .._runtime.engines import Record, State

Report = Mapping[str, Any]

# An A2 card, a die of an A3 card or a chip of a 300I Duo is one of these.
USED, FREE, EXCLUDED, UNHEALTHY, FOREIGN = "used", "free", "excluded", "unhealthy", "foreign"

# HAProxy's state of a server whose host name it could not resolve.
_UNRESOLVED = "MAINT (resolution)"


def fleet_status(
    reports: Sequence[Report],
    records: Mapping[str, object],
    gateways: Mapping[str, Report],
    routed: Mapping[str, Sequence[Target]],
) -> dict[str, Any]:
    """Return what is known of a fleet, in plain types, by `vars/schemas/status.schema.json`.

    reports: of `verify`, one for each host. records: of rollouts, by host. gateways: what
    vllm_gateway_servers returned, by host; without `running` where it could not be asked. routed: by
    gateway, what it routes to by the variables of the hosts.
    """
    sums = drift_report.summary(reports)
    hosts = [_host(report, Record.parse(records.get(report["host"]))) for report in reports]
    asked = [_gateway(host, found) for host, found in gateways.items()]
    loading = _servers(reports, LOADING)
    serving = _servers(reports, OK, "ready")
    problems = [
        *_problems(reports, sums["groups"]),
        *_gateway_problems(asked, loading),
        *_outdated(asked, routed, serving),
    ]
    cards = Counter(card["use"] for host in hosts for card in host["cards"])
    return {
        "ok": sums["ok"] and not problems,
        "hosts": hosts,
        "groups": sums["groups"],
        "gateways": asked,
        "problems": problems,
        "waiting": list(_waiting(hosts, asked)),
        "summary": {
            "hosts": sums["hosts"],
            "services": sums["services"],
            "cards": dict(cards),
            "gateways": dict(Counter(each["state"] for each in asked)),
        },
    }


def _host(report: Report, record: Record) -> dict[str, Any]:
    """A host as it was compared, with its cards and its last rollout."""
    rollout = None if record.state is State.NONE else record.as_dict()
    return {**report, "cards": list(_cards(report)), "rollout": rollout}


def _cards(report: Report) -> Iterator[dict[str, Any]]:
    """{id, use, services, health} of each card; use is the worst that is true of it."""
    owners: dict[int, list[str]] = {}
    for service in report["services"]:
        for card in service["cards"]:
            owners.setdefault(card, []).append(service["name"])
    for card in report["cards"]:
        services = owners.get(card["id"], [])
        if card["health"] not in ("", "OK"):
            use = UNHEALTHY
        elif card["foreign"]:
            use = FOREIGN
        elif services:
            use = USED
        else:
            use = EXCLUDED if card["excluded"] else FREE
        yield {
            "id": card["id"],
            "use": use,
            "health": card["health"],
            "services": services,
            "foreign": list(card["foreign"]),
        }


def _gateway(host: str, found: Report) -> dict[str, Any]:
    """{host, state, servers, error}; state is ok, unreachable, failed, or absent where none runs."""
    if "running" not in found:
        state = UNREACHABLE if found.get("unreachable") else FAILED
        return {
            "host": host,
            "state": state,
            "servers": [],
            "error": drift.reason(str(found.get("msg") or "")),
        }
    state = OK if found["running"] else "absent"
    return {"host": host, "state": state, "servers": list(found.get("servers") or []), "error": ""}


def _problem(host: str, service: str, message: str, advice: str) -> dict[str, str]:
    return {"host": host, "service": service, "message": message, "advice": advice}


def _problems(reports: Sequence[Report], groups: Sequence[Report]) -> Iterator[dict[str, str]]:
    """What is wrong, hosts that were not reached first."""
    for report in sorted(reports, key=lambda each: each["state"] not in (UNREACHABLE, FAILED)):
        for finding in report["findings"]:
            yield _problem(report["host"], "", finding["message"], finding["advice"])
        for service in report["services"]:
            for finding in service["findings"]:
                yield _problem(
                    report["host"], service["name"], finding["message"], finding["advice"]
                )
    for group in groups:
        if group["result"] == DIFFERS:
            yield _problem(", ".join(group["hosts"]), group["name"], group["message"], "")


def _servers(reports: Sequence[Report], result: str, state: str = "") -> set[str]:
    """What gateways call the services of a result, and of a state. A gateway knows a leader's alone."""
    return {
        server_name(service["name"], (service["group"] or {}).get("hosts", [report["host"]])[0])
        for report in reports
        for service in report["services"]
        if service["result"] == result and state in ("", service["state"])
    }


def _gateway_problems(
    gateways: Sequence[Report], loading: Collection[str]
) -> Iterator[dict[str, str]]:
    """Gateways that do not run, and names of models that no server of theirs answers.

    loading: servers whose service is not up yet, which is not wrong.
    """
    for each in gateways:
        host = each["host"]
        if each["state"] == UNREACHABLE:
            words = f"the gateway was not reached: {each['error']}"
            yield _problem(host, "", words, f"Try it alone: ansible -i INVENTORY -m ping {host}")
        elif each["state"] == FAILED:
            words = f"the gateway could not be asked: {each['error']}"
            advice = f"Try it alone: ansible -i INVENTORY -b -m inferops.ascend.vllm_gateway_servers {host}"
            yield _problem(host, "", words, advice)
        elif each["state"] != OK:
            advice = f"Run the playbook gateway, or see why it ended: journalctl -u vllm-gateway, on {host}."
            yield _problem(host, "", "no gateway runs here.", advice)
        backends: dict[str, list[Report]] = {}
        for server in each["servers"]:
            backends.setdefault(server["backend"], []).append(server)
        for backend, servers in backends.items():
            yield from _backend_problems(host, backend, servers, loading)


def _backend_problems(
    host: str, backend: str, servers: Sequence[Report], loading: Collection[str]
) -> Iterator[dict[str, str]]:
    unresolved = [each for each in servers if each["health"] == _UNRESOLVED]
    for server in unresolved:
        words = (
            f"{server['name']} of {backend} gets no requests: its address does not resolve here."
        )
        advice = (
            f"Set ansible_host to an address that {host} reaches, and run the playbook gateway."
        )
        yield _problem(host, backend, words, advice)
    wrong = [
        each
        for each in servers
        if not each["up"] and each["name"] not in loading and each not in unresolved
    ]
    if wrong and not any(server["up"] for server in servers):
        words = f"no server of {backend} takes requests: {_states(servers)}."
        yield _problem(host, backend, words, "See these services above, and diagnose.")
        return
    for server in wrong:
        if not server["drained"]:
            words = f"{server['name']} of {backend} gets no requests: {server['health']}."
            yield _problem(host, backend, words, "See this service above, and diagnose.")


def _outdated(
    gateways: Sequence[Report], routed: Mapping[str, Sequence[Target]], serving: Collection[str]
) -> Iterator[dict[str, str]]:
    """Gateways that do not know services that serve, or know them at another port.

    serving: servers whose service serves as its host's variables describe it.
    """
    for each in gateways:
        if each["state"] != OK:
            continue
        known = {(server["name"], _port(server["address"])) for server in each["servers"]}
        missing = [
            target.name
            for target in routed.get(each["host"], ())
            if target.name in serving and (target.name, target.port) not in known
        ]
        if missing:
            words = f"this gateway was set up before {', '.join(missing)} served, and sends no requests there."
            yield _problem(each["host"], "", words, "Run the playbook gateway.")


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if is_number(port) else 0


def _states(servers: Sequence[Report]) -> str:
    return ", ".join(
        f"{server['name']} {'drained' if server['drained'] else server['health']}"
        for server in servers
    )


def _waiting(hosts: Sequence[Report], gateways: Sequence[Report]) -> Iterator[dict[str, str]]:
    """{host, service, message}: what is under way, or was not completed."""
    for host in hosts:
        name, rollout = host["host"], host["rollout"]
        for service in host["services"]:
            if service["result"] == LOADING:
                words = f"loading: {service['progress']}".rstrip(": ")
                yield {"host": name, "service": service["name"], "message": words}
        if rollout and rollout["state"] == State.BEGUN.value:
            words = f"{rollout['action']} {rollout['before']} -> {rollout['after']} began and has not ended"
            yield {"host": name, "service": "", "message": words}
    for each in gateways:
        for server in each["servers"]:
            if server["drained"] and server["health"] != _UNRESOLVED:
                words = f"{server['name']} is drained, {server['sessions']} requests left"
                yield {"host": each["host"], "service": server["backend"], "message": words}
