# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of the campaign: runs of the module that are recorded once and made again, killed or not."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.hosts import inside, reboot
from integration.service.role import SCENARIO, Host

PLACE = "/opt/campaign"
MODULE = "/home/deploy/.ansible/tmp/*/AnsiballZ_systemd_instances.py"
FILES = Path(__file__).parent


def service(name: str, card: int, **more: Any) -> dict[str, Any]:
    return {"model": "Qwen3-0.6B", "name": name, "cards": [card], **more}


# Two services swap their cards, one gets the card of one that goes, and a new one gets its.
BEFORE = [service("one", 0), service("two", 1), service("three", 3), service("gone", 2)]
AFTER = [
    service("one", 1, max_model_len=8192),
    service("two", 0),
    service("three", 2),
    service("new", 3),
]

# A change of the unit of all services.
UNIT = {"vllm_service_start_limit_burst": 7}


def cards_of(services: list[dict[str, Any]]) -> dict[str, list[int]]:
    return {each["name"]: each["cards"] for each in services}


@dataclass
class Result:
    """How a run of the module ended. status: its exit status, negative the signal that ended it."""

    status: int
    result: dict[str, Any]


class Target:
    """A host, and the runs that were recorded on it by name."""

    def __init__(self, host: Host) -> None:
        self.host = host
        for name in ("killed.py", "state.py"):
            target = f"{PLACE}/{'sitecustomize.py' if name == 'killed.py' else name}"
            text = shlex.quote((FILES / name).read_text("utf-8"))
            host.sh(f"mkdir -p {PLACE} && printf %s {text} > {target}")

    def record(self, name: str, services: list[dict[str, Any]], **settings: Any) -> None:
        """Deploy, and keep what Ansible ran on the host. ANSIBLE_KEEP_REMOTE_FILES has to be set."""
        run = self.host.deploy(services, vllm_service_wait=False, **settings)
        assert run.status == 0, run.output
        self.host.sh(f"mv $(ls -t {MODULE} | head -1) {PLACE}/{name}.module")

    def run(self, name: str, at: int = 0, log: str = "") -> Result:
        """Run a recorded module again. at: the operation before which it is killed; log: file for all."""
        script = (
            f"PYTHONPATH={PLACE} KILL_AT={at} KILL_LOG={log} exec python3 {PLACE}/{name}.module"
        )
        done = inside(SCENARIO, self.host.name, "sh", "-c", script)
        try:
            result = json.loads(done.stdout)
        except ValueError:
            result = {"msg": done.stdout + done.stderr}
        return Result(done.returncode, result)

    def operations(self, name: str) -> list[str]:
        """What a recorded run does, in order. It is run."""
        done = self.run(name, log=f"{PLACE}/log")
        assert done.status == 0, done.result
        return self.host.sh(f"cat {PLACE}/log").splitlines()

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.host.sh(f"python3 {PLACE}/state.py"))
        return state

    def reboot(self) -> None:
        """Restart the host and wait until everything that is started at boot was started."""
        reboot(SCENARIO, self.host.name)
        self.host.sh(
            "for i in $(seq 600); do systemctl is-active -q multi-user.target && exit 0; sleep 0.1; done;"
            " exit 1"
        )


def owners(cards: dict[str, list[int]]) -> dict[int, list[str]]:
    """The services of each card that has more than one."""
    found: dict[int, list[str]] = {}
    for name, numbers in cards.items():
        for number in numbers:
            found.setdefault(number, []).append(name)
    return {number: names for number, names in found.items() if len(names) > 1}
