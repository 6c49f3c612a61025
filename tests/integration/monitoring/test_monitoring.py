# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook monitoring: npu-exporter on a real host, and the files of a fleet on the controller."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ..hosts import scenario, started
from ..playbooks import Books, Ran

pytestmark = pytest.mark.hosts

SCENARIO = scenario("monitoring")
EXPORTER = "/usr/local/bin/npu-exporter"
UNIT = "/etc/systemd/system/npu-exporter.service"
CHAT = {"model": "Qwen3-32B", "name": "chat", "cards": 2}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """A host, and another that nobody reaches."""
    folder = tmp_path_factory.mktemp("monitoring")
    with started(SCENARIO, folder / "up.yml", "--host", "h1:a2-64g") as inventory:
        made = Books(SCENARIO, inventory, folder)
        hosts = yaml.safe_load(made.inventory.read_text())
        hosts["all"]["hosts"]["lost"] = {"ansible_host": "127.0.0.1", "ansible_port": 1}
        made.inventory.write_text(yaml.safe_dump(hosts))
        yield made


def run(books: Books, *flags: str, **variables: Any) -> Ran:
    """Run the playbook with these variables of the host."""
    books.list_services("h1", CHAT, **variables)
    books.list_services("lost", CHAT)
    directory = str(books.folder / "prometheus")
    where = {
        "vllm_monitoring_directory": directory,
        "vllm_monitoring_targets": f"{directory}/targets",
    }
    return books.run("monitoring", *flags, **where)


def metrics(books: Books) -> str:
    hosts = yaml.safe_load(books.inventory.read_text())["all"]["hosts"]
    address = f"http://{hosts['h1']['ansible_host']}:8082/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_check_mode_writes_nothing(books: Books) -> None:
    ran = run(books, "--check", vllm_monitoring_npu_exporter=EXPORTER)
    assert ran.status == 0, ran.output
    assert books.sh("h1", f"ls {UNIT}", check=False) == ""
    assert not (books.folder / "prometheus").exists()


def test_the_exporter_runs_and_every_host_is_watched(books: Books) -> None:
    ran = run(books, vllm_monitoring_npu_exporter=EXPORTER)
    assert ran.status == 0, ran.output
    books.sh(
        "h1",
        "for i in $(seq 100); do curl -sf localhost:8082 && break; sleep 0.1; done",
        check=False,
    )
    assert 'npu_chip_info_health_status{id="7"' in metrics(books)
    pid = "$(systemctl show -P MainPID npu-exporter)"
    assert books.sh("h1", f"stat -c %U /proc/{pid}; grep CapEff /proc/{pid}/status").split() == [
        "npu-exporter",
        "CapEff:",
        "0000000000000000",
    ]
    exposure = books.sh("h1", "systemd-analyze security npu-exporter --no-pager | tail -1")
    assert float(exposure.split("level for npu-exporter.service: ")[1].split()[0]) <= 2.5, exposure
    targets = yaml.safe_load((books.folder / "prometheus/targets/inferops_vllm.yml").read_text())
    assert [(each["labels"]["host"], each["labels"].get("chip")) for each in targets] == [
        ("h1", "910B3"),
        ("lost", None),
    ]


def test_a_second_run_changes_nothing(books: Books) -> None:
    before = books.sh("h1", "systemctl show -P MainPID npu-exporter")
    ran = run(books, vllm_monitoring_npu_exporter=EXPORTER)
    assert (ran.changed("h1"), ran.changed("localhost")) == (0, 0), ran.output
    assert books.sh("h1", "systemctl show -P MainPID npu-exporter") == before


def test_without_a_binary_the_unit_goes(books: Books) -> None:
    ran = run(books, "--limit", "h1")
    assert ran.status == 0, ran.output
    state = books.sh("h1", f"ls {UNIT}; systemctl is-active npu-exporter", check=False)
    assert state.strip() == "inactive"
