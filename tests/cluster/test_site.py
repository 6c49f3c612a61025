# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two blank hosts to one service by `site`, with the real vLLM, and one of them away for long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from integration.hosts import cut, scenario
from real.engines import SERVING, wheels
from real.members import MODEL, NAMES, Service, two_hosts

pytestmark = pytest.mark.hosts

AWAY = 600  # seconds


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("site")
    with two_hosts(scenario("cluster-site"), folder, None, f"{wheels()}:/srv/wheels") as found:
        found.variables |= {
            "vllm_runtime_device": "cpu",
            "vllm_runtime_wheels": "/srv/wheels",
            "vllm_runtime_offline": True,
        }
        yield found


def test_site_ends_with_both_hosts_as_written_and_a_completion(service: Service) -> None:
    path = f"/var/lib/vllm/weights/{MODEL}"
    weights = {"source": "nfs", "location": f"/srv/models/{MODEL}"}
    service.request("data_parallel", path=path, weights=weights)
    ran = service.books.run("site")
    assert ran.status == 0, ran.output
    assert "npu-01: chat: ready after" in ran.output
    assert service.leader.completes()
    for member in service.members:
        assert member.sh("readlink /opt/vllm/current").strip() == SERVING
        assert not member.sh(f"diff -r -x '.*' /srv/models/{MODEL} {path}")

    ran = service.books.run("site")
    assert ran.status == 0, ran.output
    assert [ran.changed(name) for name in NAMES] == [0, 0], ran.output


def test_a_member_that_was_away_for_ten_minutes_is_taken_in_again(service: Service) -> None:
    service.whole()
    before = [(member.show("MainPID"), member.restarts) for member in service.members]
    with cut(service.books.scenario, *NAMES):
        time.sleep(AWAY)
        for rank, member in enumerate(service.members):
            other = service.members[1 - rank]
            waiting = f"waiting for rank {1 - rank} ({other.host}, {other.address}"
            assert member.status.startswith(waiting), member.status
            assert member.processes("VLLM::") == 0
    service.whole()
    assert [(member.show("MainPID"), member.restarts) for member in service.members] == before
