# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the services of a host are: units, processes, answers over HTTP, journals. Changes nothing.

What cannot be read is None, and `problems` has the reason; the rest is not affected.
"""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from .._base import process, systemctl
from .._base.errors import HostError
from .._base.files import instance_of
from .._base.systemctl import number
from .._base.text import is_number
from .._host.processes import listening
from .._host.services import group_of
from . import cards, kernel
from .causes import find_cause
from .configuration import read_secrets, read_settings, redactor
from .journal import Phase, last_lines, parse_journal, progress
from .member import Membership
from .probe import answers, ask
from .units import (
    ABSENT,
    FAILED,
    READY,
    RESTARTING,
    STARTING,
    UNHEALTHY,
    UNKNOWN,
    as_unit,
    elapsed,
    environ_of,
    state_of,
)

_WORKERS = 32
_SHOW_LIMIT = 16 << 20  # bytes of `systemctl show`
_JOURNAL_DELAY = 5.0  # seconds after which a line has surely reached the journal
_EXITED = 1  # ExecMainCode: CLD_EXITED of waitid(2)
_SIGNALLED = (2, 3)  # CLD_KILLED and CLD_DUMPED: ExecMainStatus is a signal


class StatusRequest(NamedTuple):
    """A service to report on. `host`: where it listens, None for every address.

    completion: ask the leader of a service over several hosts for one token as well.
    """

    name: str
    port: int | None = None
    host: str | None = None
    api_key_file: str | None = None
    completion: bool = False


class Limits(NamedTuple):
    """The limits of a check. Seconds for each request; lines and bytes of each journal."""

    timeout: float = 10.0
    journal_lines: int = 2000
    journal_bytes: int = 4 << 20
    log_lines: int = 20


def limits_of(given: Mapping[str, Any]) -> Limits:
    """The module's limits. Raises HostError for one that makes no sense."""
    for key in ("timeout", "npu_timeout"):
        if not 0 < given[key] < float("inf"):
            raise HostError(f"{key} is {given[key]}; it must be a number of seconds above 0.")
    return Limits(
        timeout=given["timeout"],
        journal_lines=max(0, given["journal_lines"]),
        log_lines=max(0, given["log_lines"]),
    )


def run(command: Sequence[str], timeout: float, limit: int) -> bytes:
    """What a program prints, at most `limit` bytes of it; the rest is not waited for.

    Raises HostError if it cannot be run, does not end in `timeout` seconds, or prints nothing
    and fails.
    """
    env = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_COLORS": "0"}
    done = process.run(command, timeout, env, limit)
    if done.status > 0 and not done.stdout:
        raise HostError(
            f"{' '.join(command[:2])} failed with status {done.status}: {done.errors.strip()}"
        )
    return done.stdout


def signal_of(status: int) -> dict[str, str]:
    """The {signal, signal_name} that ended a process, `9` and `SIGKILL`; the name of a real-time signal is its number."""
    try:
        name = signal.Signals(status).name
    except ValueError:
        name = f"signal {status}"
    return {"signal": str(status), "signal_name": name}


