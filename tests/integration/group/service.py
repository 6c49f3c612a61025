# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One service over two test hosts, deployed by the playbooks of the collection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..hosts import scenario, started
from ..playbooks import CLEAN, Books

HOSTS = ["h1", "h2"]
SECRET = "0123456789abcdef" * 4
SETTINGS = {
    "vllm_service_cluster_secret": SECRET,
    "vllm_service_cluster_lost_after": 5,
    "vllm_service_shutdown_timeout": 10,
    "vllm_service_restart_delay": 1,
    "vllm_service_ready_timeout": 120,
    "vllm_service_ready_interval": 1,
}
BIG = {
    "model": "Qwen3-32B",
    "name": "big",
    "engine": "native",
    "cards": [0, 1],
    "tensor_parallel_size": 2,
    "pipeline_parallel_size": 2,
}


class Group(Books):
    """Two hosts with a service over both."""

    def list(self, *, apart: dict[str, dict[str, Any]] | None = None, **changed: Any) -> None:
        """List the service on its hosts. apart: {host: variables that differ there}."""
        for rank, host in enumerate(HOSTS):
            cluster = {"leader": HOSTS[0], "rank": rank, "hosts": HOSTS}
            more = {**SETTINGS, **(apart or {}).get(host, {})}
            self.list_services(host, {**BIG, **changed, "cluster": cluster}, **more)

    def clear(self) -> None:
        for host in HOSTS:
            self.sh(host, CLEAN, check=False)

    def until(self, host: str, script: str) -> None:
        """Wait until a shell script succeeds on a host."""
        self.sh(host, f"for i in $(seq 600); do {script} && exit 0; sleep 0.2; done; exit 1")

    def guard(self, host: str, text: str) -> None:
        """Wait until the guard of a host reports a text."""
        self.until(host, f"systemctl show -P StatusText vllm@big | grep -qF '{text}'")

    def serve(self) -> None:
        """Wait until all members run and the leader answers."""
        for host in HOSTS:
            self.guard(host, "running since")
        self.wait_until_serving(HOSTS[0], 8000)

    def completions(self) -> int:
        """How many completions the leader has served."""
        text = self.sh(HOSTS[0], "curl -sf localhost:8000/metrics")
        return sum(
            int(float(number))
            for number in re.findall(r"^vllm:request_success_total\S* (\S+)$", text, re.M)
        )

    def ended(self, host: str) -> float:
        """When the service's unit of a host was stopped last, in seconds."""
        lines = self.sh(host, "journalctl -b -u vllm@big -o short-unix | grep ' Stopped vllm@big'")
        return float(lines.splitlines()[-1].split()[0])

    @contextmanager
    def without(self, host: str) -> Iterator[None]:
        """Have Ansible not reach a host, which goes on as it was."""
        before = self.inventory.read_text()
        values = yaml.safe_load(before)
        values["all"]["hosts"][host].update(ansible_host="192.0.2.1", ansible_ssh_timeout=2)
        self.inventory.write_text(yaml.safe_dump(values))
        try:
            yield
        finally:
            self.inventory.write_text(before)


@contextmanager
def two_hosts(purpose: str, folder: Path) -> Iterator[Group]:
    """Start two hosts on which nothing is deployed."""
    name = scenario(f"group-{purpose}")
    flags = [flag for host in HOSTS for flag in ("--host", f"{host}:a2-64g")]
    with started(name, folder / "hosts.yml", *flags) as inventory:
        yield Group(name, inventory, folder)


def text_of(output: str) -> str:
    """An output of Ansible in one line, without the quotes around lines of a table."""
    return re.sub(r'[\s",]+', " ", output)
