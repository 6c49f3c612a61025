# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One trial on a host: a server in a unit of its own, a benchmark of it, and nothing left of both.

All files are below /run, so that a restart of the host removes them as well.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from .._base import process
from .._base.errors import HostError
from .._base.files import remove_leftovers, write_atomically
from .._base.reading import read_json
from .._host.npu import npu_facts
from .._service import journal, status
from .._service.accounts import make_private
from .._service.cards import Freed
from .._service.units import FAILED, READY, RESTARTING, STOPPED

SERVER, BENCHMARK = "vllm-calibrate@.service", "vllm-calibrate-benchmark@.service"
UNITS = "/run/systemd/system"
FILES = "/run/vllm-calibrate"
STATE = "/var/lib/vllm-calibrate"
_PAUSE = 1.0
_SETTLE = 3.0  # seconds for the last lines of a process to reach the journal
_FREE = 60.0
_VAGUE = (
    "unrecognised",
    "ended",
    "engine-dead",
    "engine-killed",
    "sigkill",
    "killed",
    "connection-lost",
)

# How far a trial is, and a figure or a word on it.
Report = Callable[[str, Any], None]


class Trial(NamedTuple):
    """What is run.

    user: that it runs as. server, benchmark: texts of the template units. placement,
    benchmark_placement: their drop-ins.
    cards: logic ids.
    start_timeout, benchmark_timeout: seconds. phases, failures: what the journal is read with.
    """

    name: str
    user: str
    port: int
    cards: Sequence[int]
    server: str
    benchmark: str
    placement: str
    benchmark_placement: str
    config: str
    secrets: str
    start_timeout: float
    benchmark_timeout: float
    npu_smi: str | None
    phases: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, Any]]


class CardsInUseError(HostError):
    """Cards of the trial are not free."""


def run(trial: Trial, report: Report, check: Callable[[], None]) -> dict[str, Any]:
    """Run a trial to its end and remove what it left.

    check: is called at least every few seconds; what it raises ends the trial.
    Returns {started, start_seconds, cause, log, benchmark}; `benchmark` is vLLM's result, or {} where
    it made none. Raises HostError for what keeps the trial from being tried at all.
    """
    remove()
    _require_free(trial)
    freed = Freed(trial.npu_smi, _FREE, trial.cards)
    freed.before()
    try:
        _write(trial)
        return _try(trial, report, check)
    finally:
        report("ending", None)
        remove()
        freed.wait()


def remove() -> None:
    """Stop the units of trials, and remove their files. Raises HostError where one does not end."""
    for unit in (SERVER, BENCHMARK):
        pattern = unit.replace("@", "@*")
        process.run(["systemctl", "kill", "--signal=KILL", pattern], 30)
        process.run(["systemctl", "stop", pattern], 120)
        process.run(["systemctl", "reset-failed", pattern], 30)
    found = glob.glob(f"{UNITS}/vllm-calibrate@*") + glob.glob(
        f"{UNITS}/vllm-calibrate-benchmark@*"
    )
    remove_leftovers(f"{UNITS}/{unit}" for unit in (SERVER, BENCHMARK))
    for path in [*found, FILES]:
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.unlink(path)
    if found:
        _systemctl("daemon-reload")


def _result_file(trial: Trial) -> Path:
    """What the benchmark wrote, in the directory that is its working directory."""
    return Path(STATE, trial.name, f"{trial.name}.json")


def _systemctl(*words: str, timeout: float = 60) -> None:
    done = process.run(["systemctl", *words], timeout)
    if done.status:
        raise HostError(f"systemctl {' '.join(words)} failed: {done.errors.strip()}")


def _require_free(trial: Trial) -> None:
    cards = npu_facts(trial.npu_smi, 60, Path("/"))["cards"]
    for card in cards:
        if card["logic_id"] in trial.cards and card["processes"]:
            who = card["processes"][0]
            raise CardsInUseError(
                f"card {card['logic_id']} is in use by PID {who['pid']}"
                f" ({who.get('command') or who.get('name') or '?'}). A trial takes free cards only: end"
                " that process, or leave the card out (ascend_host_excluded_cards)."
            )