class ServiceCheck:
    """One check of one service."""

    def __init__(
        self,
        request: StatusRequest,
        template: str,
        values: Mapping[str, str],
        limits: Limits,
        phases: Sequence[Phase],
        failures: Sequence[Mapping[str, Any]],
        ports: Mapping[int, Mapping[str, Any]],
        root: Path = Path("/"),
    ) -> None:
        self.request, self.values, self.limits, self.root = request, values, limits, root
        self.phases, self.failures, self.ports = phases, failures, ports
        self.unit = instance_of(template, request.name)
        directory = "/etc/" + template.split("@", 1)[0]
        config = f"{directory}/{request.name}.yaml"
        self.written = (root / config.lstrip("/")).is_file()
        settings = read_settings(root, config)
        port = settings.get("port", "")
        self.port = request.port or (int(port) if is_number(port) else None)
        self.host = request.host or settings.get("host")
        self.tls = "ssl-certfile" in settings
        self.pooling = settings.get("runner") == "pooling" or "task" in settings
        group = group_of(root, template.split("@", 1)[0], request.name)
        self.member = Membership(group, values.get("StatusText", "")) if group else None
        # Of a service over several hosts the leader alone has an API.
        self.headless = settings.get("headless") == "true" or bool(group and group["rank"])
        secrets = read_secrets(root, request.api_key_file or f"{directory}/{request.name}.env")
        self.pid = number(values.get("MainPID"))
        self.environ: dict[str, str] = {}
        if self.pid:
            self.environ = environ_of(root, self.pid, values.get("ControlGroup", ""))
        # What it runs with counts: a file may have been changed since.
        self.key = self.environ.get("VLLM_API_KEY") or secrets.get("VLLM_API_KEY")
        running = [self.environ[name] for name in secrets if name in self.environ]
        self.redact = redactor([*secrets.values(), *running, self.key or ""])
        self.problems: list[str] = []

    def holder(self) -> str | None:
        """Who listens on the service's port, if it is somebody else."""
        entry = self.ports.get(self.port or 0)
        if not entry or not entry.get("unit") or entry["unit"] == self.unit:
            return None
        return "{} (PID {}, unit {})".format(entry["command"] or "?", entry["pid"], entry["unit"])

    def http(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {"health": None, "models": [], "error": None}
        if not self.pid:
            return dict(nothing, error="it is not running")
        if self.headless:
            return nothing
        if self.member and not self.complete:
            return dict(nothing, error=self.member.status or "its guard reports nothing")
        if self.port is None:
            return dict(nothing, error="its port is not known")
        holder = self.holder()
        if holder:
            return dict(nothing, error=f"port {self.port} is in use by {holder}")
        found = ask(self.host, self.port, self.key, self.limits.timeout, self.tls)
        if self.member and self.request.completion and found["models"]:
            model = found["models"][0]["id"]
            where = self.host, self.port, model, self.pooling
            found["error"] = answers(*where, self.key, self.limits.timeout, self.tls)
            found["health"] = None if found["error"] else found["health"]
        return found

    @property
    def complete(self) -> bool:
        """Whether all its members run, as the guard says."""
        return not self.member or self.member.is_complete

    def journal(self) -> list[tuple[str, list[str]]]:
        command = ["journalctl", "--unit", self.unit, "--reverse", "--output", "json", "--all"]
        command += ["--lines", str(self.limits.journal_lines), "--no-pager", "--quiet"]
        try:
            return parse_journal(run(command, self.limits.timeout, self.limits.journal_bytes))
        except HostError as error:
            self.problems.append(f"the journal was not read: {error}")
            return []

    def facts(self, now: float, wall: float) -> dict[str, Any]:
        """Everything, in the shape that the module returns."""
        answer = self.http()
        health = 200 if self.headless and self.complete else answer["health"]
        lines: list[str] = []
        previous: list[str] = []
        state = state_of(self.values, health, False, self.written)
        silent = state in (READY, ABSENT, UNKNOWN) or self.queued
        if not silent and self.limits.journal_lines:
            lines, previous = self.starts(now)
        reached = progress(lines, self.phases)
        served = self.has_served(reached.phase)
        state = state_of(self.values, health, served and self.complete, self.written)
        phase, percent = reached.phase, reached.percent
        if state == READY:
            phase, percent = READY, None
        elif state not in (STARTING, UNHEALTHY, FAILED, RESTARTING):
            phase, percent = None, None
        return {
            "name": self.request.name,
            "port": self.port,
            "unit": as_unit(self.values, now, wall),
            "digest_running": self.environ.get(systemctl.DIGEST),
            "visible_cards": cards.visible(self.environ),
            "group": self.member.as_dict() if self.member else None,
            "headless": self.headless,
            "http": dict(answer, error=self.redact(answer["error"]) if answer["error"] else None),
            "state": state,
            "phase": phase,
            "percent": percent,
            "done": reached.done if percent is not None else None,
            "total": reached.total if percent is not None else None,
            "elapsed": self.elapsed(now, wall),
            "cause": self.cause(state, served, lines + self.killed(state, now, wall), previous),
            "log": last_lines(lines, self.limits.log_lines, self.redact),
            "problems": self.problems,
        }

    def elapsed(self, now: float, wall: float) -> float | None:
        """Seconds since the unit was started, or since its guard waits or runs the engine."""
        since = self.member.since if self.member and self.pid else None
        return elapsed(self.values, now) if since is None else round(max(0.0, wall - since), 1)

    def killed(self, state: str, now: float, wall: float) -> list[str]:
        """The kernel's lines of processes of this start that it killed for lack of memory."""
        begun = number(self.values.get("ExecMainStartTimestampMonotonic")) / 1e6
        if state not in (FAILED, RESTARTING) or not begun or not self.limits.journal_lines:
            return []
        shown = kernel.command(wall - now + begun)
        with contextlib.suppress(
            HostError
        ):  # the kernel's journal may not be kept, or not be readable
            starts = parse_journal(run(shown, self.limits.timeout, self.limits.journal_bytes))
            return kernel.killed([line for _start, lines in starts for line in lines], self.unit)
        return []

    @property
    def queued(self) -> bool:
        """Whether systemd is to start it and has not begun, as while the host boots."""
        return self.values.get("ActiveState") == "inactive" and bool(number(self.values.get("Job")))

    def starts(self, now: float) -> tuple[list[str], list[str]]:
        """Lines of this start, or of the last one, and of the start before it."""
        starts = self.journal()
        wanted = self.values.get("InvocationID", "") or (starts[-1][0] if starts else "")
        names = [name for name, _lines in starts]
        index = names.index(wanted) if wanted in names else len(starts)
        current = starts[index][1] if index < len(starts) else []
        begun = number(self.values.get("ExecMainStartTimestampMonotonic")) / 1e6
        # systemd itself writes the first line of every start.
        if begun and now - begun > _JOURNAL_DELAY and not current and not self.problems:
            self.problems.append(
                "the journal has no line of this start: it was rotated or is not kept, or this"
                " account may not read it"
            )
        previous = starts[index - 1][1] if index else []
        if self.member:
            return self.member.current_lines(current), self.member.lines(previous)
        return current, previous

    def has_served(self, phase: str | None) -> bool:
        return bool(self.phases) and phase == self.phases[-1].name

    def cause(
        self,
        state: str,
        served: bool,
        lines: Sequence[str],
        previous: Sequence[str],
    ) -> dict[str, Any] | None:
        """Why it does not serve, from this start, or else from the one before."""
        known = {
            "name": self.request.name,
            "unit": self.unit,
            "port": self.port,
            "holder": self.holder(),
            "burst": self.values.get("StartLimitBurst"),
            "interval": self.values.get("StartLimitIntervalUSec"),
        }
        ended = state in (FAILED, RESTARTING)
        if ended and number(self.values.get("ExecMainCode")) in _SIGNALLED:
            known.update(signal_of(number(self.values.get("ExecMainStatus"))))
        # Values such as a result left from before tell nothing about a start that goes on.
        result = self.values.get("Result") if ended else None
        status = None
        if ended and number(self.values.get("ExecMainCode")) == _EXITED:
            status = number(self.values.get("ExecMainStatus"))
        if ended or state in (STARTING, UNHEALTHY):
            found = find_cause(lines, self.failures, known, result, status, self.redact)
            if found:
                return dict(found, start="current", served=served)
        if state == STARTING and number(self.values.get("NRestarts")):
            found = find_cause(previous, self.failures, known, redact=self.redact)
            if found:
                phase = progress(previous, self.phases).phase
                return dict(found, start="previous", served=self.has_served(phase))
        return None


def blank(
    request: StatusRequest, values: Mapping[str, str], now: float, wall: float, problem: str
) -> dict[str, Any]:
    """What is returned of a service that could not be checked."""
    keys = (
        "digest_running",
        "visible_cards",
        "group",
        "headless",
        "phase",
        "percent",
        "done",
        "total",
        "elapsed",
    )
    return {
        **dict.fromkeys([*keys, "cause"]),
        "name": request.name,
        "port": request.port,
        "unit": as_unit(values, now, wall),
        "http": {"health": None, "models": [], "error": None},
        "state": UNKNOWN,
        "log": [],
        "problems": [problem],
    }


def collect(
    requests: Sequence[StatusRequest],
    template: str,
    limits: Limits,
    phases: Sequence[Phase],
    failures: Sequence[Mapping[str, Any]],
    npu: Callable[[Path], dict[str, Any] | None] = lambda root: None,
    root: Path = Path("/"),
) -> dict[str, Any]:
    """{services: one of each request in order, npu: what `npu` returns or None, problems: texts}.

    All services are asked at the same time, so that some that hang cost one timeout.
    """
    problems: list[str] = []
    units = [instance_of(template, request.name) for request in requests]
    pool = ThreadPoolExecutor(max_workers=min(_WORKERS, len(requests) + 1))
    try:
        npu_facts = pool.submit(npu, root)
        shown: list[dict[str, str]] = []
        if units:
            wanted = "--property=" + ",".join(systemctl.PROPERTIES)
            command = ["systemctl", "show", wanted, "--", *units]
            try:
                shown = systemctl.parse_show(
                    run(command, limits.timeout, _SHOW_LIMIT).decode("utf-8")
                )
                if len(shown) != len(units):
                    raise HostError(f"systemctl shows {len(shown)} of {len(units)} units")
            except (HostError, ValueError) as error:
                problems.append(f"systemd does not report on the units: {error}")
                shown = [{} for _unit in units]
        now, wall = time.clock_gettime(time.CLOCK_MONOTONIC), time.time()
        ports: dict[int, dict[str, Any]] = {}
        with contextlib.suppress(OSError):
            ports = {entry["port"]: entry for entry in listening(root)}

        def check(request: StatusRequest, values: dict[str, str]) -> dict[str, Any]:
            try:
                return ServiceCheck(
                    request, template, values, limits, phases, failures, ports, root
                ).facts(now, wall)
            except Exception as error:  # whatever is wrong with one, the others are reported
                return blank(request, values, now, wall, f"{type(error).__name__}: {error}")

        services = list(pool.map(check, requests, shown))
        facts = None
        try:
            facts = npu_facts.result()
        except Exception as error:
            problems.append(f"the cards were not read: {type(error).__name__}: {error}")
        return {"services": services, "npu": facts, "problems": problems}
    finally:
        pool.shutdown(wait=False)
