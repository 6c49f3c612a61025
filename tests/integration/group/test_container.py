# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service over two hosts in containers: the guard has the client of the container engine as its child."""

from __future__ import annotations

import pytest

from ..images import MAKE, settings
from .service import HOSTS, Group

pytestmark = pytest.mark.hosts

PODS = "podman ps --all --format '{{.Names}}'"
# Of the container's processes the server, which is not in the guard's own control group.
KILL = (
    "kill -9 $(pgrep -f '[/]opt/engine/vllm serve' | while read p; do"
    " grep -q libpod-payload /proc/$p/cgroup && echo $p; done)"
)


def test_a_deploy_of_containers_completes_and_changes_nothing_again(group: Group) -> None:
    # One image, for members with different ones do not start together.
    image = group.sh("h1", MAKE).strip().splitlines()[-1]
    group.sh("h1", "systemd-run -q --unit files python3 -m http.server 8900 -d /srv")
    address = group.sh("h1", "hostname -I").split()[0]
    group.until("h2", f"curl -sf -o /srv/engine.tar http://{address}:8900/engine.tar")
    for host in HOSTS:
        group.sh(host, "mkdir -p /var/lib/vllm/weights")
    group.list(apart=dict.fromkeys(HOSTS, settings(image)))
    assert group.run("runtime").status == 0
    ran = group.run("deploy")
    assert ran.status == 0, ran.output
    assert "h1: big: ready" in ran.output
    assert [group.sh(host, PODS) for host in HOSTS] == ["vllm-big\n"] * 2
    ran = group.run("deploy")
    assert (ran.status, ran.changed("h1"), ran.changed("h2")) == (0, 0, 0), ran.output
    ran, _found = group.verify()
    assert ran.status == 0, ran.output


@pytest.mark.parametrize("host", HOSTS)
def test_a_container_that_dies_takes_the_other_along_and_both_are_up_again(
    group: Group, host: str
) -> None:
    other = HOSTS[1 - HOSTS.index(host)]
    starts = [group.sh(each, "systemctl show -P NRestarts vllm@big") for each in (host, other)]
    ids = [group.sh(each, "podman ps -q") for each in HOSTS]
    group.sh(host, KILL)
    group.until(host, f"[ $(systemctl show -P NRestarts vllm@big) -gt {starts[0].strip()} ]")
    group.serve()
    assert [group.sh(each, PODS) for each in HOSTS] == ["vllm-big\n"] * 2
    after = [group.sh(each, "podman ps -q") for each in HOSTS]
    assert all(id_before != id_after for id_before, id_after in zip(ids, after, strict=True))
    # The healthy member did not use up a start of its unit.
    assert group.sh(other, "systemctl show -P NRestarts vllm@big") == starts[1]


def test_a_removal_leaves_no_container(group: Group) -> None:
    ran = group.run("remove", vllm_remove_services="big")
    assert ran.status == 0, ran.output
    assert [group.sh(host, PODS) for host in HOSTS] == ["", ""]
