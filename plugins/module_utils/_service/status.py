# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the services of a host are: units, processes, answers over HTTP, journals. Changes nothing.

What cannot be read is None, and `problems` says why; it never costs the rest.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.inferops.ascend.plugins.module_utils._base import process, systemctl
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._host.ports import listening
from ansible_collections.inferops.ascend.plugins.module_utils._host.services import (
    existing_services,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service import journal as _vllm_log

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "Job",
    "MainPID",
    "NRestarts",
    "ExecMainCode",
    "ExecMainStatus",
    "InvocationID",
    "ControlGroup",
    "AssertResult",
    "AssertTimestampMonotonic",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
)

# What a service is, as one word.
READY, STARTING, UNHEALTHY = "ready", "starting", "unhealthy"
RESTARTING, STOPPING, STOPPED = "restarting", "stopping", "stopped"
FAILED, ABSENT, UNKNOWN = "failed", "absent", "unknown"

_WORKERS = 32
_ANSWER_LIMIT = 4 << 20  # bytes of one answer over HTTP
_SHOW_LIMIT = 16 << 20  # bytes of `systemctl show`
_JOURNAL_DELAY = 5.0  # seconds after which a line has surely reached the journal
_EXITED = 1  # ExecMainCode: CLD_EXITED of waitid(2); else ExecMainStatus is a signal
# Shorter values are replaced as whole words only, or "1" would blacken every line.
_SECRET_LENGTH = 6


class StatusError(HostError):
    """A part of the answer that could not be had; the message says which and why."""


class Wish(NamedTuple):
    """A service that is asked after. `address`: where it listens, None for every address."""

    name: str
    port: int | None = None
    address: str | None = None
    api_key_file: str | None = None


class Ways(NamedTuple):
    """How far a look goes. Seconds for each question; lines and bytes of each journal."""

    timeout: float = 10.0
    journal_lines: int = 2000
    journal_bytes: int = 4 << 20
    log_lines: int = 20


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


def wishes_of(services: Sequence[object]) -> list[Wish]:
    """What the module is asked. Raises StatusError for a service without a usable name or port."""
    wishes = []
    for each in services:
        given: dict[str, Any] = each if isinstance(each, dict) else {"name": each}
        name, port = given.get("name"), given.get("port")
        if not isinstance(name, str) or not _NAME.match(name):
            raise StatusError(f"services: {name!r} is no name of a service")
        if port is not None and not str(port).isdigit():
            raise StatusError(f"service {name}: {port!r} is no port")
        wishes.append(
            Wish(name, int(port) if port else None, given.get("host"), given.get("api_key_file"))
        )
    return wishes


def ways_of(given: Mapping[str, Any]) -> Ways:
    """The module's limits. Raises StatusError for one that makes no sense."""
    for key in ("timeout", "npu_timeout"):
        if not 0 < given[key] < float("inf"):
            raise StatusError(f"{key} is {given[key]}; it must be a number of seconds above 0.")
    return Ways(
        timeout=given["timeout"],
        journal_lines=max(0, given["journal_lines"]),
        log_lines=max(0, given["log_lines"]),
    )


# ---------------------------------------------------------------------------------------------
# Programs


def run(command: Sequence[str], timeout: float, limit: int) -> bytes:
    """What a program prints, at most `limit` bytes of it; the rest is not waited for.

    Raises HostError if it cannot be run, does not end in `timeout` seconds, or prints nothing
    and fails.
    """
    env = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_COLORS": "0"}
    done = process.run(command, timeout, env, limit)
    if done.status > 0 and not done.stdout:
        raise StatusError(
            f"{' '.join(command[:2])} failed with status {done.status}: {done.errors.strip()}"
        )
    return done.stdout


# ---------------------------------------------------------------------------------------------
# Units and processes


def unit_name(template: str, name: str) -> str:
    """The instance of a template unit: `vllm@.service`, `chat` -> `vllm@chat.service`."""
    before, after = template.split("@", 1)
    return f"{before}@{name}{after}"


