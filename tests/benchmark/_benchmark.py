# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of whole runs of ansible-playbook and of their tasks, as ratios between variants.

The variants of a comparison take turns, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from ansible.release import __version__ as ansible_version

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOSTS = ROOT / "tests" / "hosts" / "hosts"
TEMPLATES = ROOT / "roles" / "vllm_service" / "templates"
TABLE = ROOT / "vars" / "model_tables" / "ascend-64gb.yml"
SCENARIO = "benchmark"
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Eight services of one card each, as a host of eight cards carries them; every second has a secret.
SERVICES: list[dict[str, Any]] = [
    {"name": "s1", "model": "Qwen3-0.6B", "api_key": "benchmark-key-1"},
    {"name": "s2", "model": "Qwen3-1.7B", "env": {"OMP_NUM_THREADS": 10}},
    {"name": "s3", "model": "Qwen3-4B", "api_key": "benchmark-key-3"},
    {"name": "s4", "model": "Qwen3-8B", "max_model_len": "16K"},
    {"name": "s5", "model": "Qwen3-14B", "api_key": "benchmark-key-5"},
    {"name": "s6", "model": "Qwen3-0.6B", "args": {"enable-prefix-caching": True}},
    {"name": "s7", "model": "Qwen3-1.7B", "api_key": "benchmark-key-7"},
    {"name": "s8", "model": "Qwen3-14B"},
]
LOOPS = ("ansible.builtin.template", "ansible.builtin.systemd_service")
STEPS = {
    "role": ("inferops.ascend.systemd_instances",),
    "loops": LOOPS,
    "ping": ("ansible.builtin.ping",),
}


class BenchmarkError(Exception):
    """What went wrong, with the way out."""


def fail(text: str) -> NoReturn:
    raise BenchmarkError(text)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Timing:
    """Seconds of one run: on the clock, of the processor here, and of each task."""

    wall: float
    cpu: float
    tasks: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""

    def step(self, actions: Sequence[str]) -> float:
        return sum(float(task["seconds"]) for task in self.tasks if task["action"] in actions)

    @property
    def changed(self) -> list[str]:
        return [f"{task['task']}: {said}" for task in self.tasks for said in task["changed"]]


