# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module vllm_status: its arguments, and its answers in words.

A `status` is an entry of `services` of its result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .._base.errors import AscendError
from .._base.values import kind_of, parse_names, plain, whole_number
from .._place.names import service_name
from . import causes

Status = Mapping[str, Any]

# What the module is told of a service. A placed service contains much more, secrets among it.
_SERVICE_KEYS = ("port", "host", "api_key_file", "completion")


def services_of(
    value: object, wanted_only: bool = False, name: str = "services"
) -> list[dict[str, Any]]:
    """What is asked about each service: {name, port?, host?, api_key_file?, completion?}.

    value: names, or mappings such as specs and placed services, of which other keys are left out.
    wanted_only: leave out those whose `state` is stopped or absent. name: of the variable.
    Raises AscendError for anything else, and for a name twice.
    """
    if not isinstance(value, (list, tuple)):
        raise AscendError(
            f"{name} is {kind_of(value)}; write a list of services, [{{name: chat, port: 8000}}]."
        )
    services: list[dict[str, Any]] = []
    for place, each in enumerate(value, 1):
        where = f"{name}, item {place}"
        each = {"name": each} if isinstance(each, str) else each
        if not isinstance(each, Mapping) or not isinstance(each.get("name"), str):
            raise AscendError(
                f"{where} is {kind_of(each)} without a name; write the service's name, or"
                " {name: chat, port: 8000}."
            )
        if wanted_only and each.get("state", "started") != "started":
            continue
        service: dict[str, Any] = {"name": service_name(each)}
        for key in _SERVICE_KEYS:
            if each.get(key) is not None:
                service[key] = plain(each[key], f"{where}, {key}")
        if "port" in service:
            number, port = whole_number(service["port"]), service["port"]
            if number is None:
                raise AscendError(f"service {service['name']}: {port!r} is not a valid port")
            service["port"] = number
        services.append(service)
    names = [service["name"] for service in services]
    for name in names:
        if names.count(name) > 1:
            raise AscendError(f"service {name} is listed twice: list each service once.")
    return services


