# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM over two hosts: deployed to a completion, and back after a worker has died.

The other ways to span hosts and to lose one of them take longer: tests/cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from integration.hosts import scenario

from .engines import engine
from .members import EVENTS, Service, lose, two_hosts

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("group")
    with two_hosts(scenario("real-group"), folder, engine()) as found:
        yield found


@pytest.fixture(scope="module")
def deployed(service: Service) -> str:
    """What `deploy` printed."""
    service.request("native")
    ran = service.books.run("deploy")
    assert ran.status == 0, ran.output
    return ran.output


def test_deploy_ends_when_both_hosts_complete_a_request(deployed: str, service: Service) -> None:
    assert "npu-01: chat: ready after" in deployed
    assert service.leader.completes()
    ranks = [member.sh("ps -eo args | grep '^VLLM::Worker'") for member in service.members]
    assert ["TP0" in ranks[0], "TP1" in ranks[1]] == [True, True], ranks


def test_verify_finds_both_members_as_written(deployed: str, service: Service) -> None:
    ran, found = service.books.verify()
    assert ran.status == 0, ran.output
    assert {host: each["ok"] for host, each in found.items()} == {"npu-01": True, "npu-02": True}


def test_a_worker_that_was_killed_is_back_without_a_controller(
    deployed: str, service: Service, row: Callable[..., None]
) -> None:
    figures = lose(service, EVENTS["worker killed"])
    row("native", "worker killed", *figures.cells)
