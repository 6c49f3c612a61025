# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hosts of the benchmark and what is deployed on them."""

from __future__ import annotations

import base64
import io
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure.runs import ROOT, Timing, fail, play, progress, unchanged

TOOL = ROOT / "tests" / "hosts" / "hosts"
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
UNIT = "/etc/systemd/system/vllm@.service"


@dataclass
class Fleet:
    """Hosts h1, h2 ... that carry the first `services` of SERVICES each."""

    work: Path
    inventory: Path
    size: int
    services: int

    @property
    def everyone(self) -> str:
        """All hosts, as a limit."""
        return ",".join(f"h{number + 1}" for number in range(self.size))

    def play(self, playbook: str, hosts: str, *settings: str, **variables: Any) -> Timing:
        """Run a playbook on some of the hosts. The setting `verbose` stands for -vvv."""
        return play(
            self.work,
            playbook,
            *("-i", str(self.inventory), "--limit", hosts),
            *(["-vvv"] if "verbose" in settings else []),
            settings=[each for each in settings if each != "verbose"],
            ascend_host_profile="atlas-800i-a2-64g",
            vllm_service_instances=SERVICES[: self.services],
            **variables,
        )

    def no_change(self, playbook: str, hosts: str, *settings: str, **variables: Any) -> Timing:
        """The same; BenchmarkError if it changes anything."""
        return unchanged(self.play(playbook, hosts, *settings, **variables), playbook)

    def deploy(self, hosts: str) -> None:
        """Deploy the services, and wait until they serve."""
        self.play("inferops.ascend.deploy", hosts)

    def trips(self, playbook: str, *settings: str, **variables: Any) -> int:
        """Count the commands and transfers that a run without a change sends over ssh to h1."""
        output = self.no_change(playbook, "h1", "verbose", *settings, **variables).output
        return len(re.findall(r"^<\S+> SSH: EXEC ", output, re.MULTILINE))

    def loops(self) -> dict[str, Any]:
        """The variables of loops.yml: the files that are on h1, as templates of its tasks."""
        command = "tar -C / -cf - etc/vllm etc/systemd/system/vllm@* | base64"
        data = base64.b64decode(tool("exec", SCENARIO, "h1", "--", "sh", "-c", command))
        templates = self.work / "templates"
        found: list[dict[str, Any]] = []
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    continue
                source = templates / member.name
                source.parent.mkdir(parents=True, exist_ok=True)
                text = content.read().decode("utf-8")
                source.write_text(f"{{% raw %}}{text}{{% endraw %}}", encoding="utf-8")
                found.append(
                    {
                        "src": str(source),
                        "dest": f"/{member.name}",
                        "mode": f"{member.mode & 0o7777:04o}",
                    }
                )
        names = [each["name"] for each in SERVICES[: self.services]]
        kinds = {
            "drop_ins": [f"/etc/systemd/system/vllm@{name}.service.d/" for name in names],
            "settings": [f"/etc/vllm/{name}.yaml" for name in names],
            "secrets": [f"/etc/vllm/{name}.env" for name in names],
            "unit": [UNIT],
        }
        return {
            "benchmark_names": names,
            "benchmark_files": {
                kind: [each for each in found if each["dest"].startswith(tuple(starts))]
                for kind, starts in kinds.items()
            },
        }


def tool(*arguments: str) -> str:
    """Run the command of the test hosts; what it prints."""
    command = [sys.executable, "-B", str(TOOL), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"tests/hosts/hosts {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def started(work: Path, size: int, services: int) -> Iterator[Fleet]:
    """Start hosts, and remove them whatever happens."""
    inventory = work / "inventory.yml"
    names = [word for number in range(size) for word in ("--host", f"h{number + 1}:a2-64g")]
    try:
        progress(f"starting {size} hosts")
        tool("up", SCENARIO, *names, "--inventory", str(inventory))
        yield Fleet(work, inventory, size, services)
    finally:
        # A second Ctrl-C must not leave them behind.
        before = {each: signal.signal(each, signal.SIG_IGN) for each in INTERRUPTS}
        progress("removing the hosts")
        command = [sys.executable, "-B", str(TOOL), "down", SCENARIO]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False, start_new_session=True)
        for each, handler in before.items():
            signal.signal(each, handler)