def play(
    work: Path, playbook: str, *arguments: str, flags: Sequence[str] = (), **variables: Any
) -> Timing:
    """Run one playbook of this folder with these settings and extra variables."""
    extra = work / "extra.json"
    extra.write_text(json.dumps(variables), encoding="utf-8")
    times = work / "times.json"
    times.unlink(missing_ok=True)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", ""),
        "ANSIBLE_CONFIG": str(ROOT / "tests" / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "step_times",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(work / "cp"),
        "STEP_TIMES": str(times),
        **dict(flag.split("=", 1) for flag in flags),
    }
    command = ["ansible-playbook", str(HERE / playbook), "-e", f"@{extra}", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        fail(
            f"{playbook} failed, so there is nothing to measure:\n{done.stdout[-4000:]}{done.stderr}"
        )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(wall, cpu, json.loads(times.read_text(encoding="utf-8")), done.stdout)


def rounds(
    count: int,
    variants: dict[str, Callable[[], Timing]],
    title: str,
    often: Sequence[str] = (),
    times: int = 1,
) -> dict[str, list[Timing]]:
    """Run every variant once per round, each round in another order.

    Those named in `often`, which are quick, run `times` times a round, half of them before the
    others and half after.
    """
    timings: dict[str, list[Timing]] = {name: [] for name in variants}
    others = [name for name in variants if name not in often]
    for number in range(count):
        say(f"{title}: round {number + 1} of {count}")
        quick = [name for each in range(times) for name in (often, often[::-1])[each % 2]]
        half = times // 2 * len(often)
        turn = number % len(others)
        for name in [*quick[:half], *others[turn:], *others[:turn], *quick[half:]]:
            timings[name].append(variants[name]())
    return timings


def figure(value: float) -> str:
    """Return three digits, which is more than a shared machine repeats."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def spread(values: Sequence[float]) -> str:
    """Return the median with the least and the greatest."""
    return f"{figure(statistics.median(values))} ({figure(min(values))}-{figure(max(values))})"


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(over) / statistics.median(under)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column is text, the others are figures."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())
    sys.stdout.flush()


# The converge


@dataclass
class Fleet:
    """The hosts of the benchmark, and what the loops need to know of the services on them."""

    work: Path
    inventory: Path

    def play(self, playbook: str, hosts: str, count: int, *flags: str, **variables: Any) -> Timing:
        return play(
            self.work,
            playbook,
            *("-i", str(self.inventory), "--limit", hosts),
            *(["-vvv"] if "verbose" in flags else []),
            flags=[flag for flag in flags if flag != "verbose"],
            ascend_host_profile="atlas-800i-a2-64g",
            vllm_service_instances=SERVICES[:count],
            **variables,
        )

    def deploy(self, hosts: str, count: int) -> dict[str, Any]:
        """Bring the first services to the hosts; return the variables of loops.yml."""
        placed_file = self.work / "placed.json"
        self.play("placed.yml", hosts, count, benchmark_placed_file=str(placed_file))
        services = json.loads(placed_file.read_text(encoding="utf-8"))
        one = hosts.split(",")[0]
        for service in services:
            drop_in = self.read(
                one, f"/etc/systemd/system/vllm@{service['name']}.service.d/placement.conf"
            )
            service["digest"] = value(drop_in, "INFEROPS_DIGEST")
            if "api_key" in service:
                secret = self.read(one, f"/etc/vllm/{service['name']}.env")
                service["digest_of_secrets"] = value(secret, "INFEROPS_SECRET_DIGEST")
        # The role's module puts a line before each file, which here stands in the templates.
        shared = self.read(one, "/etc/systemd/system/vllm@.service").splitlines(keepends=True)[0]
        own = drop_in.splitlines(keepends=True)[0]
        own = own.replace(f"vllm@{service['name']}.", "vllm@{{ instance.name }}.")
        templates = self.work / "templates"
        templates.mkdir(exist_ok=True)
        for template in TEMPLATES.glob("*.j2"):
            line = shared if template.name.startswith("vllm@") else own
            text = line + template.read_text(encoding="utf-8")
            (templates / template.name).write_text(text, encoding="utf-8")
        return {"benchmark_services": services, "benchmark_templates": str(templates)}

    def read(self, host: str, path: str) -> str:
        return hosts_tool("exec", SCENARIO, host, "--", "cat", path)

    def trips(self, playbook: str, count: int, *flags: str, **variables: Any) -> int:
        """Count the commands and transfers that one run sends over ssh to one host."""
        output = self.play(playbook, "h1", count, "verbose", *flags, **variables).output
        return len(re.findall(r"^<\S+> SSH: EXEC ", output, re.MULTILINE))


def value(text: str, name: str) -> str:
    """Return what stands after `name=` on a line of its own or of `Environment=`."""
    return next(line.split(f"{name}=")[1] for line in text.splitlines() if f"{name}=" in line)


def hosts_tool(*arguments: str) -> str:
    command = [sys.executable, "-B", str(HOSTS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"tests/hosts/hosts {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def fleet(work: Path, count: int) -> Iterator[Fleet]:
    """Start hosts, and remove them whatever happens."""
    inventory = work / "inventory.yml"
    names = [word for number in range(count) for word in ("--host", f"h{number + 1}:a2-64g")]
    try:
        say(f"starting {count} hosts")
        hosts_tool("up", SCENARIO, *names, "--inventory", str(inventory))
        yield Fleet(work, inventory)
    finally:
        # A second Ctrl-C must not leave them behind.
        before = {each: signal.signal(each, signal.SIG_IGN) for each in INTERRUPTS}
        say("removing the hosts")
        command = [sys.executable, "-B", str(HOSTS), "down", SCENARIO]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False, start_new_session=True)
        for each, handler in before.items():
            signal.signal(each, handler)


def converge(work: Path, count: int, host_count: int) -> None:
    """Compare a no-change run of the role with the loops and with a ping."""
    with fleet(work, host_count) as hosts:
        trips(hosts)
        everyone = ",".join(f"h{number + 1}" for number in range(host_count))
        say(f"deploying {len(SERVICES)} services on {host_count} hosts")
        variables = hosts.deploy(everyone, len(SERVICES))
        steps: list[tuple[str, ...]] = []
        whole: list[tuple[str, ...]] = []
        try:
            for name in ("h1", everyone):
                for pipelining in ("0", "1"):
                    number = 1 if name == "h1" else host_count
                    title = f"{number} host{'s' if number > 1 else ''}"
                    title += ", pipelining" if pipelining == "1" else ""
                    slow = count if number == 1 else max(1, count // 2)
                    timings = no_change(hosts, name, slow, 3 * count, pipelining, variables)
                    steps.append(row(title, {k: [t.step(STEPS[k]) for t in v] for k, v in timings}))
                    whole.append(row(title, {k: [t.wall for t in v] for k, v in timings}))
        finally:
            # What was measured before an interruption is worth reading.
            print_converge(steps, whole, count)


def print_converge(steps: list[tuple[str, ...]], whole: list[tuple[str, ...]], count: int) -> None:
    head = ("", "role", "loops", "ping", "loops/role", "role/ping")
    services = f"{len(SERVICES)} services a host, nothing to change; seconds, median (least-most)"
    table(f"The converge step: {services}", head, steps)
    print("  role: systemd_instances; loops: template and systemd_service tasks; ping: ping")
    print(
        f"  runs of loops: {count}, on several hosts {max(1, count // 2)}; of the others {3 * count}"
    )
    print("  aim: loops/role 15 or more, role/ping 2 or less")
    table(f"The whole of ansible-playbook: {services}", head, whole)


def row(title: str, seconds: dict[str, list[float]]) -> tuple[str, ...]:
    return (
        title,
        *(spread(seconds[name]) for name in ("role", "loops", "ping")),
        f"{ratio(seconds['loops'], seconds['role']):.1f}",
        f"{ratio(seconds['role'], seconds['ping']):.2f}",
    )


def no_change(
    hosts: Fleet,
    names: str,
    slow: int,
    quick: int,
    pipelining: str,
    variables: dict[str, Any],
) -> Any:
    """Run the loops `slow` times and the others about `quick` times; return timings by name."""
    flag = f"ANSIBLE_PIPELINING={pipelining}"

    def variant(name: str) -> Callable[[], Timing]:
        def run() -> Timing:
            extra = variables if name == "loops" else {}
            timing = hosts.play(f"{name}.yml", names, len(SERVICES), flag, **extra)
            if timing.changed:
                fail(f"{name}.yml was to change nothing, but it did:\n" + "\n".join(timing.changed))
            return timing

        return run

    # ssh connections are kept open between runs, as Ansible does by default; open them now.
    variant("ping")()
    number = names.count(",") + 1
    title = f"{number} host(s), pipelining {'on' if pipelining == '1' else 'off'}"
    variants = {name: variant(name) for name in STEPS}
    times = max(1, quick // slow)
    return rounds(slow, variants, title, often=("role", "ping"), times=times).items()


def trips(hosts: Fleet) -> None:
    """Count what goes over ssh for 1, 4 and 8 services."""
    counts: dict[tuple[str, str], list[int]] = {}
    numbers = (1, 4, 8)
    for number in numbers:
        say(f"counting round trips for {number} services")
        variables = hosts.deploy("h1", number)
        for pipelining in ("off", "on"):
            flag = f"ANSIBLE_PIPELINING={int(pipelining == 'on')}"
            for name in STEPS:
                extra = variables if name == "loops" else {}
                count = hosts.trips(f"{name}.yml", number, flag, **extra)
                counts.setdefault((name, pipelining), []).append(count)
    table(
        "Commands and transfers over ssh to one host, nothing to change",
        ("", *(f"{number} service{'s' if number > 1 else ''}" for number in numbers)),
        [
            (f"{name}, pipelining {pipelining}", *map(str, counts[name, pipelining]))
            for pipelining in ("off", "on")
            for name in STEPS
        ],
    )
    print("  pipelining is off by default in Ansible")


# The lookup


def lookup(work: Path, count: int) -> None:
    """Compare a play that prints what the lookup says with one that prints a constant."""
    models = [row["model"] for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))["rows"]]
    variants: dict[str, Callable[[], Timing]] = {}

    def add(title: str, playbook: str, what: str) -> None:
        variants[title] = lambda: play(work, playbook, what=what, models=models)

    add("debug alone", "lookup.yml", "plain")
    add("lookup of one model", "lookup.yml", "one")
    add(f"lookup of all {len(models)}", "lookup.yml", "all")
    add(f"loop of {len(models)} debug alone", "lookup_loop.yml", "plain")
    add(f"loop of {len(models)} lookups", "lookup_loop.yml", "one")
    for run in variants.values():
        run()
    timings = rounds(count, variants, "lookup")
    rows = []
    base = ""
    for title, runs in timings.items():
        base = title if "alone" in title else base
        wall, cpu = [run.wall for run in runs], [run.cpu for run in runs]
        plain = timings[base]
        rows.append(
            (
                title,
                spread(wall),
                f"{ratio(wall, [run.wall for run in plain]):.3f}",
                spread(cpu),
                f"{ratio(cpu, [run.cpu for run in plain]):.3f}",
                str(len(runs)),
            )
        )
    head = ("", "seconds", "ratio", "processor seconds", "ratio", "rounds")
    table("The lookup: a whole ansible-playbook, median (least-most)", head, rows)
    print("  ratio: to the row with `debug alone` above it; aim: 1.10 or less")


def heading() -> str:
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"ansible-core {ansible_version}, Python {platform.python_version()}, {cores} cores shared by the"
        f" controller and the hosts, load {load:.1f} at the start"
    )


def interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="run", description="Print ratios of speed.")
    parser.add_argument("--only", choices=["lookup", "converge"], help="default: both")
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="how often the slow variant of the converge runs; quick runs are three times as many",
    )
    parser.add_argument("--hosts", type=int, default=8, help="of the larger fleet")
    arguments = parser.parse_args()
    for each in INTERRUPTS:
        signal.signal(each, interrupt)
    work = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        print(heading(), flush=True)
        if arguments.only != "converge":
            lookup(work, 3 * arguments.rounds)
        if arguments.only != "lookup":
            converge(work, arguments.rounds, arguments.hosts)
    except BenchmarkError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0
