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


def shell(name: str, host: str, script: str, check: bool = True) -> str:
    """Run a shell script on a host of a scenario as root and return what it printed."""
    command = [sys.executable, str(HOSTS), "exec", name, host, "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{script!r} on {host} ended with {done.returncode}: {done.stderr}")
    return done.stdout


# Another interpreter of this machine for the modules on the host, for the matrix.
HOST_PYTHON = os.environ.get("INFEROPS_HOST_PYTHON", "")


def environment() -> dict[str, str]:
    """Return the environment of ansible-playbook, without a user's own settings."""
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "tests" / "ansible.cfg")}
