# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real systemd host with simulated cards, and the collection's role run on it by Ansible."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ROOT / "tests" / "hosts" / "hosts"


def scenario(purpose: str) -> str:
    """Return the name of this checkout's hosts for a purpose.

    Another checkout's tests may run at the same time; this one's next run clears what it left.
    """
    return purpose + "-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]


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


SCENARIO = scenario("pytest")
# Another interpreter of this machine for the modules on the host, for the matrix.
HOST_PYTHON = os.environ.get("INFEROPS_HOST_PYTHON", "")

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Run the role
      ansible.builtin.include_role:
        name: inferops.ascend.vllm_service
    - name: Hand over the result
      ansible.builtin.copy:
        content: "{{ vllm_service_result | to_json }}"
        dest: "{{ result_file }}"
        mode: "0600"
      delegate_to: localhost
      become: false
      vars:
        ansible_connection: local
        ansible_python_interpreter: "{{ ansible_playbook_python }}"
      check_mode: false
"""


@dataclass
class Run:
    """One run of ansible-playbook: its output, its exit status and the module's result."""

    status: int
    output: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result["changed"])

    def service(self, name: str) -> dict[str, Any]:
        return next(each for each in self.result["services"] if each["name"] == name)


@dataclass
class Host:
    """One test host."""

    name: str
    inventory: Path
    folder: Path
    address: str
    variables: dict[str, Any] = field(default_factory=dict)

    def command(self, *flags: str, **variables: Any) -> list[str]:
        """Return the command line that runs the role with these variables."""
        play = self.folder / "play.yml"
        play.write_text(PLAY, encoding="utf-8")
        values = {"result_file": str(self.folder / "result.json"), **self.variables, **variables}
        extra = self.folder / "extra.yml"
        extra.write_text(yaml.safe_dump(values), encoding="utf-8")
        command = ["ansible-playbook", "-i", str(self.inventory), str(play), "-e", f"@{extra}"]
        return [*command, "--limit", self.name, *flags]

    def deploy(self, instances: Any, *flags: str, **variables: Any) -> Run:
        """Run the role and return what it did, whether it failed or not."""
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        command = self.command(*flags, vllm_service_instances=instances, **variables)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, env=environment()
        )
        data = json.loads(result.read_text()) if result.exists() else {}
        return Run(done.returncode, done.stdout + done.stderr, data)

    def sh(self, script: str, check: bool = True) -> str:
        """Run a shell script on the host as root and return what it printed."""
        return shell(SCENARIO, self.name, script, check)

    def pid(self, name: str) -> int:
        return int(self.sh(f"systemctl show -P MainPID vllm@{name}"))

    def environ(self, name: str) -> dict[str, str]:
        text = self.sh(f"cat /proc/{self.pid(name)}/environ")
        return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)

    def snapshot(self) -> str:
        """Return what the collection could have changed: files, units, accounts, processes."""
        return self.sh(
            "find /etc/systemd/system /etc/vllm /var/lib/vllm -printf '%p %m %u %T@ %l\\n' 2>/dev/null | sort;"
            " systemctl list-units --all --plain --no-legend 'vllm@*';"
            " cut -d: -f1 /etc/passwd /etc/group; pgrep -a vllm || true"
        )

    def wait_until_serving(self, port: int, key: str | None = None) -> dict[str, Any]:
        """Wait until the server answers and return its /v1/models."""
        self.sh(
            f"for i in $(seq 60); do curl -sf localhost:{port}/health >/dev/null && exit 0; sleep 0.5;"
            " done; exit 1"
        )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(f"http://{self.address}:{port}/v1/models", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            data: dict[str, Any] = json.load(answer)
        return data

    def status_of(self, path: str, port: int) -> int:
        """Return the HTTP status of one path."""
        try:
            with urllib.request.urlopen(
                f"http://{self.address}:{port}{path}", timeout=10
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return int(error.code)


def environment() -> dict[str, str]:
    """Return the environment of ansible-playbook, without a user's own settings."""
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "tests" / "ansible.cfg")}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a host for this module; return its inventory."""
    flags = ["--host", "h1:a2-64g"]
    if HOST_PYTHON:
        prefix = str(Path(HOST_PYTHON).parents[1])
        flags += ["--mount", f"{prefix}:{prefix}"]
    with started(SCENARIO, tmp_path_factory.mktemp("fleet") / "inventory.yml", *flags) as inventory:
        yield inventory


@pytest.fixture
def host(fleet: Path, tmp_path: Path) -> Iterator[Host]:
    """Give one host on which nothing is deployed, and clean it afterwards."""
    address = yaml.safe_load(fleet.read_text())["all"]["hosts"]["h1"]["ansible_host"]
    it = Host("h1", fleet, tmp_path, address, {"ascend_host_profile": "atlas-800i-a2-64g"})
    if HOST_PYTHON:
        it.variables["ansible_python_interpreter"] = HOST_PYTHON
    yield it
    it.sh(
        "systemctl kill -s KILL 'vllm@*' 2>/dev/null; systemctl stop 'vllm@*' 2>/dev/null;"
        " rm -rf /etc/systemd/system/vllm@* /etc/systemd/system/multi-user.target.wants/vllm@*"
        " /etc/vllm /var/lib/vllm /var/lib/ascend-sim/behaviour.json; userdel vllm 2>/dev/null;"
        " systemctl daemon-reload; systemctl reset-failed; exit 0"
    )
