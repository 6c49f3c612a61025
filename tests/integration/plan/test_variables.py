# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong variables end a run before a host is contacted. None of these can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..playbooks import read_report
from .site import PROFILE, Outcome, Site

HOSTS = {"npu-[01:40]": None}
NOBODY = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ascend_host_profile": PROFILE}
SERVICES = {"vllm_service_instances": ["Qwen3-14B"]}


def run(site: Site, playbook: str, *flags: str) -> Outcome:
    return site.run("ansible-playbook", f"inferops.ascend.{playbook}", *site.inventory(), *flags)


def refused(outcome: Outcome) -> list[str]:
    """The lines of the problems, after it is known that no host was contacted."""
    assert outcome.status == 2, outcome.output
    assert "UNREACHABLE" not in outcome.output
    assert "Validating arguments" not in outcome.output
    found = re.findall(r"^(?:\[ERROR\]: .*Action failed: |  )(npu-\S+.*)$", outcome.output, re.M)
    return [line.removesuffix(" No host was contacted.") for line in found]


@pytest.fixture
def fleet(site: Site) -> Site:
    variables = {**NOBODY, "vllm_service_shutdown_timeout": "soon"}
    site.write("hosts.yml", {"ascend": {"hosts": HOSTS, "vars": variables}})
    site.write("group_vars/ascend.yml", {**SERVICES, "vllm_service_restart": "later"})
    site.write("host_vars/npu-02/ports.yml", "---\nvllm_service_port_base: 70000\n")
    return site


def test_all_that_is_wrong_is_told_at_once_with_where_it_is_set(fleet: Site, report: Path) -> None:
    fleet.write("host_vars/npu-03.yml", {"vllm_service_restart": "now"})
    variables = f"vllm_service_wait=maybe vllm_deploy_report={report}"
    outcome = run(fleet, "deploy", "-e", variables)
    many = "npu-01, npu-02 and 38 more hosts"
    assert sorted(refused(outcome)) == [
        "npu-01, npu-02 and 37 more hosts: vllm_service_restart is 'later'; write now or deferred"
        " (group_vars/ascend.yml, line 3).",
        f"{many}: vllm_service_shutdown_timeout is 'soon'; an integer is needed (hosts.yml, line 8).",
        f"{many}: vllm_service_wait is 'maybe'; true or false is needed (-e).",
        "npu-02: vllm_service_port_base is 70000; a number of 1024 to 65535 is needed"
        " (host_vars/npu-02/ports.yml, line 2).",
    ]
    assert "4 problems. No host was contacted." in outcome.output
    assert len(re.findall(r"^npu-\d+ +: ok=", outcome.output, re.M)) == 1
    told = read_report(report, "deploy")
    assert (told["complete"], told["hosts"]) == (False, {"failed": 40})
    found = {each["host"]: [why["message"] for why in each["refused"]] for each in told["results"]}
    assert (len(found["npu-01"]), len(found["npu-02"]), len(found["npu-03"])) == (3, 4, 2)
    assert "vllm_service_port_base is 70000" in " ".join(found["npu-02"])


@pytest.mark.parametrize("playbook", ["site", "plan", "verify", "upgrade", "weights", "calibrate"])
def test_playbooks_that_use_roles_check_first(fleet: Site, playbook: str, report: Path) -> None:
    flags = () if playbook == "plan" else ("--limit", "npu-01,npu-02")
    variables = f"vllm_verify_output={report}"
    assert len(refused(run(fleet, playbook, *flags, "-e", variables))) == 3
    if playbook == "verify":
        told = read_report(report, "verify")["results"]
        assert [(each["host"], each["state"]) for each in told] == [
            ("npu-01", "failed"),
            ("npu-02", "failed"),
        ]
        assert len(told[1]["findings"]) == 3


def test_a_host_that_is_left_out_holds_nobody_up(fleet: Site, report: Path) -> None:
    fleet.write("hosts.yml", {"ascend": {"hosts": HOSTS, "vars": NOBODY}})
    fleet.write("group_vars/ascend.yml", SERVICES)
    assert len(refused(run(fleet, "check_variables"))) == 1
    assert run(fleet, "check_variables", "--limit", "ascend:!npu-02").status == 0
    (line,) = refused(run(fleet, "plan", "-e", f"vllm_plan_json={report}"))
    (problem,) = read_report(report, "plan")["problems"]
    assert problem["hosts"] == ["npu-02"] and problem["message"] in line


def test_a_misspelled_variable_is_a_warning_and_one_of_the_user_is_none(site: Site) -> None:
    site.write("hosts.yml", {"ascend": {"hosts": {"npu-01": NOBODY}}})
    mistakes = {"vllm_service_instnaces": [], "vllm_runtime_verson": "0.18.0"}
    of_entries = {"vllm_service_max_model_len": "8K"}
    users = {"vllm_service_instances_chat": [], "vllm_wishes": 1, "ascend_rack": 4}
    site.write("group_vars/ascend.yml", {**mistakes, **users, **of_entries})
    outcome = run(site, "check_variables")
    assert outcome.status == 0, outcome.output
    assert re.findall(r"(\w+) is not a variable of this collection; is (\w+) meant", outcome.words) == [
        ("vllm_service_instnaces", "vllm_service_instances"),
        ("vllm_runtime_verson", "vllm_runtime_version"),
    ]  # fmt: skip
    assert "(group_vars/ascend.yml, line 1)" in outcome.words
    assert (
        "collection; max_model_len is a key of each entry of vllm_service_instances"
        in outcome.words
    )