def _int(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdigit() else 0


def elapsed(values: Mapping[str, str], now: float) -> float | None:
    """Seconds that this start has run, or the last one ran; None where there was none.

    now: seconds of CLOCK_MONOTONIC, the clock of systemd's ...TimestampMonotonic.
    """
    begun = _int(values.get("ExecMainStartTimestampMonotonic")) / 1e6
    ended = _int(values.get("ExecMainExitTimestampMonotonic")) / 1e6
    if not begun:
        return None
    end = ended if ended and not _int(values.get("MainPID")) else now
    return round(max(0.0, end - begun), 1)


def as_unit(values: Mapping[str, str], now: float, wall: float) -> dict[str, Any]:
    """The unit as the module returns it. now: CLOCK_MONOTONIC; wall: seconds since 1970."""
    begun = _int(values.get("ExecMainStartTimestampMonotonic")) / 1e6
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall - (now - begun)))
    return {
        "load_state": values.get("LoadState"),
        "active_state": values.get("ActiveState"),
        "sub_state": values.get("SubState"),
        "result": values.get("Result"),
        "exec_main_status": _int(values.get("ExecMainStatus")),
        "n_restarts": _int(values.get("NRestarts")),
        "unit_file_state": values.get("UnitFileState"),
        "main_pid": _int(values.get("MainPID")),
        "since": since if begun else None,
    }


def _environ(root: Path, pid: int) -> dict[str, str]:
    try:
        return systemctl.parse_environ((root / "proc" / str(pid) / "environ").read_bytes())
    except OSError:
        return {}


def environ_of(root: Path, pid: int, group: str) -> dict[str, str]:
    """The environment a service runs with.

    Its main process tells it, unless it has just been started, or has written its title over its
    environment; then another process of its control group (`group`) has inherited the same.
    """
    found = _environ(root, pid)
    if systemctl.DIGEST in found or not group:
        return found
    for folder in ("sys/fs/cgroup", "sys/fs/cgroup/systemd", "sys/fs/cgroup/unified"):
        try:
            text = (root / folder / group.lstrip("/") / "cgroup.procs").read_text()
        except OSError:
            continue
        for other in text.split()[:64]:
            inherited = _environ(root, int(other)) if other.isdigit() else {}
            if systemctl.DIGEST in inherited:
                return inherited
    return found


def cards_of(environ: Mapping[str, str]) -> list[int] | None:
    """ASCEND_RT_VISIBLE_DEVICES as logic ids; None where it is not set or no list of numbers."""
    text = environ.get("ASCEND_RT_VISIBLE_DEVICES")
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    return [int(word) for word in words] if all(word.isdigit() for word in words) else None


# ---------------------------------------------------------------------------------------------
# Files of a service


def parse_environment_file(text: str) -> dict[str, str]:
    """The variables of a file for `EnvironmentFile=`, as systemd.exec(5) reads it."""
    found: dict[str, str] = {}
    pattern = r'^[ \t]*([A-Za-z_][A-Za-z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^\n]*))'
    for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        name, double, single, bare = match.groups()
        if double is not None:
            found[name] = re.sub(r'\\(["\\`$])', r"\1", double)
        else:
            found[name] = single if single is not None else bare.strip()
    return found


def _secrets(root: Path, path: str) -> dict[str, str]:
    try:
        return parse_environment_file((root / path.lstrip("/")).read_text("utf-8", "replace"))
    except OSError:
        return {}


def redactor(secrets: Mapping[str, str]) -> Callable[[str], str]:
    """A function that takes the values of secrets out of a text."""
    words = {part for value in secrets.values() for part in [value, *value.split("\n")] if part}
    if not words:
        return str
    patterns = [
        re.escape(word) if len(word) >= _SECRET_LENGTH else rf"(?<!\w){re.escape(word)}(?!\w)"
        for word in sorted(words, key=len, reverse=True)
    ]
    pattern = re.compile("|".join(patterns))
    return lambda text: pattern.sub("********", text)


def _settings(root: Path, path: str) -> dict[str, str]:
    """Top-level `key: value` lines of a configuration of ours; enough for where it listens."""
    try:
        text = (root / path.lstrip("/")).read_text("utf-8", "replace")
    except OSError:
        return {}
    found = re.findall(r"^([a-z][a-z-]*): *(\S.*)$", text, re.MULTILINE)
    return {key: value.strip().strip("\"'") for key, value in found}


# ---------------------------------------------------------------------------------------------
# HTTP


class Answer(NamedTuple):
    """An answer over HTTP, or why there is none."""

    status: int | None
    body: bytes = b""
    error: str | None = None


