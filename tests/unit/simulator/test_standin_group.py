# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins of a service over two hosts fail as the real vLLM was seen to, with nobody watching.

The figures and events are those of vLLM 0.32.0 for CPUs over two hosts with systemd.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.tests.ports import free_ports

from .hosts import Host, until


@pytest.fixture
def hosts(tmp_path: Path, repository: Path) -> Iterator[list[Host]]:
    """Three hosts, whose stand-ins are ended afterwards."""
    options = repository / "vars" / "vllm_options.json"
    made = [Host(tmp_path / name, options) for name in ("leader", "other", "new")]
    yield made
    for host in made:
        host.stop()


def native() -> tuple[str, str]:
    """The options of both hosts of one engine over them."""
    common = (
        "--tensor-parallel-size 4 --distributed-executor-backend mp --nnodes 2"
        f" --master-addr 127.0.0.1 --master-port {free_ports(1)[0]}"
    )
    return f"{common} --node-rank 0", f"{common} --node-rank 1 --headless"


def data_parallel(more: str = "") -> tuple[str, str]:
    """The options of both hosts of two engines."""
    common = (
        "--tensor-parallel-size 2 --data-parallel-size 2 --data-parallel-size-local 1"
        f" --data-parallel-address 127.0.0.1 --data-parallel-rpc-port {free_ports(1)[0]} {more}"
    )
    return common, f"{common} --headless --data-parallel-start-rank 1"


def start(hosts: list[Host], words: tuple[str, str], ranks: int, **settings: str) -> None:
    """Start both and wait until all ranks serve."""
    for host, one in zip(hosts, words, strict=False):
        host.serve(one, **settings)
    until(lambda: hosts[0].ranks() == ranks)
    assert hosts[0].complete() == 200


def cards_open(host: Host) -> set[str]:
    links = [os.readlink(path) for path in Path(f"/proc/{host.engine()}/fd").iterdir()]
    return {Path(link).name for link in links if "davinci" in link and "manager" not in link}


@pytest.mark.parametrize("way", [native, data_parallel])
def test_a_leader_waits_in_silence_and_takes_in_who_comes(
    hosts: list[Host], way: Callable[[], tuple[str, str]]
) -> None:
    leader, other, _new = hosts
    words = way()
    leader.serve(words[0])
    until(lambda: "distributed_init_method=tcp://127.0.0.1:" in leader.log.read_text())
    last = leader.log.read_text()
    assert leader.ask("/health") == (0, "")
    other.serve(words[1])
    until(leader.healthy)
    assert leader.complete() == 200
    assert "is assigned as" not in last
    assert other.ask("/health") == (0, "")


def test_each_host_opens_its_own_cards(hosts: list[Host]) -> None:
    start(hosts, native(), 4, ASCEND_RT_VISIBLE_DEVICES="4,5")
    assert cards_open(hosts[0]) == cards_open(hosts[1]) == {"davinci4", "davinci5"}


def test_a_killed_worker_of_the_other_host_is_noticed_at_the_next_request(
    hosts: list[Host],
) -> None:
    leader, other, _new = hosts
    start(hosts, native(), 4)
    os.kill(other.engine(), signal.SIGKILL)
    assert other.ended() == 0
    until(lambda: leader.ranks() == 2)
    assert leader.healthy()
    assert leader.complete() == 500
    assert leader.ended() == 0


@pytest.mark.parametrize("way", [native, data_parallel])
def test_without_its_leader_a_member_stays_in_silence_and_joins_no_other_one(
    hosts: list[Host], way: Callable[[], tuple[str, str]]
) -> None:
    leader, other, new = hosts
    words = way()
    start(hosts, words, 4 if way is native else 2)
    silent = other.log.read_text()
    leader.stop()
    leader.serve(words[0])
    until(lambda: "distributed_init_method" in leader.log.read_text())
    new.serve(words[1])
    until(leader.healthy)
    # The new one was taken in, so that the place was free.
    assert "is assigned as" in new.log.read_text()
    assert other.running()
    assert other.log.read_text() == silent


def test_a_lost_data_parallel_rank_takes_requests_for_a_while_and_then_none(
    hosts: list[Host],
) -> None:
    leader, other, _new = hosts
    start(hosts, data_parallel(), 2, ASCEND_SIM_LOST_RANK="3")
    os.kill(other.engine(), signal.SIGKILL)
    assert other.ended() == 0
    until(lambda: leader.ranks() == 1)
    assert leader.healthy()
    assert sorted(leader.complete(0.5) for _request in range(2)) == [0, 200]
    until(lambda: all(leader.complete(0.5) == 200 for _request in range(3)))
    assert leader.healthy()


def test_ranks_in_lockstep_hang_without_one_of_them(hosts: list[Host]) -> None:
    leader, other, _new = hosts
    start(hosts, data_parallel("--enable-expert-parallel"), 2)
    os.kill(other.engine(), signal.SIGKILL)
    until(lambda: leader.ranks() == 1)
    assert [leader.complete(0.5) for _request in range(2)] == [0, 0]
    assert leader.healthy()


def test_members_with_other_settings_never_serve(hosts: list[Host]) -> None:
    leader, other, _new = hosts
    words = native()
    leader.serve(words[0])
    other.serve(f"{words[1]} --max-model-len 2048")
    until(lambda: "distributed_init_method" in other.log.read_text())
    assert not leader.healthy()
    leader.stop()
    other.stop()
    words = data_parallel()
    leader.serve(words[0])
    other.serve(f"{words[1]} --max-model-len 2048")
    assert leader.ended() == 1
    assert "Configuration mismatch detected for engine 1" in leader.log.read_text()


def test_hosts_with_an_api_of_their_own_serve_when_all_are_there(hosts: list[Host]) -> None:
    leader, other, _new = hosts
    common = (
        "--data-parallel-size 2 --data-parallel-address 127.0.0.1"
        f" --data-parallel-rpc-port {free_ports(1)[0]}"
    )
    other.serve(f"{common} --data-parallel-rank 1")
    until(lambda: "distributed_init_method" in other.log.read_text())
    assert other.ask("/health") == (0, "")
    leader.serve(f"{common} --data-parallel-rank 0")
    for host in (leader, other):
        until(host.healthy)
        assert host.complete() == 200


def test_a_second_leader_on_the_port_of_a_group_is_refused(hosts: list[Host]) -> None:
    leader, other, _new = hosts
    words = native()
    leader.serve(words[0])
    until(lambda: "distributed_init_method" in leader.log.read_text())
    other.serve(words[0])
    assert other.ended() == 1
    assert "The server socket has failed to listen on any local network" in other.log.read_text()
