# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of a host about its services, and what is made of the answers.

A `status` is an entry of `services` of the module vllm_status.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of, plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.names import service_name
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

Status = Mapping[str, Any]

# What the module is told of a service. A placed service carries much more, secrets among it.
_SERVICE_KEYS = ("port", "host", "api_key_file")

# Failed starts in a row after which a service counts as looping: of one cause, of any.
SAME_FAILURES, ANY_FAILURES = 2, 3

# Seconds without a line after which the operator is told that the waiting goes on.
SILENCE = 300.0

# A service that has come so far is not reported line by line where there are this many.
_STEPS = ((16, 10), (128, 25))


def services_of(value: object, wanted_only: bool = False) -> list[dict[str, Any]]:
    """What is asked about each service: {name, port?, host?, api_key_file?}.

    value: names, or mappings such as specs and placed services, of which other keys are left out.
    wanted_only: leave out those whose `state` is stopped or absent.
    Raises AscendError for anything else, and for a name twice.
    """
    if not isinstance(value, (list, tuple)):
        raise AscendError(
            f"services is {kind_of(value)}; write a list of services, [{{name: chat, port: 8000}}]."
        )
    services: list[dict[str, Any]] = []
    for number, each in enumerate(value, 1):
        where = f"services, item {number}"
        if isinstance(each, str):
            services.append({"name": plain(each, where)})
            continue
        if not isinstance(each, Mapping) or not isinstance(each.get("name"), str):
            raise AscendError(
                f"{where} is {kind_of(each)} without a name; write the service's name, or"
                " {name: chat, port: 8000}."
            )
        if wanted_only and each.get("state", "started") != "started":
            continue
        service = {"name": service_name(each)}
        for key in _SERVICE_KEYS:
            if each.get(key) is not None:
                service[key] = plain(each[key], f"{where}, {key}")
        services.append(service)
    names = [service["name"] for service in services]
    for name in names:
        if names.count(name) > 1:
            raise AscendError(f"service {name} is listed twice: list each service once.")
    return services


def module_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the module vllm_status: a task's own, and the patterns of the log.

    Raises AscendError for services that cannot be asked about.
    """
    return {
        **arguments,
        "services": services_of(arguments.get("services") or []),
        "phases": causes.phases(),
        "failures": causes.failures(),
    }


# ---------------------------------------------------------------------------------------------
# Words


def duration(seconds: float | None) -> str:
    """Seconds as people read them: `40 s`, `3 min 20 s`, `1 h 5 min`."""
    if seconds is None:
        return "?"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 >= 60 else "")


def doing(status: Status) -> str:
    """What a service does, in a few words: `loading weights 1/4 (25 %)`, `ready`, `failed`."""
    state = status.get("state") or "unknown"
    if state == "unhealthy":
        error = (status.get("http") or {}).get("error")
        return "unhealthy" + (f", {error}" if error else "")
    if state == "stopped" and _masked(status):
        return "masked: somebody has switched it off on this host"
    if state == "stopped" and _enabled(status):
        return "stopped, though it is enabled: somebody stopped it, or it was never started"
    if state != "starting":
        return str(state)
    words = causes.phase_texts().get(status.get("phase") or "", "starting")
    if status.get("total"):
        words += " {}/{}".format(status.get("done"), status["total"])
    if status.get("percent") is not None:
        words += " ({} %)".format(status["percent"])
    return words


def line(status: Status) -> str:
    """A service in one line: what it does, for how long, which try it is."""
    text = "{}: {}".format(status["name"], doing(status))
    state = status.get("state")
    if status.get("elapsed") is not None:
        words = {"starting": ", for ", "ready": ", up ", "unhealthy": ", up "}
        words.update(failed=", after ", restarting=", after ")
        text += words.get(str(state), ", ") + duration(status["elapsed"])
    restarts = (status.get("unit") or {}).get("n_restarts") or 0
    if restarts and state != "ready":
        text += f", restart {restarts}"
    error = (status.get("http") or {}).get("error")
    return f"{text}, but {error}" if state == "ready" and error else text


def news(status: Status) -> str:
    """`line`, with the cause of a start that has failed."""
    cause = status.get("cause")
    if cause and status.get("state") in ("failed", "restarting"):
        return "{}: {}".format(line(status), cause["cause"])
    return line(status)


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


def _masked(status: Status) -> bool:
    return (status.get("unit") or {}).get("load_state") == "masked"


def because(cause: Mapping[str, Any] | None) -> list[str]:
    """A cause in lines: what is wrong, what to do, and the lines that say so."""
    if not cause:
        return []
    before = "The start before: " if cause.get("start") == "previous" else ""
    lines = [before + str(cause["cause"]), "What to do: " + str(cause["advice"])]
    return lines + ["| " + str(each) for each in cause.get("lines") or []]


def report(services: Sequence[Status], problems: Sequence[str] = ()) -> list[str]:
    """Services in lines for people: each with its state, and why it does not serve."""
    lines: list[str] = []
    for status in services:
        lines.append(line(status))
        cause = status.get("cause")
        if cause and status.get("state") == "starting" and cause.get("start") == "current":
            lines.append("    It is still starting; its journal says:")
        lines += ["    " + each for each in because(cause)]
        if not cause and status.get("state") in ("failed", "restarting", "unhealthy"):
            lines += ["    | " + str(each) for each in (status.get("log") or [])[-5:]]
        lines += ["    Note: " + str(each) for each in status.get("problems") or []]
    return lines + ["Note: " + str(each) for each in problems]


# ---------------------------------------------------------------------------------------------
# Waiting


def pause(waited: float, interval: float) -> float:
    """Seconds until the next look: short at first, for what fails at once, then `interval`."""
    return min(interval, max(1.0, waited / 4))


def longest_look(question_timeout: float, unreachable_timeout: float) -> float:
    """Seconds after which a look counts as lost: its four questions, and some for the way there
    and for a host that is busy loading; less where a host may not be away for so long."""
    return max(10.0, min(4 * question_timeout + 20, unreachable_timeout))


def step_of(services: int) -> int:
    """Percent that a service has to come on for a line of its own; 0: never.

    services: how many there are in the whole play. Thousands of lines help nobody.
    """
    return next((step for limit, step in _STEPS if services <= limit), 0)


@dataclass
class _Seen:
    """What has been seen of one service."""

    status: Status = field(default_factory=dict)
    told: tuple[Any, ...] = ()
    told_percent: int = 0
    starts: int | None = None  # failed starts that systemd counts
    failures: list[str | None] = field(default_factory=list)  # their causes, the last one last
    ready: bool = False
    verdict: str | None = None


class LateError(BaseException):
    """Something took too long. No Exception, lest those catch it who would try again for ever."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise LateError where what is done within takes longer, whatever it waits for.

    It takes the process' alarm, as a task's own `timeout` does, which goes before if it ends
    sooner. Outside the main thread, where there is no alarm, nothing is limited.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_signal: int, _frame: object) -> None:
        raise LateError

    begun = time.monotonic()
    left, _interval = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left <= seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - begun)))


