# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of a plan's hosts, plays of one's own, and what is printed."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import load_profiles

from ..playbooks import read_report
from .site import PROFILE, Site


def test_a_mixed_fleet(site: Site) -> None:
    site.profile = None
    site.group(
        {"model": "QwQ-32B", "replicas": "all", "hosts": "a2*"},
        {"model": "Qwen2.5-72B", "name": "large"},
        hosts={
            "a2-64": {"ascend_host_profile": "atlas-800i-a2-64g", "vllm_service_cards": 2},
            "a2-32": {"ascend_host_profile": "atlas-800i-a2-32g"},
            "a3": {"ascend_host_profile": "atlas-800i-a3", "ascend_host_excluded_cards": [0]},
        },
    )
    outcome = site.planned()
    where = site.where()
    assert where == {
        "a2-32": {"qwq-32b": [0, 1, 2, 3]},
        "a2-64": {"qwq-32b": [0, 1]},
        "a3": {"large": where["a3"]["large"]},
    }
    assert len(where["a3"]["large"]) == 4
    assert where["a3"]["large"][0] % 4 == 0
    assert "large: not for hosts of atlas-800i-a2-32g" in outcome.words


def test_a_service_larger_than_a_host_takes_whole_ones(site: Site) -> None:
    site.group(
        {"model": "Qwen3-235B-A22B", "name": "big"},
        "Qwen3-14B",
        hosts=["npu-01", "npu-02", "npu-03"],
    )
    site.planned()
    own = site.variables()
    parts = {
        host: each
        for host, variables in own.items()
        for each in variables["vllm_service_instances"]
        if each["name"] == "big"
    }
    assert len(parts) == 2
    hosts = sorted(parts)
    for rank, host in enumerate(hosts):
        part = parts[host]
        assert part["cards"] == list(range(8))
        assert (part["data_parallel_size"], part["tensor_parallel_size"]) == (2, 8)
        assert part["engine"] == "data_parallel"
        assert part["cluster"] == {"leader": hosts[0], "rank": rank, "hosts": hosts}
    assert not site.planned().changed
    deployed = site.deployed()
    for host in hosts:
        assert deployed[host]["big"] == (list(range(8)), 8000, 65536)


NPU_SMI = """\
#!/bin/sh
case "$*" in
    info) cat {data}/a3-16-dies-info.txt ;;
    "info -m") cat {data}/a3-16-dies-m.txt ;;
    *) exit 1 ;;
esac
"""


def test_only_hosts_that_do_not_say_what_they_have_are_asked(
    site: Site, repository: Path, report: Path
) -> None:
    npu_smi = site.write(
        "npu-smi", NPU_SMI.format(data=repository / "tests" / "unit" / "data" / "npu-smi")
    )
    npu_smi.chmod(0o755)
    asked = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "ascend_host_npu_smi": str(npu_smi),
    }
    declared = {"ascend_host_profile": PROFILE, "ansible_ssh_executable": "/bin/false"}
    site.profile = None
    site.group(
        {"model": "Qwen3-14B", "replicas": "all"}, hosts={"npu-01": declared, "npu-02": asked}
    )
    outcome = site.planned()
    assert "npu-02: no ascend_host_profile is declared. By its cards it is atlas-800i-a3" in (
        outcome.words
    )
    assert sorted(site.where()) == ["npu-01", "npu-02"]
    away = {"ansible_ssh_executable": "/bin/false", "ansible_ssh_retries": 0}
    site.group(
        {"model": "Qwen3-14B", "replicas": "all"},
        hosts={
            "npu-01": declared,
            "npu-02": {**asked, "ascend_host_npu_smi": "/nowhere"},
            "npu-03": away,
            "npu-04": asked,
        },
    )
    said = site.refused(vllm_plan_json=str(report))
    for host in ("npu-02", "npu-03"):
        assert re.search(
            f"{host}: it could not be asked for its cards \\(.+?\\), which its variables do not",
            said,
        )
    assert "If it has no cards, set vllm_plan_services for a group" in said
    assert [each["hosts"] for each in read_report(report, "plan")["problems"]] == [
        ["npu-02"],
        ["npu-03"],
    ]


