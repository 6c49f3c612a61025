# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM over two hosts by its own means, of which one is lost: down, and back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from integration.hosts import scenario
from real.engines import engine
from real.members import EVENTS, Service, lose, two_hosts

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("events")
    with two_hosts(scenario("cluster-events"), folder, engine()) as found:
        yield found


@pytest.fixture(scope="module", params=["native", "data_parallel"])
def spanned(request: pytest.FixtureRequest, service: Service) -> str:
    """The way in which the service spans both hosts; it is deployed and serves."""
    service.request(request.param)
    ran = service.books.run("deploy")
    assert ran.status == 0, ran.output
    return str(request.param)


@pytest.mark.parametrize("event", EVENTS)
def test_a_service_is_down_and_whole_again(
    spanned: str, service: Service, event: str, row: Callable[..., None]
) -> None:
    service.whole()
    row(spanned, event, *lose(service, EVENTS[event]).cells)
