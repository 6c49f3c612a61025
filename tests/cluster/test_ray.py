# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM over two hosts by the real Ray, of which a part is lost: down, and back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from integration.hosts import scenario
from real.engines import engine
from real.members import RAY_EVENTS, Service, lose, two_hosts

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, deployed; it serves."""
    folder = tmp_path_factory.mktemp("ray")
    with two_hosts(scenario("cluster-ray"), folder, engine(ray=True)) as found:
        found.request("ray")
        ran = found.books.run("deploy")
        assert ran.status == 0, ran.output
        yield found


@pytest.mark.parametrize("event", RAY_EVENTS)
def test_a_service_is_down_and_whole_again(
    service: Service, event: str, row: Callable[..., None]
) -> None:
    service.whole()
    row("ray", event, *lose(service, RAY_EVENTS[event]).cells)
