# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook plan writes, what stays where it is, and what does not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..playbooks import read_report
from .site import FILE, Site


def test_a_plan_is_what_deploy_does_and_a_second_run_changes_nothing(
    site: Site, report: Path
) -> None:
    site.group(
        {"model": "Qwen3-14B", "replicas": 3, "args": {"enable-prefix-caching": True}},
        {"model": "Qwen2.5-72B", "name": "chat", "replicas": 2, "max_model_len": "16K"},
        {"model": "Qwen/Qwen2.5-7B-Instruct", "port": 8100, "state": "stopped"},
        {"model": "bge-large-zh-v1.5", "replicas": "all"},
        ascend_host_excluded_cards=[3],
    )
    first = site.planned(vllm_plan_json=str(report))
    assert first.changed
    assert "npu-02" in first.output
    written = site.where()
    told = read_report(report, "plan")
    assert told["state"] == "written"
    assert written == {
        host["name"]: {each["name"]: each["cards"] for each in host["services"]}
        for host in told["hosts"]
    }
    assert {each["kind"] for each in told["changes"]} == {"added"}
    assert sum("chat" in services for services in written.values()) == 2
    assert all({"qwen3-14b", "bge-large-zh-v1.5"} <= set(services) for services in written.values())
    assert all(3 not in cards for services in written.values() for cards in services.values())
    deployed = site.deployed()
    for host, own in site.variables().items():
        for service in own["vllm_service_instances"]:
            settled = (service["cards"], service["port"], service["max_model_len"])
            assert deployed[host][service["name"]] == settled
    lengths = {
        length
        for services in deployed.values()
        for name, (_unused, _unused, length) in services.items()
        if name == "chat"
    }
    assert lengths == {16384}
    files = site.files()
    second = site.planned(vllm_plan_json=str(report))
    assert not second.changed
    assert site.files() == files
    assert {**told, "state": "unchanged", "changes": [], "files": [], "summary": {}} == {
        **read_report(report, "plan"),
        "summary": {},
    }


def test_the_same_input_gives_the_same_bytes_in_whatever_order(site: Site, tmp_path: Path) -> None:
    services = [{"model": "Qwen3-14B", "replicas": 4}, "QwQ-32B", {"model": "Qwen2.5-72B"}]
    site.group(*services, hosts=["a", "b", "c"])
    site.planned()
    other = Site(tmp_path / "other")
    other.group(*reversed(services), hosts=["c", "a", "b"])
    other.planned()
    assert other.files() == site.files()


def test_check_shows_each_file_and_writes_nothing(site: Site, report: Path) -> None:
    site.group({"model": "Qwen3-14B", "replicas": 2}, hosts=["npu-01", "npu-02"])
    before = site.tree()
    outcome = site.planned(
        "--check", "--diff", vllm_plan_markdown="plan.md", vllm_plan_html="plan.html"
    )
    assert outcome.changed
    for host in ("npu-01", "npu-02"):
        assert f"+++ after: {site.file(host)}" in outcome.output
    assert "+  - name: qwen3-14b" in outcome.output
    assert site.tree() == before
    exit_code = {"vllm_plan_detailed_exitcode": True, "vllm_plan_json": str(report)}
    said = site.refused("--check", **exit_code)
    assert "Changes are pending for 2 hosts: npu-01, npu-02. The plan itself is in order." in said
    pending = read_report(report, "plan")
    assert (pending["state"], pending["check"]) == ("pending", True)
    assert [(each["host"], each["change"]) for each in pending["files"]] == [
        ("npu-01", "created"),
        ("npu-02", "created"),
    ]
    site.planned(**exit_code)
    site.planned("--check", **exit_code)
    assert read_report(report, "plan")["state"] == "unchanged"


def test_a_locked_plan_fails_when_it_is_stale(site: Site, report: Path) -> None:
    site.group("Qwen3-14B", "QwQ-32B", hosts=["npu-01", "npu-02"])
    assert "stale for 2 hosts: npu-01, npu-02" in site.refused(
        vllm_plan_locked=True, vllm_plan_json=str(report)
    )
    stale = read_report(report, "plan")
    assert (stale["state"], stale["locked"], stale["summary"]["added"]) == ("pending", True, 2)
    site.planned()
    assert not site.planned(vllm_plan_locked=True).changed
    (host,) = (host for host, services in site.where().items() if "qwq-32b" in services)
    site.group("Qwen3-14B", {"model": "QwQ-32B", "max_model_len": "8K"}, hosts=["npu-01", "npu-02"])
    said = site.refused(vllm_plan_locked=True)
    assert f"stale for 1 host: {host}." in said
    assert "ansible-playbook inferops.ascend.plan -i hosts.yml, review" in said
    said = site.refused(vllm_plan_locked=True, vllm_plan_output="o", ascend_hosts="all")
    assert "plan -i hosts.yml -e ascend_hosts=all -e vllm_plan_output=o, review" in said


