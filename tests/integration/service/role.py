# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vllm_service, run on a test host by Ansible."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..hosts import environment, scenario, shell

SCENARIO = scenario("service")


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

    def exposure(self, name: str) -> float:
        """Return what systemd-analyze says of the unit that runs: 0 to 10, from confined to exposed."""
        lines = self.sh(f"systemd-analyze security --no-pager vllm@{name}").strip().splitlines()
        return float(lines[-1].rpartition(": ")[2].split()[0])

    def snapshot(self) -> str:
        """Return what the collection could have changed: files, units, accounts, processes."""
        return self.sh(
            "find /etc/systemd/system /etc/vllm /var/lib/vllm* -printf '%p %m %u %T@ %l\\n' 2>/dev/null | sort;"
            " systemctl list-units --all --plain --no-legend 'vllm@*';"
            " cut -d: -f1 /etc/passwd /etc/group; pgrep -a vllm || true"
        )

    def wait_until_serving(self, port: int, key: str | None = None) -> dict[str, Any]:
        """Wait until the server answers and return its /v1/models."""
        self.sh(
            f"for i in $(seq 600); do curl -sf localhost:{port}/health >/dev/null && exit 0; sleep 0.2;"
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
