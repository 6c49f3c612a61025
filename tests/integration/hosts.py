# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real systemd hosts with simulated cards, and how tests run things on them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ROOT / "tests" / "hosts" / "hosts"

# Users that services had to themselves, and their state.
REMOVE_USERS = (
    "for user in $(sed -n 's/^\\([^:]*\\):.*:inferops.ascend .*/\\1/p' /etc/passwd); do userdel $user; done;"
    " rm -rf /var/lib/vllm-services"
)


def scenario(purpose: str) -> str:
    """Return the name of this checkout's hosts for a purpose.

    Tests of another checkout, and another worker of this run, may use theirs at the same time; the
    next run of the same purpose removes what an interrupted one left.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return f"{purpose}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}{worker}"


@contextmanager
def started(name: str, inventory: Path, *flags: str) -> Iterator[Path]:
    """Start the hosts of a scenario, hand over their inventory, and remove them afterwards."""
    command = [sys.executable, str(HOSTS), "up", name, "--inventory", str(inventory), *flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"the test hosts did not start:\n{done.stdout}{done.stderr}"
        yield inventory
    finally:
        subprocess.run([sys.executable, str(HOSTS), "down", name], check=False)
        for key in [key for key in _first if key[0] == name]:
            del _first[key]


# The first process of each host. Entering its namespaces takes a hundredth of `hosts exec`.
_first: dict[tuple[str, str], str] = {}
INSIDE = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "container": "podman",
}


def inside(name: str, host: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a host of a scenario as root."""
    key = (name, host)
    if not Path("/proc", _first.get(key, "none")).exists():  # not started yet, or restarted
        command = [sys.executable, str(HOSTS), "pid", name, host]
        _first[key] = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
    return subprocess.run(
        ["nsenter", "--target", _first[key], "--all", "--", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=INSIDE,
    )


def shell(name: str, host: str, script: str, check: bool = True) -> str:
    """Run a shell script on a host of a scenario as root and return what it printed."""
    done = inside(name, host, "sh", "-c", script)
    if check and done.returncode != 0:
        raise AssertionError(f"{script!r} on {host} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def address(name: str, host: str) -> str:
    """The address by which the other hosts of a scenario reach a host."""
    return inside(name, host, "hostname", "-I").stdout.split()[0]


def command(*words: str) -> None:
    """Run a command of the test hosts."""
    subprocess.run([sys.executable, str(HOSTS), *words], check=True)


def reboot(name: str, host: str) -> None:
    """Restart a host and wait until it is back."""
    command("reboot", name, host)


@contextmanager
def cut(name: str, host: str, other: str, *flags: str) -> Iterator[None]:
    """Cut the network between two hosts and heal it afterwards."""
    command("cut", name, host, other, *flags)
    try:
        yield
    finally:
        command("heal", name, host, other)


def kill_worker(name: str, host: str, unit: str, title: str = "VLLM::") -> None:
    """End the processes of a unit whose title begins so, by SIGKILL as the kernel would."""
    script = (
        'group=$(systemctl show -P ControlGroup "$1"); found=; for base in /sys/fs/cgroup/systemd'
        ' /sys/fs/cgroup; do for pid in $(cat "$base$group/cgroup.procs" 2>/dev/null); do'
        ' if grep -qa "^$2" /proc/$pid/cmdline; then kill -9 $pid; found=1; fi; done; done;'
        ' test "$found"'
    )
    done = inside(name, host, "sh", "-c", script, "sh", unit, title)
    assert done.returncode == 0, f"{host}: {unit} has no process {title}: {done.stderr}"


# Another interpreter of this machine for the modules on the host, for the matrix.
HOST_PYTHON = os.environ.get("INFEROPS_HOST_PYTHON", "")


def environment() -> dict[str, str]:
    """Return the environment of ansible-playbook, without a user's own settings."""
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "tests" / "ansible.cfg")}
