# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on a host of the group ascend_monitoring, whose promtool has to take what is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..hosts import ROOT, environment

PLAY = [
    {
        "hosts": "ascend_monitoring",
        "gather_facts": False,
        "roles": [{"role": "inferops.ascend.vllm_monitoring"}],
    }
]


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the role on this machine, as a host of the group, with Debian's promtool."""
    tools = subprocess.run(
        [str(ROOT / "tests" / "tools" / "dev"), "prometheus"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    known = environment()
    return subprocess.run(
        ["ansible-playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *flags],
        capture_output=True,
        text=True,
        check=False,
        env={**known, "PATH": f"{tools}:{known['PATH']}"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An inventory of a fleet with a gateway, watched from this machine."""
    chat = {"model": "Qwen3-14B", "name": "chat"}
    watcher = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "vllm_monitoring_directory": str(tmp_path / "etc"),
        "vllm_monitoring_config": str(tmp_path / "etc" / "prometheus.yml"),
        "vllm_monitoring_alertmanagers": ["10.0.0.8:9093"],
    }
    groups = {
        "ascend": {
            "vars": {"ascend_host_profile": "atlas-800i-a2-64g", "vllm_service_instances": [chat]},
            "hosts": {"npu-01": {"ansible_host": "10.0.0.1"}, "npu-02": {}},
        },
        "ascend_gateway": {"hosts": {"gw": {"vllm_gateway_metrics_port": 9405}, "gw-2": {}}},
        "ascend_monitoring": {"hosts": {"watcher": watcher}},
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAY))
    return tmp_path


def test_the_configuration_is_complete_and_checked(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load((folder / "etc" / "prometheus.yml").read_text())
    assert [job["job_name"] for job in config["scrape_configs"]] == [
        "vllm",
        "npu-exporter",
        "haproxy",
    ]
    assert config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == [
        "10.0.0.8:9093"
    ]
    found = config["scrape_configs"][2]["file_sd_configs"][0]["files"]
    gateways = yaml.safe_load(Path(found[0]).read_text())
    assert [each["targets"] for each in gateways] == [["gw:9405"], ["gw-2:8405"]]
    before = (folder / "etc" / "prometheus.yml").read_text()

    # What somebody adds beside our rules is checked with them, and a configuration that fails is not written.
    (folder / "etc" / "rules" / "theirs.yml").write_text(
        "groups: [{name: x, rules: [{expr: 1}]}]\n"
    )
    refused = run(folder, "-e", '{"vllm_monitoring_alertmanagers": []}')
    assert refused.returncode != 0
    assert "theirs.yml" in refused.stdout
    assert (folder / "etc" / "prometheus.yml").read_text() == before


def test_a_host_whose_variables_cannot_be_used_is_named(folder: Path) -> None:
    variables = folder / "host_vars" / "npu-02.yml"
    variables.parent.mkdir()
    variables.write_text("vllm_service_instances: [{model: Qwen3-15B}]\n")
    done = run(folder)
    assert done.returncode != 0
    assert "Nothing was written." in done.stdout and "npu-02: " in done.stdout
    assert not (folder / "etc").exists()
