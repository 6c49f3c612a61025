# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a service over two hosts stops, changes and goes: the leader first, and on all its hosts."""

from __future__ import annotations

import pytest

from .service import HOSTS, SETTINGS, Group, text_of

pytestmark = pytest.mark.hosts

ASK = (
    "rm -f /tmp/answer; setsid curl -s -o /dev/null -w '%{http_code}' localhost:8000/v1/completions"
    ' -d \'{"prompt": "a"}\' > /tmp/answer 2>&1 &'
)
SLOW = {"env": {"ASCEND_SIM_REQUEST_SECONDS": "4"}}


def ask(group: Group) -> None:
    """Send a request to the leader that takes seconds, and wait until it is there."""
    group.sh("h1", ASK)
    group.until("h1", "curl -s localhost:8000/metrics | grep -q 'num_requests_running.* 1'")


def answer(group: Group) -> str:
    group.until("h1", "test -s /tmp/answer")
    return group.sh("h1", "cat /tmp/answer")


def test_a_changed_service_answers_its_last_request_and_starts_again_on_all_hosts(
    group: Group,
) -> None:
    group.list(**SLOW)
    assert group.run("deploy").status == 0
    ask(group)
    group.list(**SLOW, max_model_len=16384)
    ran = group.run("deploy", vllm_service_wait=False)
    assert ran.status == 0, ran.output
    assert (ran.changed("h1"), ran.changed("h2")) == (1, 1)
    assert answer(group) == "200"
    group.serve()
    assert '"max_model_len": 16384' in group.sh("h1", "curl -s localhost:8000/v1/models")


def test_a_stop_lets_requests_end_and_is_one_of_all_hosts(group: Group) -> None:
    ask(group)
    group.list(**SLOW, max_model_len=16384, state="stopped")
    ran = group.run("deploy", "--check")
    assert (ran.changed("h1"), ran.changed("h2")) == (1, 1), ran.output
    ran = group.run("deploy")
    assert ran.status == 0, ran.output
    assert answer(group) == "200"
    assert group.ended("h1") < group.ended("h2")
    ran, found = group.verify()
    assert ran.status == 0, ran.output
    assert "ok big (h1 h2): stopped on h1 h2." in text_of(ran.output)
    ran = group.run("deploy")
    assert (ran.changed("h1"), ran.changed("h2")) == (0, 0), ran.output


def test_a_host_that_is_not_reached_keeps_its_part_and_is_named(group: Group) -> None:
    group.list()
    assert group.run("deploy").status == 0
    group.list(state="stopped")
    with group.without("h2"):
        ran = group.run("deploy")
    assert "big: h2 was not reached and still has its part" in text_of(ran.output)
    assert group.sh("h1", "systemctl is-active vllm@big", False).strip() == "inactive"
    group.guard("h2", "waiting for rank 0 (h1, ")
    assert group.run("deploy").status == 0
    assert group.sh("h2", "systemctl is-active vllm@big", False).strip() == "inactive"


def test_a_removal_takes_all_hosts_of_the_service(group: Group) -> None:
    group.list()
    assert group.run("deploy").status == 0
    for host, other in (HOSTS, HOSTS[::-1]):
        ran = group.run("remove", "--limit", host, vllm_remove_services="all")
        assert ran.status != 0
        assert f"this run leaves out {other}" in ran.output
    assert group.sh("h2", "systemctl is-active vllm@big").strip() == "active"
    with group.without("h2"):
        ran = group.run("remove", vllm_remove_services="big")
    assert "h1: removed: big" in ran.output
    assert "big: h2 was not reached and still has its part" in text_of(ran.output)
    ran = group.run("remove", vllm_remove_services="big")
    assert ran.status == 0 and "h2: removed: big" in ran.output, ran.output
    # The template unit and the program that it starts with stay.
    of_services = "ls -I start /etc/vllm /usr/local/libexec/inferops"
    left = f"{of_services}; systemctl list-units -q --plain --all 'vllm@*'"
    assert [group.sh(host, left).strip().splitlines()[-1][-1] for host in HOSTS] == [":", ":"]


def test_a_service_that_is_no_longer_listed_goes_from_its_leader_first(group: Group) -> None:
    group.list(**SLOW)
    assert group.run("deploy").status == 0
    ask(group)
    for host in HOSTS:
        group.list_services(host, **SETTINGS)
    ran = group.run("deploy", "--limit", "h2")
    assert ran.status != 0
    assert "service big spans h1, h2, and this run leaves out h1" in ran.output
    ran = group.run("deploy")
    assert (ran.status, ran.changed("h1"), ran.changed("h2")) == (0, 1, 1), ran.output
    assert answer(group) == "200"
