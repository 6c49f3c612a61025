# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify, ready and diagnose of a service over two hosts: complete, cut apart, and not agreed."""

from __future__ import annotations

import re

import pytest

from ..hosts import cut
from .service import Group, text_of

pytestmark = pytest.mark.hosts

TIME = r"20[0-9-]+ [0-9:]+ \+0000"


def test_a_deploy_ends_with_one_completion_and_verify_has_one_line(group: Group) -> None:
    group.list()
    ran = group.run("deploy")
    assert ran.status == 0, ran.output
    assert "h1: big: ready after" in ran.output and "h2: big: " not in ran.output
    assert group.completions() == 1

    ran, found = group.verify()
    assert ran.status == 0, ran.output
    assert [found[host]["services"][0]["result"] for host in ("h1", "h2")] == ["ok", "ok"]
    assert re.search(rf"ok big \(h1 h2\): all 2 members run since {TIME}\.", text_of(ran.output))
    assert group.completions() == 2

    ran = group.run("deploy")
    assert (ran.status, ran.changed("h1"), ran.changed("h2")) == (0, 0, 0), ran.output
    assert group.completions() == 2


def test_hosts_that_are_cut_apart_name_each_other_and_are_ready_again_by_themselves(
    group: Group,
) -> None:
    with cut(group.scenario, "h1", "h2"):
        group.guard("h1", "waiting for rank 1 (h2, ")
        group.guard("h2", "waiting for rank 0 (h1, ")
        missing = rf"waiting for rank 1 \(h2 [0-9.]+\) since {TIME}"
        ran, found = group.verify()
        assert ran.status != 0
        assert re.search(rf"DIFFERS big \(h1 h2\): {missing}\.", text_of(ran.output)), ran.output
        codes = [each["code"] for each in found["h2"]["services"][0]["findings"]]
        assert codes == ["member"]

        ran = group.run("ready", vllm_service_ready_timeout=3)
        assert ran.status != 0
        words = text_of(ran.output)
        assert re.search(rf"h1: big: {missing}; lost rank 1 \(h2\): no word for 5 s", words)
        assert re.search(rf"big was not ready within 3 s\. It stopped at: big: {missing}", words)
        assert "h2: big: " not in ran.output

        ran = group.run("diagnose")
        assert re.search(missing, text_of(ran.output)), ran.output
    ran = group.run("ready")
    assert ran.status == 0 and "h1: big: ready" in ran.output, ran.output
    assert group.completions() == 1  # of the engine that its guard has started again


def test_a_member_reports_its_own_state_without_its_leader(group: Group) -> None:
    ran = group.run("diagnose", "--limit", "h2")
    assert re.search(r'"big: ready, up [^,"]*"', ran.output), ran.output
    ran = group.run("ready", "--limit", "h2")
    assert ran.status == 0 and "h2: big: ready" in ran.output, ran.output


@pytest.mark.parametrize(
    ("edit", "cause", "seen_by_leader"),
    [
        (
            "sed -i 's/^INFEROPS_GROUP_SECRET=.*/INFEROPS_GROUP_SECRET=something-else-entirely/'"
            " /etc/vllm/big.env",
            "This host and h1 have different secrets of this service",
            "This host and {address} (h2) have different secrets of this service",
        ),
        (
            'sed -i \'s/"digest": "/&0/\' /etc/vllm/big.group.json',
            "This host has other settings of this service than the leader h1",
            "{address} (h2) has other settings of this service than this host, its leader",
        ),
    ],
    ids=["secret", "settings"],
)
def test_members_that_refuse_each_other_say_why(
    group: Group, edit: str, cause: str, seen_by_leader: str
) -> None:
    address = group.sh("h2", "hostname -I").split()[0]
    group.sh("h2", f"cp -a /etc/vllm /tmp/kept; {edit}; systemctl restart vllm@big")
    group.guard("h2", "; the leader h1 refuses")
    ran = group.run("diagnose")
    output = re.sub(r"\s+", " ", ran.output)
    assert cause in output
    assert seen_by_leader.format(address=address) in output
    assert "What to do: " in output and "still starting; its journal" not in output
    group.sh("h2", "cp -a /tmp/kept/. /etc/vllm; rm -r /tmp/kept; systemctl restart vllm@big")
    group.serve()
