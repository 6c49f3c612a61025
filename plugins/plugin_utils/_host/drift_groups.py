# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services over several hosts, each as one, by the comparisons of its hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .findings import DIFFERS, LOADING, SEVERITY_ORDER, UNKNOWN, UNREACHABLE

Record = Mapping[str, Any]


def groups(reports: Sequence[Record]) -> list[dict[str, Any]]:
    """{name, hosts (by rank), result, message} of each service over several hosts.

    reports: of all hosts of the run, as `drift_report.as_dict` makes them.
    """
    by_host = {report["host"]: report for report in reports}
    found: dict[tuple[str, tuple[str, ...]], dict[str, Record]] = {}
    for report in reports:
        for service in report["services"]:
            group = service["group"]
            if group and group["hosts"]:
                key = service["name"], tuple(group["hosts"])
                found.setdefault(key, {})[report["host"]] = service
    return [_group(name, hosts, parts, by_host) for (name, hosts), parts in found.items()]


def _group(
    name: str, hosts: Sequence[str], parts: Mapping[str, Record], by_host: Mapping[str, Record]
) -> dict[str, Any]:
    absent = [_absence(host, by_host.get(host)) for host in hosts if host not in parts]
    results = [part["result"] for part in parts.values()] + [result for result, text in absent]
    texts = [text for result, text in absent]
    written = [part["group"] for part in parts.values() if part["group"]["members"]]
    for key, what in (("members", "addresses"), ("digest", "settings")):
        if any(each[key] != written[0][key] for each in written):
            texts.append(f"the files of its hosts have different {what}; run deploy on all of them")
            results.append(DIFFERS)
            break
    return {
        "name": name,
        "hosts": list(hosts),
        "result": max(results, key=SEVERITY_ORDER.index),
        "message": "; ".join([_state(hosts, parts), *texts]) + ".",
    }


def _absence(host: str, report: Record | None) -> tuple[str, str]:
    """(result, why) of a host that has no part of the service in this run."""
    if report is None:
        return UNKNOWN, f"{host} is not part of this run"
    if report["state"] == UNREACHABLE:
        return DIFFERS, f"{host} was not reached"
    if report["services"]:
        return DIFFERS, f"the variables of {host} do not list it over these hosts"
    return DIFFERS, f"{host} could not be compared"


def _state(hosts: Sequence[str], parts: Mapping[str, Record]) -> str:
    """What the service does, in the words of the guard of its first host that is known."""
    part = next(parts[host] for host in hosts if host in parts)
    status, state = part["group"]["status"], part["state"]
    if state == "stopped":
        return f"stopped on {', '.join(host for host in hosts if host in parts)}"
    if status.startswith("running"):
        text = f"all {len(hosts)} members run{status[len('running') :]}"
        if part["result"] == LOADING:
            text += f", {part['progress']}" if part["progress"] else ", and it loads"
        elif state != "ready":
            text += f", and the leader is {state}"
        return text
    return str(status or state).partition(";")[0]
