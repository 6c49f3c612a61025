# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of the playbook deploy did on each host, for programs: `vars/schemas/deploy.schema.json`.

Read from what the tasks of the run registered for a host, so that it tells of a run that fails as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Registered = Mapping[str, Any]  # the variables of a host

UNCHANGED, CHANGED, FAILED = "unchanged", "changed", "failed"
UNREACHABLE, UNKNOWN = "unreachable", "unknown"

# The task that asks each host before the first one of the roles, and what is set at the end of each host
# that was not lost on the way.
ANSWER, ENDED = "vllm_deploy_answer", "vllm_deploy_ended"

CONVERGED = ("vllm_service_result", "vllm_service_members")
# Steps in their order, with what their tasks register.
_STEPS = (
    ("check", "ascend_host_deployment"),
    ("group", "ascend_host_group_read"),
    ("group", "ascend_host_group_reached"),
    ("group", "ascend_host_group"),
    ("converge", "__vllm_service_checked"),
    ("converge", "__vllm_service_foreseen"),
    *(("converge", name) for name in CONVERGED),
    ("ready", "vllm_service_ready"),
)
_PREPARATIONS = {"__ascend_host_account": "account", "__ascend_host_settings": "kernel settings"}
# All variables of a host that are read here, and what is read of each result.
REGISTERED = (
    ANSWER,
    ENDED,
    *(name for _step, name in _STEPS),
    *_PREPARATIONS,
    "ansible_failed_result",
)
KEYS = (
    *("failed", "unreachable", "msg", "changed", "refused", "held"),
    *("services", "status", "removed", "files", "accounts"),
)
_LEFT = "It is left as it is on all its hosts: "


@dataclass(frozen=True)
class _End:
    """How a run ended for a host. step: where it failed, or was lost; empty where it did not."""

    state: str
    step: str = ""
    message: str = ""


def begun(hosts: Mapping[str, Registered], *, check: bool) -> dict[str, Any]:
    """The report of a run that has not come to its end: who did not answer, the others unknown.

    hosts: variables by name, all of the run.
    """
    ends = {}
    for host, registered in hosts.items():
        answer = registered.get(ANSWER) or {}
        lost = answer.get("unreachable")
        ends[host] = (
            _End(UNREACHABLE, "reach", _text(answer))
            if lost
            else _End(UNKNOWN, "", "The run did not come to its end.")
        )
    complete = all(end.state == UNREACHABLE for end in ends.values())
    results = [_result(host, end, {}) for host, end in ends.items()]
    return _report(results, complete=complete, check=check)


def rejected(problems: Mapping[str, Sequence[str]], *, check: bool) -> dict[str, Any]:
    """The report of a run that contacted no host, because variables are wrong.

    problems: by host, all of the run; none for a host whose variables are right.
    """
    results = []
    for host, texts in problems.items():
        end = _End(UNKNOWN, "", "Variables of other hosts are wrong, so that it was not contacted.")
        if texts:
            end = _End(FAILED, "variables", " ".join(texts))
        refused = [{"service": "", "message": text} for text in texts]
        results.append({**_result(host, end, {}), "refused": refused})
    return _report(results, complete=False, check=check)


def ended(hosts: Mapping[str, Registered], going: Sequence[str], *, check: bool) -> dict[str, Any]:
    """The report at the end. going: hosts on which no task has failed and that were not lost."""
    results = [
        _result(host, _end_of(registered, going=host in going), registered)
        for host, registered in hosts.items()
    ]
    return _report(results, complete=True, check=check)


def _report(results: list[dict[str, Any]], *, complete: bool, check: bool) -> dict[str, Any]:
    actions = [service["action"] for each in results for service in each["services"]]
    actions += ["remove" for each in results for _name in each["removed"]]
    return {
        "complete": complete,
        "check": check,
        "ok": all(each["state"] in (UNCHANGED, CHANGED) for each in results),
        "hosts": dict(Counter(each["state"] for each in results)),
        "services": dict(Counter(actions)),
        "results": results,
    }