class Watch:
    """What has been seen of the services of one host since the waiting began.

    host: its name, which stands in every line. step: see `step_of`.
    """

    def __init__(self, host: str, names: Sequence[str], step: int = 10) -> None:
        self.host, self.step = host, step
        self.seen = {name: _Seen() for name in names}
        self.last_line = 0.0
        self.looks = 0

    @property
    def waiting(self) -> list[str]:
        """Services that are neither ready nor given up."""
        return [n for n, seen in self.seen.items() if not seen.ready and seen.verdict is None]

    @property
    def ready(self) -> list[str]:
        """Services that serve."""
        return [name for name, seen in self.seen.items() if seen.ready]

    @property
    def failed(self) -> dict[str, str]:
        """Services that will not come up by themselves, and in a sentence why."""
        return {n: seen.verdict for n, seen in self.seen.items() if seen.verdict is not None}

    def all_ready(self, services: Sequence[Status]) -> list[str]:
        """Take in an earlier answer if all served then, and return the lines to show."""
        ready = [status for status in services if status["state"] == "ready"]
        if not set(self.seen) <= {status["name"] for status in ready}:
            return []
        lines = self.look(ready, 0.0)
        self.looks = 0
        return lines

    def look(self, services: Sequence[Status], waited: float) -> list[str]:
        """Take in one answer of the host; return the lines to show, without those that say
        nothing new. waited: seconds since the waiting began."""
        self.looks += 1
        lines = []
        for status in services:
            seen = self.seen.get(status["name"])
            if seen is None or seen.verdict is not None:
                continue
            before, seen.status = seen.status.get("state"), status
            seen.ready = status["state"] == "ready"
            seen.verdict = None if seen.ready else _judge(seen, status, before)
            came_up = seen.ready and bool(seen.told)
            if self._is_news(seen, status):
                text = news(status)
                lines.append(
                    f"{self.host}: {text.replace(', up ', ' after ') if came_up else text}"
                )
        if lines:
            self.last_line = waited
        elif self.waiting and waited - self.last_line >= SILENCE:
            self.last_line = waited
            waiting = [self.seen[name].status for name in self.waiting]
            lines = [f"{self.host}: {line(status)}" for status in waiting]
            if not self.step:
                lines = [f"{self.host}: {self._in_short(waiting)}"]
        return lines

    def _in_short(self, waiting: Sequence[Status]) -> str:
        """`2 of 8 ready; 5 loading weights, 1 warming up`."""
        counts = Counter(doing({**status, "total": None, "percent": None}) for status in waiting)
        rest = ", ".join(f"{count} {what}" for what, count in counts.items())
        return f"{len(self.ready)} of {len(self.seen)} ready; {rest}"

    def _is_news(self, seen: _Seen, status: Status) -> bool:
        restarts = (status.get("unit") or {}).get("n_restarts")
        now = (status["state"], status.get("phase") if self.step else None, restarts)
        percent = status.get("percent") or 0
        news = now != seen.told
        if not news and self.step and status["state"] == "starting":
            full = percent == 100 and seen.told_percent < 100
            news = full or abs(percent - seen.told_percent) >= self.step
        if news:
            seen.told, seen.told_percent = now, percent
        return news

    def message(self, timeout: float) -> str:
        """What to tell of the end: what failed with its cause, and what was not ready in time."""
        parts = []
        for name, verdict in self.failed.items():
            status = self.seen[name].status
            lines = [f"{self.host}: {name} {verdict}", *because(status.get("cause"))]
            if not status.get("cause"):
                lines += ["| " + each for each in (status.get("log") or [])[-5:]]
            lines += ["Note: " + each for each in status.get("problems") or []]
            parts.append("\n    ".join(lines))
        for name in self.waiting:
            status = self.seen[name].status
            if self.failed:
                parts.append(f"{self.host}: {line(status)}; no longer waited for")
                continue
            lines = [
                f"{self.host}: {name} was not ready within {duration(timeout)}."
                f" It stopped at: {line(status)}"
            ]
            lines += because(status.get("cause"))
            log = status.get("log") or []
            lines += ["Its last line: " + log[-1]] if log and not status.get("cause") else []
            lines += ["Note: " + each for each in status.get("problems") or []]
            parts.append("\n    ".join(lines))
        return "\n".join(parts)

    def results(self) -> list[dict[str, Any]]:
        """Each service: {name, state, phase, percent, elapsed, restarts, ready, cause}."""
        return [
            {
                "name": name,
                "state": seen.status.get("state"),
                "phase": seen.status.get("phase"),
                "percent": seen.status.get("percent"),
                "elapsed": seen.status.get("elapsed"),
                "restarts": (seen.status.get("unit") or {}).get("n_restarts"),
                "ready": seen.ready,
                "cause": seen.status.get("cause"),
            }
            for name, seen in self.seen.items()
        ]