def get(
    address: str, port: int, path: str, key: str | None, timeout: float, tls: bool = False
) -> Answer:
    """GET without proxies or redirects; `timeout` seconds for all of it."""
    connection: http.client.HTTPConnection
    if tls:
        # It is this host's own server, asked by an address that no certificate names.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
    late = threading.Event()
    end: threading.Timer | None = None
    try:
        headers = {"Connection": "close"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection.connect()
        # The socket's own limit counts from one byte to the next, so drops could go on for ever.
        end = threading.Timer(timeout, _cut_off, (connection.sock, late))
        end.start()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(_ANSWER_LIMIT)
        if not late.is_set():
            return Answer(answer.status, body)
    except socket.timeout:
        late.set()
    except ConnectionRefusedError:
        return Answer(None, error=f"nothing listens on port {port} yet")
    except (OSError, ValueError, http.client.HTTPException) as error:
        if not late.is_set():
            # The name of the exception alone: its text may repeat what was sent.
            return Answer(None, error=f"asking port {port} failed: {type(error).__name__}")
    finally:
        if end:
            end.cancel()
        connection.close()
    return Answer(None, error=f"no answer from port {port} within {timeout:g} s")


def _cut_off(connected: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def addresses(host: str | None) -> list[str]:
    """Where a server that listens on `host` is reached from its own host."""
    name = (host or "").strip("[]")
    if name in ("", "0.0.0.0", "*"):
        return ["127.0.0.1", "::1"]
    if name == "::":
        return ["::1", "127.0.0.1"]
    return [name]


def ask(
    host: str | None, port: int, key: str | None, timeout: float, tls: bool = False
) -> dict[str, Any]:
    """{health: status or None, models: [{id, max_model_len}], error: text or None}."""
    result: dict[str, Any] = {"health": None, "models": [], "error": None}
    where = addresses(host)
    for address in where:
        health = get(address, port, "/health", None, timeout, tls)
        if health.status is not None or "nothing listens" not in (health.error or ""):
            break
    result["health"], result["error"] = health.status, health.error
    if health.status is None:
        return result
    if health.status != 200:
        result["error"] = f"/health answers {health.status}"
        return result
    models = get(address, port, "/v1/models", key, timeout, tls)
    if models.status != 200:
        result["error"] = models.error or f"/v1/models answers {models.status}"
        if models.status == 401:
            result["error"] += ": it wants another API key than the one in the service's file"
        return result
    try:
        entries = json.loads(models.body.decode("utf-8"))["data"]
        result["models"] = [
            {"id": str(each["id"]), "max_model_len": each.get("max_model_len")} for each in entries
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        result["error"] = "/v1/models answers with something else than a list of models"
    return result


# ---------------------------------------------------------------------------------------------
# One service


def state_of(
    values: Mapping[str, str], health: int | None, served: bool, written: bool = True
) -> str:
    """A service in one word.

    served: whether the journal says that this start has been serving. written: whether its
    configuration is there, without which an instance of a template is nothing.
    """
    active = values.get("ActiveState")
    if active == "active":
        if health == 200:
            return READY
        return UNHEALTHY if served or health is not None else STARTING
    if active in ("activating", "reloading"):
        # Without a main process it is also while something is done before the server is run.
        waits = values.get("SubState", "").startswith("auto-restart")
        return RESTARTING if waits else STARTING
    if active == "deactivating":
        return STOPPING
    if active == "failed":
        return FAILED
    if active == "inactive":
        if not written or values.get("LoadState") == "not-found":
            return ABSENT
        # While the host boots it is its turn later.
        return STARTING if _int(values.get("Job")) else STOPPED
    return UNKNOWN


class Look:
    """One look at one service."""

    def __init__(
        self,
        wish: Wish,
        template: str,
        values: Mapping[str, str],
        ways: Ways,
        phases: Sequence[_vllm_log.Phase],
        failures: Sequence[_vllm_log.Failure],
        ports: Mapping[int, Mapping[str, Any]],
        root: Path = Path("/"),
    ) -> None:
        self.wish, self.values, self.ways, self.root = wish, values, ways, root
        self.phases, self.failures, self.ports = phases, failures, ports
        self.unit = unit_name(template, wish.name)
        folder = "/etc/" + template.split("@", 1)[0]
        config = f"{folder}/{wish.name}.yaml"
        self.written = (root / config.lstrip("/")).is_file()
        settings = _settings(root, config)
        port = settings.get("port", "")
        self.port = wish.port or (int(port) if port.isdigit() else None)
        self.host = wish.address or settings.get("host")
        self.tls = "ssl-certfile" in settings
        # A rank that serves through another host: it has no API, and its running is all there is.
        self.headless = settings.get("headless") == "true"
        secrets = _secrets(root, wish.api_key_file or f"{folder}/{wish.name}.env")
        self.pid = _int(values.get("MainPID"))
        self.environ: dict[str, str] = {}
        if self.pid:
            self.environ = environ_of(root, self.pid, values.get("ControlGroup", ""))
        # What it runs with counts, a file may have been changed since.
        self.key = self.environ.get("VLLM_API_KEY") or secrets.get("VLLM_API_KEY")
        running = {name: self.environ[name] for name in secrets if name in self.environ}
        if self.key:
            running["VLLM_API_KEY"] = self.key
        before, after = redactor(secrets), redactor(running)
        self.redact: Callable[[str], str] = lambda text: after(before(text))
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
            return dict(nothing, error="it is headless: its leader answers for it")
        if self.port is None:
            return dict(nothing, error="its port is not known")
        holder = self.holder()
        if holder:
            return dict(nothing, error=f"port {self.port} is held by {holder}")
        return ask(self.host, self.port, self.key, self.ways.timeout, self.tls)

    def journal(self) -> list[_vllm_log.Entry]:
        command = ["journalctl", "--unit", self.unit, "--reverse", "--output", "json", "--all"]
        command += ["--lines", str(self.ways.journal_lines), "--no-pager", "--quiet"]
        try:
            return _vllm_log.parse_journal(run(command, self.ways.timeout, self.ways.journal_bytes))
        except HostError as error:
            self.problems.append(f"the journal was not read: {error}")
            return []

    def facts(self, now: float, wall: float) -> dict[str, Any]:
        """Everything, in the shape that the module returns."""
        answer = self.http()
        health = 200 if self.headless else answer["health"]
        current: list[_vllm_log.Entry] = []
        previous: list[_vllm_log.Entry] = []
        state = state_of(self.values, health, False, self.written)
        silent = state in (READY, ABSENT, UNKNOWN) or self.queued
        if not silent and self.ways.journal_lines:
            current, previous = self.starts(now)
        lines = [entry.text for entry in current]
        progress = _vllm_log.progress(lines, self.phases)
        served = self.has_served(progress.phase)
        state = state_of(self.values, health, served, self.written)
        phase, percent = progress.phase, progress.percent
        if state == READY:
            phase, percent = READY, None
        elif state not in (STARTING, UNHEALTHY, FAILED, RESTARTING):
            phase, percent = None, None
        return {
            "name": self.wish.name,
            "port": self.port,
            "unit": as_unit(self.values, now, wall),
            "digest_running": self.environ.get(systemctl.DIGEST),
            "visible_cards": cards_of(self.environ),
            "http": dict(answer, error=self.redact(answer["error"]) if answer["error"] else None),
            "state": state,
            "phase": phase,
            "percent": percent,
            "done": progress.done if percent is not None else None,
            "total": progress.total if percent is not None else None,
            "elapsed": elapsed(self.values, now),
            "cause": self.cause(state, served, lines, previous),
            "log": _vllm_log.shown(current, self.ways.log_lines, self.redact),
            "problems": self.problems,
        }

    @property
    def queued(self) -> bool:
        """Whether systemd is to start it and has not begun, as while the host boots."""
        return self.values.get("ActiveState") == "inactive" and bool(_int(self.values.get("Job")))

    def starts(self, now: float) -> tuple[list[_vllm_log.Entry], list[_vllm_log.Entry]]:
        """Lines of this start, or of the last one, and of the start before it."""
        starts = _vllm_log.by_start(self.journal())
        wanted = self.values.get("InvocationID", "") or (starts[-1][0] if starts else "")
        names = [name for name, _entries in starts]
        number = names.index(wanted) if wanted in names else len(starts)
        current = starts[number][1] if number < len(starts) else []
        begun = _int(self.values.get("ExecMainStartTimestampMonotonic")) / 1e6
        # systemd itself writes the first line of every start.
        if begun and now - begun > _JOURNAL_DELAY and not current and not self.problems:
            self.problems.append(
                "the journal has no line of this start: it was rotated or is not kept, or this"
                " account may not read it"
            )
        return current, starts[number - 1][1] if number else []

    def has_served(self, phase: str | None) -> bool:
        return bool(self.phases) and phase == self.phases[-1].name

    def cause(
        self,
        state: str,
        served: bool,
        lines: Sequence[str],
        previous: Sequence[_vllm_log.Entry],
    ) -> dict[str, Any] | None:
        """Why it does not serve, from this start, or else from the one before."""
        known = {
            "name": self.wish.name,
            "unit": self.unit,
            "port": self.port,
            "holder": self.holder(),
        }
        ended = state in (FAILED, RESTARTING)
        # Values such as a result left from before say nothing of a start that goes on.
        result = self.values.get("Result") if ended else None
        status = None
        if ended and _int(self.values.get("ExecMainCode")) == _EXITED:
            status = _int(self.values.get("ExecMainStatus"))
        if ended or state in (STARTING, UNHEALTHY):
            found = _vllm_log.cause(lines, self.failures, known, result, status, self.redact)
            if found:
                return dict(found, start="current", served=served)
        if state == STARTING and _int(self.values.get("NRestarts")):
            texts = [entry.text for entry in previous]
            found = _vllm_log.cause(texts, self.failures, known, redact=self.redact)
            if found:
                phase = _vllm_log.progress(texts, self.phases).phase
                return dict(found, start="previous", served=self.has_served(phase))
        return None


def blank(
    wish: Wish, values: Mapping[str, str], now: float, wall: float, problem: str
) -> dict[str, Any]:
    """What is said of a service that could not be looked at."""
    return {
        "name": wish.name,
        "port": wish.port,
        "unit": as_unit(values, now, wall),
        "digest_running": None,
        "visible_cards": None,
        "http": {"health": None, "models": [], "error": None},
        "state": UNKNOWN,
        "phase": None,
        "percent": None,
        "done": None,
        "total": None,
        "elapsed": None,
        "cause": None,
        "log": [],
        "problems": [problem],
    }


# ---------------------------------------------------------------------------------------------
# All together


def standing(template: str, root: Path = Path("/")) -> list[Wish]:
    """Every service that this collection wrote on this host, running or not."""
    return [Wish(each["name"], each["port"]) for each in existing_services(root, template)]


def collect(
    wishes: Sequence[Wish],
    template: str,
    ways: Ways,
    phases: Sequence[_vllm_log.Phase],
    failures: Sequence[_vllm_log.Failure],
    npu: Callable[[Path], dict[str, Any] | None] = lambda root: None,
    root: Path = Path("/"),
) -> dict[str, Any]:
    """{services: one of each wish in order, npu: what `npu` returns or None, problems: texts}.

    All services are asked at the same time, so that some that hang cost one timeout.
    """
    problems: list[str] = []
    units = [unit_name(template, wish.name) for wish in wishes]
    pool = ThreadPoolExecutor(max_workers=min(_WORKERS, len(wishes) + 1))
    try:
        cards = pool.submit(npu, root)
        shown: list[dict[str, str]] = []
        if units:
            command = ["systemctl", "show", "--property=" + ",".join(PROPERTIES), "--", *units]
            try:
                shown = systemctl.parse_show(
                    run(command, ways.timeout, _SHOW_LIMIT).decode("utf-8")
                )
                if len(shown) != len(units):
                    raise StatusError(f"systemctl shows {len(shown)} of {len(units)} units")
            except (HostError, ValueError) as error:
                problems.append(f"systemd does not tell of the units: {error}")
                shown = [{} for _unit in units]
        now, wall = time.clock_gettime(time.CLOCK_MONOTONIC), time.time()
        ports: dict[int, dict[str, Any]] = {}
        with contextlib.suppress(OSError):
            ports = {entry["port"]: entry for entry in listening(root)}

        def look(wish: Wish, values: dict[str, str]) -> dict[str, Any]:
            try:
                return Look(wish, template, values, ways, phases, failures, ports, root).facts(
                    now, wall
                )
            except Exception as error:  # whatever is wrong with one, the others are reported
                return blank(wish, values, now, wall, f"{type(error).__name__}: {error}")

        services = list(pool.map(look, wishes, shown))
        facts = None
        try:
            facts = cards.result()
        except Exception as error:
            problems.append(f"the cards were not read: {type(error).__name__}: {error}")
        return {"services": services, "npu": facts, "problems": problems}
    finally:
        pool.shutdown(wait=False)