def test_tables_and_estimates_of_the_role_count(site: Site) -> None:
    site.write(
        "files/own.yml",
        {
            "table": "own",
            "updated": "2026-01-31",
            "conditions": {"gpu_memory_utilization": 0.9, "card_memory_gb": 64},
            "rows": [
                {"model": "our-tune", "min_cards": 2, "max_model_len_k": 8, "kind": "generate"}
            ],
        },
    )
    site.group("our-tune", hosts=["npu-01"], ascend_model_tables=["files/own.yml"])
    site.planned()
    text = site.file("npu-01").read_text()
    assert "# figures: table own, row 1, 2026-01-31, measured" in text
    assert "cards: [0, 1]" in text


def test_the_role_runs_in_a_play_of_all_hosts(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": 2}, hosts=["npu-01", "npu-02", "npu-03"])
    site.write(
        "play.yml",
        [
            {
                "hosts": "ascend",
                "gather_facts": False,
                "tasks": [
                    {
                        "ansible.builtin.include_role": {"name": "inferops.ascend.vllm_plan"},
                        "run_once": True,
                    }
                ],
            }
        ],
    )
    outcome = site.run("ansible-playbook", "-i", "hosts.yml", "play.yml")
    assert outcome.status == 0, outcome.output
    assert sum(map(len, site.where().values())) == 2
    assert not site.planned().changed


def test_a_pattern_of_several_groups(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01", "npu-02", "npu-03"])
    site.planned(ascend_hosts="ascend:!npu-02")
    assert sorted(site.where()) == ["npu-01", "npu-03"]


def test_hosts_are_a_list_of_patterns_too(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01", "npu-02", "npu-03"])
    site.planned(ascend_hosts=["npu-01", "npu-03"])
    assert sorted(site.where()) == ["npu-01", "npu-03"]


def test_what_is_printed_fits_80_columns(site: Site) -> None:
    """With all that Ansible puts around it, and but for a path that is longer by itself."""
    site.group(
        {"model": "Qwen3-235B-A22B", "name": "assistant-of-the-second-line-of-the-support-desk"},
        {"model": "bge-large-zh-v1.5", "replicas": "all", "hosts": "npu-0*"},
        hosts={
            "npu-0001.rack-12.row-3.hall-b.example.com": {},
            "npu-a3": {"ascend_host_profile": "atlas-800i-a3"},
            "duo": {"ascend_host_profile": "atlas-300i-duo-96g", "vllm_service_cards": 8},
        },
    )
    ran = site.planned()
    assert "not for hosts of atlas-300i-duo-96g (8 cards of 48 GB)" in ran.words
    lines = ran.output.split("Show the plan", 1)[1].split("PLAY RECAP")[0].splitlines()[1:]
    assert any("0123 4567 8901 2345  services" in line for line in lines)
    assert [line for line in lines if len(line) > 80 and max(map(len, line.split())) < 60] == []


def test_pages_are_written_once(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": 2}, hosts=["npu-01", "npu-02"])
    pages = {"vllm_plan_markdown": "pages/plan.md", "vllm_plan_html": "pages/plan.html"}
    assert site.planned(**pages).changed
    before = site.tree()
    assert "qwen3-14b" in before["inventory/pages/plan.md"]
    assert "<html" in before["inventory/pages/plan.html"]
    assert not site.planned(**pages).changed
    assert site.tree() == before
    site.group({"model": "Qwen3-14B", "replicas": 1}, hosts=["npu-01", "npu-02"])
    assert site.planned(**pages).changed
    assert site.tree()["inventory/pages/plan.md"] != before["inventory/pages/plan.md"]


def test_every_profile_can_be_planned(site: Site) -> None:
    hosts = {
        name: {"ascend_host_profile": name, "vllm_service_cards": kind.cards or 8}
        for name, kind in load_profiles().items()
    }
    site.profile = None
    site.group(
        {"model": "Qwen3-0.6B", "replicas": "all"}, hosts=hosts, vllm_service_allow_untested=True
    )
    site.planned()
    assert sorted(site.where()) == sorted(hosts)
    shutil.rmtree(site.root / "host_vars")
