# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's playbooks, run over test hosts as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from .hosts import REMOVE_USERS, environment, shell

PROFILE = "atlas-800i-a2-64g"

CLEAN = (
    "systemctl unmask --quiet 'vllm@*' 2>/dev/null; systemctl kill -s KILL 'vllm@*' 2>/dev/null;"
    " systemctl stop 'vllm@*' train 2>/dev/null; rm -rf /etc/systemd/system/vllm@*"
    " /run/systemd/system/vllm@* /etc/systemd/system/multi-user.target.wants/vllm@*"
    f" /etc/vllm /var/lib/vllm /usr/local/libexec/inferops; {REMOVE_USERS}; systemctl daemon-reload; systemctl reset-failed; ascend-sim reset"
)


@dataclass
class Ran:
    """One run of a playbook."""

    status: int
    output: str

    def changed(self, host: str) -> int:
        """How many tasks changed something on a host, by the recap."""
        found = re.search(rf"^{host} .*\bchanged=([0-9]+)", self.output, re.M)
        assert found, self.output
        return int(found.group(1))


class Books:
    """Hosts of a scenario with variables of their own."""

    limit = 300.0  # seconds of one run

    def __init__(self, scenario: str, inventory: Path, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.inventory = folder / "inventory.yml"
        self.inventory.write_text(inventory.read_text(encoding="utf-8"), encoding="utf-8")
        (folder / "host_vars").mkdir()

    def list_services(self, host: str, *instances: Any, **more: Any) -> None:
        """Write a host's variables."""
        values = {"ascend_host_profile": PROFILE, "vllm_service_instances": list(instances), **more}
        path = self.folder / "host_vars" / f"{host}.yml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")

    def sh(self, host: str, script: str, check: bool = True) -> str:
        """Run a shell script on a host as root."""
        return shell(self.scenario, host, script, check)

    def run(self, book: str, *flags: str, **extra: Any) -> Ran:
        """Run a playbook of the collection."""
        command = ["ansible-playbook", "-i", str(self.inventory), f"inferops.ascend.{book}"]
        command += ["-e", json.dumps(extra), *flags]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=self.limit,
            check=False,
            env=environment(),
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    def verify(self, *flags: str, **extra: Any) -> tuple[Ran, dict[str, dict[str, Any]]]:
        """Run verify and return what it says of each host."""
        path = self.folder / "comparison.json"
        path.unlink(missing_ok=True)
        ran = self.run("verify", *flags, vllm_verify_output=str(path), **extra)
        assert path.exists(), ran.output
        return ran, {each["host"]: each for each in read_report(path, "verify")["results"]}

    def deploy(self, *flags: str, **extra: Any) -> tuple[Ran, dict[str, Any]]:
        """Run deploy and return its report, in which `results` is by host."""
        path = self.folder / "deploy.json"
        path.unlink(missing_ok=True)
        ran = self.run("deploy", *flags, vllm_deploy_report=str(path), **extra)
        assert path.exists(), ran.output
        report = read_report(path, "deploy")
        return ran, {**report, "results": {each["host"]: each for each in report["results"]}}

    def wait_until_serving(self, host: str, *ports: int) -> None:
        """Wait until the servers on these ports are healthy."""
        for port in ports:
            self.sh(
                host,
                f"for i in $(seq 600); do curl -sf localhost:{port}/health >/dev/null && exit 0;"
                " sleep 0.2; done; exit 1",
            )

    def snapshot(self, host: str) -> str:
        """What a run could have changed on a host."""
        return self.sh(
            host,
            "find /etc/systemd/system /etc/vllm /run/systemd/system -printf '%p %m %u %T@ %l\\n'"
            " 2>/dev/null | sort; systemctl list-units --all --plain --no-legend 'vllm@*';"
            " for u in $(systemctl list-units --all --plain --no-legend 'vllm@*' | cut -d' ' -f1);"
            " do systemctl show -P MainPID $u; done",
        )


def read_report(path: Path, playbook: str) -> dict[str, Any]:
    """A file for programs, which has to be as its schema describes it."""
    schemas = Path(__file__).parents[2] / "vars" / "schemas"
    schema = json.loads((schemas / f"{playbook}.schema.json").read_text())
    found: dict[str, Any] = json.loads(path.read_text())
    jsonschema.Draft202012Validator(schema).validate(found)
    return found


def codes(comparison: dict[str, Any]) -> dict[str, list[str]]:
    """The codes of what was found, by service."""
    return {
        service["name"]: [finding["code"] for finding in service["findings"]]
        for service in comparison["services"]
        if service["findings"]
    }