def _end_of(registered: Registered, *, going: bool) -> _End:
    if not going:
        return _failure(registered)
    changed = any((registered.get(name) or {}).get("changed") for name in CONVERGED)
    return _End(CHANGED if changed or _preparations(registered) else UNCHANGED)


def _failure(registered: Registered) -> _End:
    for step, name in (("reach", ANSWER), *_STEPS):
        result = registered.get(name) or {}
        if result.get("unreachable"):
            return _End(UNREACHABLE, step, _text(result))
        if result.get("failed") and step != "reach":
            return _End(FAILED, step, _text(result))
    held = list(_held(registered))
    if held:
        return _End(
            FAILED, "group", " ".join(f"{each['service']}: {each['message']}" for each in held)
        )
    if ANSWER in registered and ENDED not in registered:
        return _End(UNREACHABLE, "other", "It was lost on the way. The output of the run has more.")
    cause = _text(registered.get("ansible_failed_result") or {})
    return _End(FAILED, "other", cause or "A task failed. The output of the run has its message.")


def _text(result: Mapping[str, Any]) -> str:
    return str(result.get("msg") or "").strip()


def _result(host: str, end: _End, registered: Registered) -> dict[str, Any]:
    results = [registered.get(name) or {} for name in CONVERGED]
    # Where something is rejected nothing is done, and the rest of the result is what would have been.
    runs = [each for each in results if not each.get("refused")]
    return {
        "host": host,
        "state": end.state,
        "step": end.step,
        "message": end.message,
        "refused": list(_refused(registered, end)),
        "services": _services(runs, registered),
        "removed": sorted({str(name) for run in runs for name in run.get("removed") or ()}),
        "files": sorted({str(path) for run in runs for path in run.get("files") or ()}),
        "accounts": [
            {"name": str(each["name"]), "action": str(each["action"])}
            for run in runs
            for each in run.get("accounts") or ()
        ],
        "preparations": _preparations(registered),
    }


def _preparations(registered: Registered) -> list[str]:
    return [
        what for name, what in _PREPARATIONS.items() if (registered.get(name) or {}).get("changed")
    ]


def _held(registered: Registered) -> Iterator[dict[str, str]]:
    for name, reason in ((registered.get(CONVERGED[0]) or {}).get("held") or {}).items():
        yield {"service": str(name), "message": f"{_LEFT}{reason}"}


def _refused(registered: Registered, end: _End) -> Iterator[dict[str, str]]:
    """What was rejected, and why; the service is empty where it is about the host."""
    named = [
        {"service": str(each.get("name") or ""), "message": str(each["message"])}
        for _step, name in _STEPS
        for each in (registered.get(name) or {}).get("refused") or ()
    ]
    named += _held(registered)
    # The same is found by several tasks, of which the first that finds it fails.
    yield from (each for n, each in enumerate(named) if each not in named[:n])
    if not named and end.state == FAILED and end.step in ("check", "group", "converge"):
        yield {"service": "", "message": end.message}


def _services(runs: Sequence[Mapping[str, Any]], registered: Registered) -> list[dict[str, Any]]:
    """What became of each service. Of one that a second run treats the first one has left as it is."""
    states = {
        str(each["name"]): each.get("state")
        for answer in (
            *(run.get("status") or () for run in runs),
            (registered.get("vllm_service_ready") or {}).get("services") or (),
        )
        for each in answer
    }
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        for each in run.get("services") or ():
            name = str(each["name"])
            before = found.get(name)
            if before is None or before["action"] == "none":
                files = {*each["files"], *(before["files"] if before else ())}
                found[name] = {
                    "name": name,
                    "action": each["action"],
                    "reason": each["reason"],
                    "boot": each["boot"],
                    "files": sorted(files),
                    "state": states.get(name),
                }
    return list(found.values())
