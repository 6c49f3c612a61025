# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting until the services of a host serve: what is shown meanwhile, and when it ends."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .status import (
    Status,
    describe_state,
    duration,
    format_evidence,
    is_masked,
    is_waiting_for_members,
    lost_engine,
    status_line,
)

# Failed starts in a row after which a service counts as looping: of one cause, of any.
SAME_FAILURES, ANY_FAILURES = 2, 3

# Seconds after which members of a service are not expected to agree any more.
DISAGREEMENT = 30.0

# Seconds without a line after which the operator is told that the waiting goes on.
SILENCE = 300.0

# (services in the play, percent that one has to advance for a further line)
_STEPS = ((16, 10), (128, 25))


def pause(waited: float, interval: float) -> float:
    """Seconds until the next check: short at first, for what fails at once, then `interval`."""
    return min(interval, max(1.0, waited / 4))


def longest_check(question_timeout: float, unreachable_timeout: float) -> float:
    """Seconds after which a check counts as lost: its four requests, and some for the network and
    for a host that is busy loading; less where a host may not be away for so long."""
    return max(10.0, min(4 * question_timeout + 20, unreachable_timeout))


def step_of(services: int) -> int:
    """Percent that a service has to advance for a further line; 0: never.

    services: how many there are in all of the play. Thousands of lines help nobody.
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
    problem: str | None = None
    # When it began to wait because the engine of another of its hosts had ended.
    lost_engines: set[str] = field(default_factory=set)


class LateError(BaseException):
    """Something took too long. Not an Exception, so that nobody who retries catches it."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise LateError where what is done within takes longer, whatever it waits for.

    It uses the alarm of the process, as the `timeout` of a task does, which is kept if it ends
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

    host: its name, which is in every line. step: see `step_of`.
    """

    def __init__(self, host: str, names: Sequence[str], step: int = 10) -> None:
        self.host, self.step = host, step
        self.seen = {name: _Seen() for name in names}
        # What this run has deployed: the digest of each service's process, None where it was not seen.
        self.deployed: dict[str, str | None] = {}
        self.last_line = 0.0
        self.looks = 0

    @property
    def waiting(self) -> list[str]:
        """Services that are neither ready nor failed for good."""
        return [n for n, seen in self.seen.items() if not seen.ready and seen.problem is None]

    @property
    def ready(self) -> list[str]:
        """Services that serve."""
        return [name for name, seen in self.seen.items() if seen.ready]

    @property
    def failed(self) -> dict[str, str]:
        """Services that will not come up by themselves, and in a sentence why."""
        return {n: seen.problem for n, seen in self.seen.items() if seen.problem is not None}

    def has_deployed(self, services: Sequence[Status]) -> None:
        """Take in how the services were when this run had deployed them, to tell what others do later."""
        for status in services:
            if status["name"] in self.seen and status["state"] not in ("stopped", "absent"):
                self.deployed[status["name"]] = status.get("digest_running")

    def _changed(self, status: Status) -> str | None:
        """What another run did to a service that this one deployed, in a sentence after its name."""
        name, digest = status["name"], status.get("digest_running")
        if name not in self.deployed or digest is None:
            return None
        before = self.deployed[name] = self.deployed[name] or digest
        if digest == before:
            return None
        return (
            "has other settings now: another run changed it while this one waited for it. Run deploy"
            " again for those of this inventory."
        )

    def all_ready(self, services: Sequence[Status]) -> list[str]:
        """Take in an earlier answer if all served then, and return the lines to show."""
        ready = [status for status in services if status["state"] == "ready"]
        if not set(self.seen) <= {status["name"] for status in ready}:
            return []
        lines = self.update(ready, 0.0)
        self.looks = 0
        return lines

    def update(self, services: Sequence[Status], waited: float) -> list[str]:
        """Take in one answer of the host; return the lines to show, without those that repeat
        what was shown. waited: seconds since the waiting began."""
        self.looks += 1
        lines = []
        for status in services:
            seen = self.seen.get(status["name"])
            if seen is None or seen.problem is not None:
                continue
            before, seen.status = seen.status.get("state"), status
            seen.ready = status["state"] == "ready"
            seen.problem = self._changed(status)
            if not seen.problem and not seen.ready:
                deployed = status["name"] in self.deployed
                seen.problem = _final_problem(seen, status, before, waited, deployed=deployed)
            seen.ready = seen.ready and not seen.problem
            came_up = seen.ready and bool(seen.told)
            if self._is_new(seen, status):
                text = status_line(status, with_cause=True)
                lines.append(
                    f"{self.host}: {text.replace(', up ', ' after ') if came_up else text}"
                )
        if lines:
            self.last_line = waited
        elif self.waiting and waited - self.last_line >= SILENCE:
            self.last_line = waited
            waiting = [self.seen[name].status for name in self.waiting]
            lines = [f"{self.host}: {status_line(status)}" for status in waiting]
            if not self.step:
                lines = [f"{self.host}: {self._in_short(waiting)}"]
        return lines

    def _in_short(self, waiting: Sequence[Status]) -> str:
        """`2 of 8 ready; 5 loading weights, 1 warming up`."""
        counts = Counter(
            describe_state({**status, "total": None, "percent": None}) for status in waiting
        )
        rest = ", ".join(f"{count} {what}" for what, count in counts.items())
        return f"{len(self.ready)} of {len(self.seen)} ready; {rest}"

    def _is_new(self, seen: _Seen, status: Status) -> bool:
        restarts = (status.get("unit") or {}).get("n_restarts")
        phase = status.get("phase") if self.step else None
        if is_waiting_for_members(status):
            phase = describe_state(status)
        now = (status["state"], phase, restarts)
        percent = status.get("percent") or 0
        new = now != seen.told
        if not new and self.step and status["state"] == "starting":
            full = percent == 100 and seen.told_percent < 100
            new = full or abs(percent - seen.told_percent) >= self.step
        if new:
            seen.told, seen.told_percent = now, percent
        return new

    def message(self, timeout: float) -> str:
        """The message at the end: what failed with its cause, and what was not ready in time."""
        parts = []
        for name, problem in self.failed.items():
            evidence = format_evidence(self.seen[name].status)
            parts.append("\n    ".join([f"{self.host}: {name} {problem}", *evidence]))
        for name in self.waiting:
            status = self.seen[name].status
            if self.failed:
                parts.append(f"{self.host}: {status_line(status)}; no longer waited for")
                continue
            text = f"{self.host}: {name} was not ready within {duration(timeout)}."
            text += f" It stopped at: {status_line(status)}"
            log = 0 if is_waiting_for_members(status) else 1  # what its guard says is its state
            evidence = format_evidence(status, log, "Its last line: ")
            parts.append("\n    ".join([text, *evidence]))
        return "\n".join(parts)

    def results(self) -> list[dict[str, Any]]:
        """Each service: {name, state, phase, percent, elapsed, restarts, ready, cause}."""
        return [
            {
                **{key: seen.status.get(key) for key in ("state", "phase", "percent", "elapsed")},
                "name": name,
                "restarts": (seen.status.get("unit") or {}).get("n_restarts"),
                "ready": seen.ready,
                "cause": seen.status.get("cause"),
            }
            for name, seen in self.seen.items()
        ]


def _final_problem(
    seen: _Seen, status: Status, before: str | None, waited: float, *, deployed: bool
) -> str | None:
    """Why a service will not come up by itself, in a sentence after its name; None if it may.

    before: its state at the last check, None at the first. waited: seconds. deployed: it was there when
    this run had deployed it. A failure that another start may fix is
    given that start, as systemd does.
    """
    lost = lost_engine(status)
    if lost:
        seen.lost_engines.add(lost.since)
        if len(seen.lost_engines) >= ANY_FAILURES:
            return (
                f"fails again and again ({len(seen.lost_engines)} starts): {lost.text}. See why with"
                f" inferops.ascend.diagnose on {lost.host}."
            )
    state, cause = status["state"], status.get("cause") or {}
    restarts = (status.get("unit") or {}).get("n_restarts") or 0
    ended = state in ("restarting", "failed")
    count = restarts + (1 if ended else 0)
    known = cause.get("id") if ended or cause.get("start") == "previous" else None
    if seen.starts is None:
        # Of the past only a start counts that failed just before this one.
        looping = cause.get("start") == "previous" and not cause.get("served")
        seen.starts = restarts - 1 if looping and restarts else restarts
    if count < seen.starts:  # somebody started it again
        seen.starts, seen.failures = 0, []
    if count > seen.starts:
        seen.failures += [known] * (count - seen.starts)
        seen.starts = count
    if state == "failed":
        tries = f" after {count} starts" if count > 1 else ""
        return f"has failed{tries}, and systemd does not start it again."
    if state in ("stopped", "absent") and before not in (None, state):
        return None  # the host may be going down for a reboot: the next check will tell
    if state == "stopped" and is_masked(status):
        return (
            "is masked: somebody has switched it off on this host. Run systemctl unmask for its"
            " unit there, or set its state to stopped."
        )
    if state in ("stopped", "absent") and deployed:
        what = "removed" if state == "absent" else "or somebody stopped"
        return (
            f"is {state} now: another run {what} it while this one waited for it. Run deploy again to"
            " have it."
        )
    if state == "stopped":
        return (
            "is stopped: it was never started, or somebody stopped it. Start it with"
            " inferops.ascend.deploy."
        )
    if state == "absent":
        return "is not on this host. Install it with inferops.ascend.deploy."
    disagree = is_waiting_for_members(status) and cause.get("retry") is False
    if disagree and min(waited, status.get("elapsed") or 0.0) >= DISAGREEMENT:
        return "waits for a member with which it does not start."
    if ended and cause.get("retry") is False:
        return "failed in a way that another start does not fix."
    last = seen.failures[-SAME_FAILURES:]
    if len(last) == SAME_FAILURES and len(set(last)) == 1:
        return f"fails again and again ({len(seen.failures)} starts, the same cause)."
    if len(seen.failures) >= ANY_FAILURES:
        return f"fails again and again ({len(seen.failures)} starts)."
    return None