def module_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the module vllm_status: those of a task, and the patterns of the log.

    services: also names as an operator types them, see `parse_names`. Raises AscendError as
    `services_of` does.
    """
    services, name = arguments.get("services") or [], "services"
    if not isinstance(services, (list, tuple)):
        name = "vllm_diagnose_services"
        services = parse_names(services, name)
    return {
        **arguments,
        "services": services_of(services, name=name),
        "phases": causes.phases(),
        "failures": causes.failures(),
    }


def duration(seconds: float | None) -> str:
    """Seconds as people read them: `40 s`, `3 min 20 s`, `1 h 5 min`."""
    if seconds is None:
        return "?"
    total = int(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min" + (f" {total % 60} s" if total % 60 else "")
    return f"{total // 3600} h" + (f" {total % 3600 // 60} min" if total % 3600 >= 60 else "")


def describe_state(status: Status) -> str:
    """The state of a service in a few words: `loading weights 1/4 (25 %)`, `ready`, `failed`."""
    state = status.get("state") or "unknown"
    if state == "unhealthy":
        error = (status.get("http") or {}).get("error")
        return "unhealthy" + (f", {error}" if error else "")
    if state == "stopped" and is_masked(status):
        return "masked: somebody has switched it off on this host"
    if state == "stopped" and _enabled(status):
        return "stopped, though it is enabled: somebody stopped it, or it was never started"
    if state != "starting":
        return str(state)
    group_status = str((status.get("group") or {}).get("status") or "")
    if group_status and not group_status.startswith("running"):
        return group_status
    words = causes.phase_texts().get(status.get("phase") or "", "starting")
    if status.get("total"):
        words += " {}/{}".format(status.get("done"), status["total"])
    if status.get("percent") is not None:
        words += " ({} %)".format(status["percent"])
    return words


def status_line(status: Status, with_cause: bool = False) -> str:
    """A service in one line: its state, for how long, which restart it is.

    with_cause: add the cause of a start that has failed.
    """
    text = "{}: {}".format(status["name"], describe_state(status))
    state = status.get("state")
    waits = is_waiting_for_members(status)  # it says since when
    if status.get("elapsed") is not None and not waits:
        words = {"starting": ", for ", "ready": ", up ", "unhealthy": ", up "}
        words.update(failed=", after ", restarting=", after ")
        text += words.get(str(state), ", ") + duration(status["elapsed"])
    restarts = (status.get("unit") or {}).get("n_restarts") or 0
    if restarts and state != "ready":
        text += f", restart {restarts}"
    error = (status.get("http") or {}).get("error")
    if state == "ready" and error:
        return f"{text}, but {error}"
    cause = status.get("cause")
    if with_cause and cause and state in ("failed", "restarting"):
        return f"{text}: {cause['cause']}"
    return text


def is_waiting_for_members(status: Status) -> bool:
    """Whether it runs no engine because other hosts of it are missing."""
    return status.get("state") == "starting" and bool((status.get("group") or {}).get("missing"))


class LostEngine(NamedTuple):
    """The engine of another host of a service, because of which this one waits.

    since: when it began to wait, as its guard writes it. text: what happened.
    """

    host: str
    since: str
    text: str


_LOST_ENGINE = re.compile(
    r"^[^;]* since (?P<since>[^;]+);.* (?P<text>the engine of rank \d+ \((?P<host>\S+)\) ended with"
    r" status \d+); the engine was stopped$"
)


def lost_engine(status: Status) -> LostEngine | None:
    """Whose engine ended, if that is why a service waits for its members (docs/group-protocol.md)."""
    text = str((status.get("group") or {}).get("status") or "")
    found = _LOST_ENGINE.match(text) if is_waiting_for_members(status) else None
    return LostEngine(**found.groupdict()) if found else None


def not_serving(services: Sequence[Status]) -> list[str]:
    """Names of services that do not serve though they should: all but those that are ready, and
    those that are stopped and not enabled, as `state: stopped` leaves them."""
    return [
        status["name"]
        for status in services
        if status["state"] != "ready"
        and not (status["state"] == "stopped" and not _enabled(status))
    ]


def _enabled(status: Status) -> bool:
    return (status.get("unit") or {}).get("unit_file_state") == "enabled"


def is_masked(status: Status) -> bool:
    """Whether somebody has switched its unit off."""
    return (status.get("unit") or {}).get("load_state") == "masked"


def format_evidence(status: Status, log: int = 5, before: str = "| ") -> list[str]:
    """Why a service does not serve, in lines: what is wrong, what to do, and lines of the journal.

    Where no cause is known, the last `log` lines of its journal follow `before`.
    """
    lines = [before + str(each) for each in (status.get("log") or [])[-log:]] if log else []
    cause = status.get("cause")
    if cause:
        start = "The start before: " if cause.get("start") == "previous" else ""
        lines = [start + str(cause["cause"]), "What to do: " + str(cause["advice"])]
        lines += ["| " + str(each) for each in cause.get("lines") or []]
    return lines + ["Note: " + str(each) for each in status.get("problems") or []]


def report(services: Sequence[Status], problems: Sequence[str] = ()) -> list[str]:
    """Services in lines for people: each with its state, and why it does not serve."""
    lines: list[str] = []
    for status in services:
        lines.append(status_line(status))
        state, cause = status.get("state"), status.get("cause")
        current = (cause or {}).get("start") == "current"
        if current and state == "starting" and not is_waiting_for_members(status):
            lines.append("    It is still starting; its journal has:")
        log = 5 if state in ("failed", "restarting", "unhealthy") else 0
        lines += ["    " + each for each in format_evidence(status, log)]
    return lines + ["Note: " + str(each) for each in problems]