def test_what_is_placed_stays(site: Site) -> None:
    site.group(
        {"model": "Qwen3-14B", "replicas": 3}, "QwQ-32B", "Qwen2.5-72B", hosts=["b", "c", "d"]
    )
    site.planned()
    before = site.where()
    # Others before and after, another order, one less, hosts before and after.
    site.group(
        {"model": "Qwen3-8B", "name": "aaa", "replicas": 4},
        "Qwen2.5-72B",
        {"model": "Qwen3-14B", "replicas": 3},
        hosts=["a", "b", "c", "d", "e"],
    )
    site.planned()
    after = site.where()
    for host, services in before.items():
        for name, cards in services.items():
            if name != "qwq-32b":
                assert after[host][name] == cards
    assert not any("qwq-32b" in services for services in after.values())
    assert sum("aaa" in services for services in after.values()) == 4


def test_a_change_of_one_service_rewrites_only_the_files_it_must(site: Site) -> None:
    hosts = [f"h{number}" for number in range(12)]
    services = [{"model": "Qwen3-14B", "name": f"s{number}", "replicas": 2} for number in range(12)]
    site.group(*services, hosts=hosts)
    site.planned()
    before = site.files()
    on = {f"host_vars/{host}/{FILE}" for host, own in site.where().items() if "s5" in own}
    services[5]["max_model_len"] = "4K"
    site.group(*services, hosts=hosts)
    site.planned()
    after = site.files()
    assert {path for path in before if before[path] != after[path]} == on


def test_cards_that_were_changed_by_hand_stay(site: Site) -> None:
    site.group("QwQ-32B", "Qwen3-14B", hosts=["npu-01"])
    site.planned()
    file = site.file("npu-01")
    file.write_text(file.read_text().replace("cards: [0, 1]", "cards: [4, 5]"), encoding="utf-8")
    site.planned()
    assert site.where()["npu-01"]["qwq-32b"] == [4, 5]
    # What does not fit any more is placed again from the start.
    file.write_text(file.read_text().replace("cards: [4, 5]", "cards: [5, 6]"), encoding="utf-8")
    site.planned()
    assert site.where()["npu-01"]["qwq-32b"] != [5, 6]


def test_ports_stay_too(site: Site) -> None:
    site.group("Qwen3-14B", "Qwen3-8B", hosts=["npu-01"])
    site.planned()
    ports = {name: port for name, (_unused, port, _unused) in site.deployed()["npu-01"].items()}
    site.group("Qwen3-14B", {"model": "Qwen3-1.7B", "name": "a"}, "Qwen3-8B", hosts=["npu-01"])
    site.planned()
    after = {name: port for name, (_unused, port, _unused) in site.deployed()["npu-01"].items()}
    assert {name: after[name] for name in ports} == ports
    assert len(set(after.values())) == 3


def test_a_repack_says_what_moves(site: Site) -> None:
    site.group("Qwen3-14B", hosts=["npu-01"])
    site.planned()
    file = site.file("npu-01")
    file.write_text(file.read_text().replace("cards: [0]", "cards: [5]"), encoding="utf-8")
    assert not site.planned().changed
    outcome = site.planned(vllm_plan_repack=True)
    assert site.where()["npu-01"]["qwen3-14b"] != [5]
    assert re.search(r"qwen3-14b.*npu-01.*5", outcome.output)


# -- what does not fit -----------------------------------------------------------------------------


def test_all_that_does_not_fit_is_said_at_once(site: Site, report: Path) -> None:
    site.group(
        {"model": "Qwen3-14B", "replicas": 20},
        {"model": "Qwen3-Coder-480B-A35B", "name": "big"},
        {"model": "Qwen3-14B", "name": "long", "max_model_len": "1M"},
        hosts=["npu-01", "npu-02"],
    )
    said = site.refused(vllm_plan_json=str(report))
    told = read_report(report, "plan")
    assert told["state"] == "failed"
    assert [each["service"] for each in told["problems"]] == ["big", "long", "qwen3-14b"]
    assert all(each["message"].replace("\n", " ") in said for each in told["problems"])
    assert "qwen3-14b needs 1 card" in said
    assert "big needs 32 cards" in said
    assert "longest that was tested" in said
    assert "The plan has 3 problems, and nothing was written" in said


@pytest.mark.parametrize("name", ["vllm_plan_json", "vllm_plan_markdown", "vllm_plan_html"])
def test_a_report_that_cannot_be_written_is_found_before_the_plan(
    site: Site, tmp_path: Path, name: str
) -> None:
    site.group("Qwen3-14B")
    said = site.refused(**{name: str(tmp_path)})
    (failure,) = re.findall(r"fatal: .*", said)
    assert failure.count(f"{tmp_path} is a directory. Name a file in it") == 1
    assert not (site.root / "host_vars").exists()


def test_a_request_that_is_wrong_stops_all(site: Site) -> None:
    site.group("Qwen3-14B", {"model": "Qwen3-15B"}, {"model": "QwQ-32B", "replicas": "many"})
    said = site.refused()
    assert "The closest are Qwen3-14B" in said
    assert "replicas is 'many'" in said
    assert "npu-01, npu-02, npu-03: vllm_plan_services, service 2" in said


def test_nobody_who_lists_services_is_an_error(site: Site) -> None:
    site.write("hosts.yml", {"all": {"hosts": {"npu-01": {}}}})
    assert "vllm_plan_services is not set for any host of this plan (npu-01)" in site.refused()


def test_a_limit_is_rejected(site: Site) -> None:
    site.group("Qwen3-14B")
    assert "a plan is for a complete group" in site.refused("--limit", "npu-02")
