# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example's jobs on hosts: a merge deploys, and drift has an issue until it is gone."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.inferops.ascend.tests.hubs.hub import model, tar_of

from ..hosts import scenario, shell, started
from .fleet import KEY, Fleet

SCENARIO = scenario("pipelines")
HOSTS = ("npu-01", "npu-02")

pytestmark = [pytest.mark.hosts, pytest.mark.long]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    flags = [word for host in HOSTS for word in ("--host", f"{host}:a2-64g")]
    inventory = tmp_path_factory.mktemp("hosts") / "inventory.yml"
    with started(SCENARIO, inventory, *flags):
        yield inventory


@pytest.fixture
def deployed_to(fleet: Fleet, addresses: Path) -> Fleet:
    """The example with the addresses, keys and weights of the test hosts, on its main branch."""
    known = yaml.safe_load(addresses.read_text(encoding="utf-8"))["all"]
    fleet.ssh_key = Path(known["vars"]["ansible_ssh_private_key_file"]).read_text().strip()
    path = fleet.work / "inventory" / "hosts.yml"
    inventory = yaml.safe_load(path.read_text(encoding="utf-8"))
    for host in HOSTS:
        address = known["hosts"][host]["ansible_host"]
        inventory["ascend"]["hosts"][host]["ansible_host"] = address
    fleet.write("inventory/hosts.yml", inventory)
    scan = ["ssh-keyscan", *(each["ansible_host"] for each in known["hosts"].values())]
    keys = subprocess.run(scan, capture_output=True, text=True, check=True).stdout
    fleet.write("known_hosts", keys)
    variables = fleet.work / "inventory" / "group_vars" / "ascend.yml"
    text = variables.read_text(encoding="utf-8")
    variables.write_text(text.replace("source: modelscope", "source: local"))
    for host in HOSTS:
        put_weights(host, "/var/lib/vllm/weights/Qwen/Qwen3-14B")
        put_weights(
            host,
            "/var/lib/vllm/weights/BAAI/bge-large-zh-v1.5",
            architectures=["BertModel"],
            max_position_embeddings=512,
        )
    fleet.commit("Use the test hosts")
    fleet.push("main")
    return fleet


def put_weights(host: str, folder: str, **config: object) -> None:
    archive = base64.b64encode(tar_of(model(shard_bytes=400, **config), top="")).decode()
    script = (
        f"mkdir -p {folder} && echo {archive} | base64 -d | tar -xz --no-same-owner -C {folder}"
    )
    shell(SCENARIO, host, script)


def test_a_merge_deploys_and_drift_has_one_issue_until_it_is_gone(deployed_to: Fleet) -> None:
    fleet = deployed_to
    merge = fleet.github("deploy")
    assert merge.ok, merge.output
    report = json.loads(merge.artifacts["deploy.json"])
    assert (report["complete"], report["ok"]) == (True, True)
    assert report["hosts"] == {"changed": 2}
    assert report["services"] == {"start": 4}
    assert KEY not in merge.output + merge.artifacts["deploy.json"]
    assert not Path(fleet.root, "checkout.temp", "ssh-key").exists()

    shell(SCENARIO, "npu-02", "systemctl stop vllm@qwen3-14b")
    differs = fleet.github("drift")
    assert not differs.ok
    [issue] = fleet.service.open
    assert "### npu-02: differs" in issue["body"]
    assert "qwen3-14b" in issue["body"]
    assert "npu-01" not in issue["body"]
    assert "db-01" not in differs.output + differs.artifacts["verify.json"]

    merge = fleet.gitlab("deploy")
    assert merge.ok, merge.output
    report = json.loads(merge.artifacts["deploy.json"])
    assert report["hosts"] == {"unchanged": 1, "changed": 1}
    same = fleet.gitlab("drift")
    assert same.ok, same.output
    assert fleet.service.open == []