def test_templates_are_checked_by_what_they_come_to(site: Site) -> None:
    site.write(
        "hosts.yml", {"ascend": {"hosts": {"npu-01": {"base": 80}, "npu-02": {"base": 8100}}}}
    )
    later = "{{ ansible_facts.something_of_the_host }}"
    values = {"vllm_service_port_base": "{{ base }}", "vllm_service_user": later}
    site.write("group_vars/ascend.yml", {**NOBODY, **SERVICES, **values})
    assert refused(run(site, "check_variables")) == [
        "npu-01: vllm_service_port_base is 80; a number of 1024 to 65535 is needed"
        " (group_vars/ascend.yml, line 6)."
    ]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (
            [{"model": "Qwen3-14B", "port": 99999}],
            "99999",
        ),
        (["Qwen3-14B", "Qwen3-14B"], "are both named"),
        ([{"model": "Qwen3-14B", "api_key": "{{ vault_chat_key }}"}], "vault_chat_key"),
        (["nope"], "No table lists the model"),
    ],
)
def test_a_wrong_service_ends_site_before_contact(
    site: Site, entries: list[object], told: str
) -> None:
    site.write("hosts.yml", {"ascend": {"hosts": {"npu-01": NOBODY}}})
    site.write("group_vars/ascend.yml", {"vllm_service_instances": entries})
    for playbook in ("site", "check_variables"):
        (line,) = refused(run(site, playbook))
        assert told in line and line.endswith("(group_vars/ascend.yml, line 1).")


@pytest.mark.parametrize("written", [{}, {"vllm_service_instances": None}])
def test_a_host_without_a_list_of_services_is_not_contacted(
    site: Site, written: dict[str, object]
) -> None:
    site.write("hosts.yml", {"ascend": {"hosts": {"npu-01": NOBODY}}})
    site.write("group_vars/ascend.yml", {"vllm_service_wait": True, **written})
    (line,) = refused(run(site, "site"))
    assert "vllm_service_instances is not defined for this host" in line
    deployed = run(site, "deploy")
    assert "vllm_service_instances is not defined for this host" in deployed.words
    assert (deployed.status, "UNREACHABLE" in deployed.output) == (2, False)
    assert run(site, "check_variables").status == 0
    outcome = run(site, "site", "--tags", "bootstrap")
    assert "UNREACHABLE" in outcome.output, "what needs no service goes on"


@pytest.mark.parametrize(
    ("members", "flags"),
    [
        ({"npu-01": NOBODY}, ["-e", "ascend_hosts=npu_01"]),
        ({"npu-01": NOBODY}, ["--limit", "db-01"]),
        ({}, []),
    ],
)
def test_a_run_without_hosts_does_not_end_well(
    site: Site, members: dict[str, object], flags: list[str]
) -> None:
    site.write("hosts.yml", {"ascend": {"hosts": members}, "db": {"hosts": {"db-01": {}}}})
    site.write("group_vars/ascend.yml", SERVICES)
    for playbook in ("deploy", "check_variables"):
        outcome = run(site, playbook, *flags)
        assert outcome.status == 2, outcome.output
        assert "No host of this run is left." in outcome.output


def test_a_run_for_the_controller_or_a_file_of_hosts_has_hosts(site: Site) -> None:
    site.write("hosts.yml", {"ascend": {"hosts": {"npu-01": NOBODY}}})
    site.write("failed", "npu-01\n")
    for flags in (["-e", "ascend_hosts=localhost"], ["--limit", "@failed"], ["--limit", "npu-0*"]):
        assert run(site, "check_variables", *flags).status == 0


def test_a_gateway_alone_is_a_run(site: Site) -> None:
    groups = {
        "ascend": {"hosts": {"npu-01": NOBODY}},
        "ascend_gateway": {"hosts": {"gw-01": NOBODY}},
    }
    site.write("hosts.yml", groups)
    assert "No host of this run is left." not in run(site, "status", "--limit", "gw-01").output
    firewall = run(site, "gateway", "--limit", "npu-01").output
    assert "No host of this run is left." not in firewall
    # It has no services to deploy.
    assert "No host of this run is left." in run(site, "deploy", "--limit", "gw-01").output


def test_a_choice_of_hosts_in_the_inventory_is_a_warning(site: Site) -> None:
    site.write(
        "hosts.yml", {"ascend": {"hosts": {"npu-01": NOBODY}}, "db": {"hosts": {"db-01": {}}}}
    )
    site.write("group_vars/ascend.yml", {**SERVICES, "vllm_service_port_base": 80})
    site.write("group_vars/all.yml", {"ascend_hosts": "rack-4"})
    outcome = run(site, "check_variables")
    (line,) = refused(outcome)
    assert "vllm_service_port_base" in line, "the hosts of the run are checked"
    warning = (
        "npu-01: ascend_hosts has no effect in an inventory; give it with -e ascend_hosts=PATTERN"
    )
    assert f"{warning} (group_vars/all.yml, line 1)" in outcome.words
    assert warning not in run(site, "check_variables", "-e", "ascend_hosts=npu-01").words
