# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in over two hosts, and how tests take one of them away.

Two hosts are started for the whole file; they are removed afterwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..hosts import address, cut, inside, kill_worker, reboot, scenario, shell, started

pytestmark = pytest.mark.hosts

NAME = scenario("test-group")
SERVE = (
    "set --; source /usr/local/Ascend/ascend-toolkit/set_env.sh;"
    " source /usr/local/Ascend/nnal/atb/set_env.sh; exec /opt/vllm/current/bin/vllm serve m"
)
RANKS = "curl -sf -m 5 localhost:8000/metrics | sed -n 's/^standin:ranks //p'"
COMPLETE = (
    "curl -s -m 5 -o /dev/null -w '%{http_code}' localhost:8000/v1/completions"
    ' -d \'{"prompt": "a"}\''
)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of two hosts."""
    if os.geteuid() != 0:
        pytest.skip("test hosts need root")
    inventory: Path = tmp_path_factory.mktemp("hosts") / "inventory.yml"
    with started(NAME, inventory, "--host", "alpha:a2-64g", "--host", "beta:a2-64g"):
        yield {host: address(NAME, host) for host in ("alpha", "beta")}


def until(host: str, script: str, expected: str, seconds: float = 120) -> None:
    """Wait until a script on a host prints what is expected."""
    deadline = time.monotonic() + seconds
    while (printed := shell(NAME, host, script, check=False).strip()) != expected:
        assert time.monotonic() < deadline, f"{script!r} prints {printed!r}"
        time.sleep(0.2)


@pytest.fixture
def serve(hosts: dict[str, str]) -> Iterator[Callable[[], None]]:
    """Start one engine over both hosts as a transient unit `group` on each, and wait for it."""

    def start() -> None:
        for rank, host in enumerate(hosts):
            words = f"--tensor-parallel-size 16 --nnodes 2 --node-rank {rank}"
            words += f" --master-addr {hosts['alpha']} --master-port 20001"
            words += " --headless" if rank else ""
            shell(
                NAME,
                host,
                "systemd-run -q --unit group -p KillMode=mixed -E ASCEND_SIM_DELAY=0.5"
                f" -E ASCEND_SIM_STOP=0.1 -E ASCEND_SIM_ENGINE_GRACE=1 bash -c '{SERVE} {words}'",
            )
        until("alpha", RANKS, "16")

    yield start
    for host in hosts:
        shell(NAME, host, "systemctl stop group; systemctl reset-failed group; true", check=False)


def test_hosts_that_are_cut_apart_do_not_hear_each_other_until_it_is_healed(
    hosts: dict[str, str],
) -> None:
    def reaches(here: str, there: str) -> bool:
        script = f"timeout 2 bash -c '</dev/tcp/{hosts[there]}/22'"
        return inside(NAME, here, "sh", "-c", script).returncode == 0

    assert reaches("alpha", "beta")
    with cut(NAME, "alpha", "beta"):
        assert not reaches("alpha", "beta")
        assert not reaches("beta", "alpha")
    assert reaches("alpha", "beta")
    assert reaches("beta", "alpha")


def test_a_cut_of_one_way_lets_the_other_direction_through(hosts: dict[str, str]) -> None:
    def heard(here: str, there: str) -> int:
        """How many of three packets arrive."""
        count = "awk '/^Icmp:/ && $2 ~ /[0-9]/ {print $10}' /proc/net/snmp"
        before = int(shell(NAME, there, count))
        shell(NAME, here, f"ping -q -c 3 -i 0.2 -W 1 {hosts[there]}", check=False)
        return int(shell(NAME, there, count)) - before

    with cut(NAME, "alpha", "beta", "--one-way"):
        assert (heard("beta", "alpha"), heard("alpha", "beta")) == (0, 3)
    assert heard("beta", "alpha") == 3


def test_an_engine_over_two_hosts_serves_and_dies_at_the_request_after_a_worker(
    serve: Callable[[], None],
) -> None:
    serve()
    assert shell(NAME, "alpha", COMPLETE) == "200"
    kill_worker(NAME, "beta", "group", "VLLM::Worker")
    until("beta", "systemctl show -P ExecMainStatus -P ActiveState group | xargs", "0 inactive")
    until("alpha", RANKS, "8")
    assert shell(NAME, "alpha", "curl -s -o /dev/null -w '%{http_code}' localhost:8000/health") == (
        "200"
    )
    assert shell(NAME, "alpha", COMPLETE) == "500"
    until("alpha", "systemctl is-active group", "inactive")


def test_a_request_hangs_while_the_network_is_cut(serve: Callable[[], None]) -> None:
    serve()
    with cut(NAME, "alpha", "beta"):
        assert shell(NAME, "alpha", COMPLETE, check=False) == "000"
        assert shell(NAME, "alpha", RANKS) == "16\n"
    until("alpha", COMPLETE, "200")


def test_a_host_that_was_rebooted_is_back_without_its_ranks(
    hosts: dict[str, str], serve: Callable[[], None]
) -> None:
    serve()
    reboot(NAME, "beta")
    assert address(NAME, "beta") == hosts["beta"]
    until("alpha", RANKS, "8")
