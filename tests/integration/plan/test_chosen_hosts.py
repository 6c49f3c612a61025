# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of an inventory playbooks take. None of these can be reached, and a run fails on each it takes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .site import PROFILE, Outcome, Site

NOBODY = {"ansible_host": "127.0.0.1", "ansible_port": 1}
ASCEND = {**NOBODY, "ascend_host_profile": PROFILE}
SERVING = {**NOBODY, "vllm_service_instances": ["Qwen3-14B"]}
HOSTS = {"db-01": NOBODY, "npu-01": ASCEND, "npu-02": SERVING}


def run(site: Site, inventory: dict[str, Any], playbook: str, *flags: str) -> Outcome:
    site.write("hosts.yml", inventory)
    return site.run("ansible-playbook", f"inferops.ascend.{playbook}", *site.inventory(), *flags)


def taken(outcome: Outcome) -> list[str]:
    return sorted(set(re.findall(r"^fatal: \[([\w-]+)\]", outcome.output, re.M)))


@pytest.mark.parametrize(
    ("playbook", "flags"),
    [
        ("deploy", ()),
        ("weights", ()),
        ("diagnose", ()),
        ("remove", ("-e", "vllm_remove_services=all")),
        ("calibrate", ("-e", "vllm_calibrate_model=Qwen3-14B")),
    ],
)
def test_hosts_that_declare_nothing_are_named_and_left_alone(
    site: Site, playbook: str, flags: tuple[str, ...]
) -> None:
    outcome = run(site, {"all": {"hosts": HOSTS}}, playbook, *flags)
    assert taken(outcome) == ["npu-01", "npu-02"]
    assert outcome.output.count("Left alone, because they declare none of") == 1
    assert "vllm_plan_services: db-01" in outcome.words


def test_the_group_ascend_is_taken_where_there_is_one(site: Site) -> None:
    inventory = {"all": {"hosts": HOSTS}, "ascend": {"hosts": {"npu-02": {}}}}
    outcome = run(site, inventory, "deploy")
    assert taken(outcome) == ["npu-02"]
    assert "Left alone" not in outcome.output


def test_named_hosts_are_taken_whatever_they_declare(site: Site) -> None:
    inventory = {"all": {"hosts": HOSTS}, "ascend": {"hosts": {"npu-02": {}}}}
    outcome = run(site, inventory, "weights", "-e", "ascend_hosts=npu-01")
    assert taken(outcome) == ["npu-01"]


def test_an_inventory_of_others_is_an_error(site: Site) -> None:
    outcome = run(site, {"all": {"hosts": {"db-01": NOBODY}}}, "deploy")
    assert outcome.status == 2
    assert taken(outcome) == ["db-01"]
    assert "Put the Ascend hosts into a group named ascend" in outcome.words


def test_a_host_that_declares_nothing_any_more_has_to_be_named_to_remove_its_services(
    site: Site,
) -> None:
    command = ("remove", "-e", "vllm_remove_services=all", "--limit", "db-01")
    outcome = run(site, {"all": {"hosts": HOSTS}}, *command)
    assert "or name them: -e ascend_hosts=PATTERN" in outcome.words
    assert "UNREACHABLE" not in outcome.output
    named = run(site, {"all": {"hosts": HOSTS}}, *command, "-e", "ascend_hosts=db-01")
    assert taken(named) == ["db-01"]
    assert "UNREACHABLE" in named.output


def test_a_wrong_variable_does_not_stop_a_diagnosis(site: Site) -> None:
    wrong = {**ASCEND, "vllm_service_wait": "perhaps"}
    outcome = run(site, {"all": {"hosts": {"npu-01": wrong}}}, "diagnose")
    assert "UNREACHABLE" in outcome.output