def _judge(seen: _Seen, status: Status, before: str | None) -> str | None:
    """In a sentence, after the service's name, why it will not come up by itself; None if it may.

    before: its state at the last look, None at the first. A failure that another start may mend is given that start, as systemd does.
    """
    state, cause = status["state"], status.get("cause") or {}
    restarts = (status.get("unit") or {}).get("n_restarts") or 0
    ended = state in ("restarting", "failed")
    count = restarts + (1 if ended else 0)
    known = cause.get("id") if ended or cause.get("start") == "previous" else None
    if seen.starts is None:
        # Of the past only a start counts that failed just before this one.
        looping = cause.get("start") == "previous" and not cause.get("served")
        seen.starts = restarts - 1 if looping and restarts else restarts
    if count < seen.starts:  # somebody started it anew
        seen.starts, seen.failures = 0, []
    if count > seen.starts:
        seen.failures += [known] * (count - seen.starts)
        seen.starts = count
    if state == "failed":
        tries = f" after {count} starts" if count > 1 else ""
        return f"has failed{tries}, and systemd does not start it again."
    if state in ("stopped", "absent") and before not in (None, state):
        return None  # the host may be going down for a reboot: the next look will tell
    if state == "stopped" and _masked(status):
        return (
            "is masked: somebody has switched it off on this host. Run systemctl unmask for its"
            " unit there, or set its state to stopped."
        )
    if state == "stopped":
        return (
            "is stopped: it was never started, or somebody stopped it. Start it with"
            " inferops.ascend.deploy."
        )
    if state == "absent":
        return "is not on this host. Bring it there with inferops.ascend.deploy."
    if ended and cause.get("retry") is False:
        return "failed in a way that another start does not mend."
    last = seen.failures[-SAME_FAILURES:]
    if len(last) == SAME_FAILURES and len(set(last)) == 1:
        return f"fails again and again ({len(seen.failures)} starts, the same cause)."
    if len(seen.failures) >= ANY_FAILURES:
        return f"fails again and again ({len(seen.failures)} starts)."
    return None