def _write(trial: Trial) -> None:
    for unit, text, placement in (
        (SERVER, trial.server, trial.placement),
        (BENCHMARK, trial.benchmark, trial.benchmark_placement),
    ):
        directory = f"{UNITS}/{unit.replace('@', '@' + trial.name, 1)}.d"
        os.makedirs(directory, exist_ok=True)
        write_atomically(f"{UNITS}/{unit}", text)
        write_atomically(f"{directory}/placement.conf", placement)
    make_private(f"{STATE}/{trial.name}", trial.user)
    with contextlib.suppress(FileNotFoundError):
        _result_file(trial).unlink()
    os.makedirs(FILES, exist_ok=True)
    write_atomically(f"{FILES}/{trial.name}.yaml", trial.config)
    if trial.secrets:
        write_atomically(f"{FILES}/{trial.name}.env", trial.secrets, 0o600)
    _systemctl("daemon-reload")


def _status(trial: Trial) -> dict[str, Any]:
    found: dict[str, Any] = status.collect(
        [status.StatusRequest(trial.name, trial.port, "127.0.0.1", f"{FILES}/{trial.name}.env")],
        SERVER,
        status.Limits(),
        journal.phases_of(trial.phases),
        trial.failures,
    )["services"][0]
    return found


def _try(trial: Trial, report: Report, check: Callable[[], None]) -> dict[str, Any]:
    begun = time.monotonic()
    report("starting", None)
    _systemctl("start", "--no-block", SERVER.replace("@", "@" + trial.name, 1))
    now = _status(trial)
    while now["state"] != READY:
        check()
        if now["state"] in (FAILED, RESTARTING, STOPPED):
            return _ended(trial, False, time.monotonic() - begun)
        if time.monotonic() - begun > trial.start_timeout:
            return {**_ended(trial, False, time.monotonic() - begun), "late": True}
        report("starting", now)
        time.sleep(_PAUSE)
        now = _status(trial)
    seconds = time.monotonic() - begun
    report("benchmark", None)
    late = _benchmark(trial, check)
    result = _result(trial)
    if late or not result or result.get("failed"):
        return {**_ended(trial, True, seconds), "late": late, "benchmark": result}
    return _outcome(True, seconds, None, [], result)


def _ended(trial: Trial, started: bool, seconds: float) -> dict[str, Any]:
    """The outcome of a trial that failed, with the cause as far as the journal shows it."""
    end = time.monotonic() + _SETTLE
    while True:
        now = _status(trial)
        clear = now["cause"] and now["cause"]["id"] not in _VAGUE
        if clear or time.monotonic() >= end:
            break
        time.sleep(_PAUSE)
    log = now["log"] or (_benchmark_log(trial) if started else [])
    if started and not now["cause"]:
        log = _benchmark_log(trial)
    return _outcome(started, seconds, now["cause"], log, {})


def _outcome(
    started: bool,
    seconds: float,
    cause: dict[str, Any] | None,
    log: Sequence[str],
    result: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "started": started,
        "start_seconds": round(seconds, 1),
        "late": False,
        "cause": cause,
        "log": list(log),
        "benchmark": dict(result),
    }


def _benchmark(trial: Trial, check: Callable[[], None]) -> bool:
    """Run the benchmark to its end; tell whether it took too long."""
    unit = BENCHMARK.replace("@", "@" + trial.name, 1)
    try:
        process.run(
            ["systemctl", "start", unit],
            trial.benchmark_timeout,
            received=lambda _output: check(),
        )
    except process.ProcessTimeout:
        return True
    return False


def _result(trial: Trial) -> dict[str, Any]:
    """The figures of vLLM's result file, without its lists of one entry a request."""
    try:
        data = read_json(_result_file(trial))
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {key: value for key, value in data.items() if isinstance(value, (int, float, str))}


def _benchmark_log(trial: Trial) -> list[str]:
    unit = BENCHMARK.replace("@", "@" + trial.name, 1)
    command = ["journalctl", "--unit", unit, "--lines", "30", "--output", "cat", "--no-pager", "-q"]
    return [journal.clean(line) for line in process.run(command, 30).text.splitlines()][-10:]
