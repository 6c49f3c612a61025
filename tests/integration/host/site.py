# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts, and the collection's playbooks run over them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from ..hosts import environment, scenario, shell

SCENARIO = scenario("preflight")
PROFILES = {
    "a2": "a2-64g",
    "a3": "a3",
    "duo": "duo-96g",
    "small": "a2-32g",
    "broken": "a2-64g",
    "plain": "none",
}

# A2: logic ids 0-7 over NPU ids 24-31 and physical ids 4-7, 0-3; one card ill, one held.
SCRAMBLE = """
systemd-run -q --unit train /bin/sleep 99999
python3 - "$(systemctl show -P MainPID train)" <<'X'
import json, sys
path = "/var/lib/ascend-sim/state.json"
state = json.load(open(path))
for card in state["cards"]:
    card["phy_id"] = (card["logic_id"] + 4) % 8
    card["npu_id"] = card["logic_id"] + 24
state["cards"][5]["processes"] = [{"pid": int(sys.argv[1]), "name": "sleep", "memory_mb": 50000}]
json.dump(state, open(path, "w"))
X
ascend-sim card 2 health=Alarm
"""
# A3: memory of a die is in use, and no process shows.
HIDDEN = "ascend-sim card 5 memory_idle=40000"


class Site:
    """Several hosts, and the collection's playbooks run over them."""

    def __init__(self, inventory: Path, folder: Path) -> None:
        self.inventory = inventory
        self.folder = folder

    def sh(self, host: str, script: str) -> str:
        return shell(SCENARIO, host, script)

    def snapshot(self, host: str) -> str:
        """What the collection could have changed on a host."""
        return self.sh(
            host,
            "find /etc /opt /var/lib/vllm /var/lib/inferops-ascend"
            # The simulator writes these when its cards change.
            " ! -name hccn.conf ! -name ascend-sim.conf -printf '%p %m %u %T@ %l\\n'"
            " 2>/dev/null | sort;"
            " systemctl list-units --all --plain --no-legend 'vllm@*' 'train*'",
        )

    def play(self, book: str, variables: dict[str, dict[str, Any]], *flags: str) -> Play:
        """Run a playbook over the hosts that variables are given for."""
        folder = self.folder / "host_vars"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for host, values in variables.items():
            (folder / f"{host}.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
        inventory = self.folder / "inventory.yml"
        values = yaml.safe_load(self.inventory.read_text(encoding="utf-8"))
        values["all"]["children"] = {"ascend": {"hosts": dict.fromkeys(values["all"]["hosts"])}}
        inventory.write_text(yaml.safe_dump(values), encoding="utf-8")
        name = book if book.endswith(".yml") else f"inferops.ascend.{book}"
        command = ["ansible-playbook", "-i", str(inventory), name]
        command += ["--limit", ",".join(variables), *flags]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, env=environment()
        )
        return Play(done.returncode, done.stdout + done.stderr)


class Play:
    """One run: its status and what it said of each host."""

    def __init__(self, status: int, output: str) -> None:
        self.status = status
        self.output = output

    def refusal(self, host: str) -> str:
        """The message with which a host failed."""
        found = re.search(rf"^fatal: \[{host}\]: FAILED! => (\{{.*\}})$", self.output, re.M)
        assert found, self.output
        return str(json.loads(found.group(1))["msg"])

    def recap(self, host: str, word: str) -> int:
        found = re.search(rf"^{host} .*\b{word}=([0-9]+)", self.output, re.M)
        assert found, self.output
        return int(found.group(1))


def a2(*instances: Any, **more: Any) -> dict[str, Any]:
    return {
        "ascend_host_profile": "atlas-800i-a2-64g",
        "vllm_service_instances": list(instances),
        **more,
    }
