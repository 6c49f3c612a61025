# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for services of real hosts: what is shown meanwhile, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..hosts import HOSTS, environment, scenario, started
from ..playbooks import CLEAN, Books, Ran

pytestmark = pytest.mark.hosts

SCENARIO = scenario("ready")
SMALL = "Qwen3-0.6B"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start two hosts for this module; return their inventory."""
    inventory = tmp_path_factory.mktemp("fleet") / "inventory.yml"
    with started(SCENARIO, inventory, "--host", "h1:a2-64g", "--host", "h2:a2-64g"):
        yield inventory


@pytest.fixture
def books(fleet: Path, tmp_path: Path) -> Iterator[Books]:
    """Give two hosts on which nothing is deployed, and clean them afterwards."""
    it = Books(SCENARIO, fleet, tmp_path)
    values = {
        "vllm_service_shutdown_timeout": 1,
        "vllm_service_restart_delay": 3,
        "vllm_service_ready_timeout": 120,
        "vllm_service_ready_interval": 1,
    }
    (tmp_path / "group_vars").mkdir()
    lines = "".join(f"{key}: {value}\n" for key, value in values.items())
    (tmp_path / "group_vars" / "all.yml").write_text("---\n" + lines)
    for host in ("h1", "h2"):
        it.list_services(host)
    yield it
    for host in ("h1", "h2"):
        it.sh(host, CLEAN, check=False)


def behave(books: Books, name: str, *settings: str, host: str = "h1") -> None:
    books.sh(host, f"ascend-sim behaviour '{name}' {' '.join(settings)}")


def progress(ran: Ran, host: str, name: str) -> list[str]:
    """The lines about a service that the operator saw."""
    start = f"{host}: {name}: "
    lines = ran.output.splitlines()
    return [line[len(start) :] for line in lines if line.startswith(start)]


def watch(books: Books, book: str, *flags: str, then: Callable[[], object]) -> Ran:
    """Run a playbook over h1; at the first line about a service do something, while it waits."""
    command = ["ansible-playbook", "-i", str(books.inventory), f"inferops.ascend.{book}"]
    lines = []
    done = False
    with subprocess.Popen(
        [*command, "--limit", "h1", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    ) as process:
        alarm = threading.Timer(books.limit, process.kill)
        alarm.start()
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith("h1: ") and not done:
                done = True
                assert process.poll() is None
                then()
        alarm.cancel()
    return Ran(process.returncode, "".join(lines))


def test_deploy_waits_for_both_hosts_at_once_and_shows_how_far_each_service_is(
    books: Books,
) -> None:
    for host in ("h1", "h2"):
        books.list_services(host, {"model": SMALL, "name": "chat", "api_key": "opensesame-1"},
                            {"model": SMALL, "name": "off", "state": "stopped"})  # fmt: skip
        behave(books, "chat", "delay=12", host=host)
    ran = books.run("deploy", "-vv")
    assert ran.status == 0, ran.output
    for host in ("h1", "h2"):
        seen = progress(ran, host, "chat")
        assert any(line.startswith("loading weights ") and "/4 (" in line for line in seen), seen
        assert seen[-1].startswith("ready after "), seen
        assert len(seen) == len(set(seen)), "nothing is said twice"
        assert progress(ran, host, "off") == []
    assert "opensesame-1" not in ran.output
    # The second time everything is there, and what the converge saw is enough.
    begun = time.monotonic()
    again = books.run("deploy", "-v")
    assert '"looks"' not in again.output
    assert (again.status, again.changed("h1")) == (0, 0)
    assert progress(again, "h1", "chat")[0].startswith("ready, up ")
    assert time.monotonic() - begun < 120


def test_a_host_that_need_not_wait_does_not(books: Books) -> None:
    behave(books, "*", "fail=hang")
    books.list_services("h1", {"model": SMALL, "name": "chat"}, vllm_service_wait=False)
    ran = books.run("deploy", "--limit", "h1")
    assert ran.status == 0, ran.output
    assert progress(ran, "h1", "chat") == []


def test_a_failure_that_no_start_mends_ends_it_early_and_red_with_the_advice(
    books: Books,
) -> None:
    behave(books, "bad", "fail=kv-cache")
    behave(books, "slow", "delay=600")
    books.list_services("h1", {"model": SMALL, "name": "bad"}, {"model": SMALL, "name": "slow"})
    books.list_services("h2", {"model": SMALL, "name": "fine"})
    begun = time.monotonic()
    ran = books.run("deploy", vllm_service_ready_timeout=290)
    assert time.monotonic() - begun < 280
    assert ran.status == 2
    for words in (
        "bad failed in a way that another start does not fix.",
        "max_model_len 32768 needs a KV cache of 40.0 GiB, and 20.0 GiB are left.",
        "Set max_model_len: 16384 or less on service bad",
        "no longer waited for",
    ):
        assert words in ran.output, words
    assert progress(ran, "h2", "fine")[-1].startswith("ready"), "the other host goes on"


def test_a_loop_is_red_before_systemd_gives_up(books: Books) -> None:
    behave(books, "chat", "fail=hccl-timeout", "fail_after=1")
    books.list_services("h1", {"model": SMALL, "name": "chat"})
    ran = books.run("deploy", "--limit", "h1")
    assert ran.status == 2
    assert "chat fails again and again (2 starts, the same cause)." in ran.output
    assert "HCCL_CONNECT_TIMEOUT" in ran.output
    assert any("restart 1" in line for line in progress(ran, "h1", "chat"))
    # Between two starts, and so not given up.
    books.sh(
        "h1",
        "for i in $(seq 600); do systemctl is-active vllm@chat | grep -qx activating && exit 0;"
        " sleep 0.2; done; exit 1",
    )


def test_one_bad_start_is_forgiven(books: Books) -> None:
    behave(books, "chat", "fail=memory", "fail_after=2")
    books.list_services("h1", {"model": SMALL, "name": "chat"}, vllm_service_restart_delay=15)
    mend = threading.Thread(
        target=lambda: books.sh(
            "h1",
            "for i in $(seq 600); do systemctl show -P SubState vllm@chat | grep -q auto-restart &&"
            " break; sleep 0.2; done; ascend-sim behaviour chat fail=null delay=1",
        )
    )
    mend.start()
    ran = books.run("deploy", "--limit", "h1")
    mend.join()
    assert ran.status == 0, ran.output
    seen = progress(ran, "h1", "chat")
    assert any("Only 8.0 of 64.0 GiB are free" in line for line in seen), seen
    assert seen[-1].startswith("ready")


def test_the_end_of_the_time_names_the_phase_it_stood_in(books: Books) -> None:
    behave(books, "chat", "hang_at=weights", "delay=1")
    books.list_services("h1", {"model": SMALL, "name": "chat"}, vllm_service_ready_timeout=3)
    assert books.run("deploy", "--limit", "h1", vllm_service_wait=False).status == 0
    books.sh(
        "h1",
        "for i in $(seq 600); do journalctl -u vllm@chat -o cat | grep -q 2/4 && exit 0; sleep 0.2;"
        " done; exit 1",
    )
    ran = books.run("ready", "--limit", "h1")
    assert ran.status == 2
    assert "chat was not ready within 3 s. It stopped at: chat: loading weights 2/4 (50 %)" in (
        ran.output
    )


def test_check_mode_looks_once_and_changes_nothing_also_on_a_blank_host(books: Books) -> None:
    behave(books, "chat", "fail=hang")
    books.list_services("h1", {"model": SMALL, "name": "chat"})
    blank = books.run("ready", "--check", "-v", "--limit", "h1")
    assert blank.status == 0, blank.output
    assert "Not ready now: chat" in blank.output and '"looks": 1' in blank.output
    assert books.sh("h1", "ls -d /etc/vllm 2>/dev/null || echo none") == "none\n"
    books.run("deploy", "--limit", "h1", vllm_service_wait=False)
    starting = books.run("ready", "--check", "-v", "--limit", "h1")
    assert (starting.status, starting.changed("h1")) == (0, 0)
    assert progress(starting, "h1", "chat")[0].startswith("connecting ranks")


def test_each_look_is_one_round_trip_whatever_the_number_of_services(books: Books) -> None:
    """sudo notes every program that Ansible runs on a host as root."""
    behave(books, "*", "fail=hang")
    books.list_services("h1", *[{"model": SMALL, "name": f"s{n}"} for n in range(8)])
    books.run("deploy", "--limit", "h1", vllm_service_wait=False)
    count = "journalctl -t sudo -q -o cat | grep -c COMMAND= || true"
    before = int(books.sh("h1", count))
    ran = books.run("ready", "-v", "--limit", "h1", vllm_service_ready_timeout=5)
    asked = int(books.sh("h1", count)) - before
    looks = int(ran.output.split('"looks": ')[1].split(",")[0])
    assert looks >= 2
    assert asked == looks


def test_a_host_that_is_gone_for_a_while_is_asked_again(books: Books) -> None:
    behave(books, "chat", "delay=600")
    books.list_services("h1", {"model": SMALL, "name": "chat"})
    assert books.run("deploy", "--limit", "h1", vllm_service_wait=False).status == 0

    def cut() -> None:
        books.sh(
            "h1",
            "systemctl stop ssh; pkill -x sshd; pkill -f '[s]shd: deploy'; sleep 4;"
            " ascend-sim behaviour chat delay=1; systemctl kill -s KILL vllm@chat;"
            " systemctl restart vllm@chat; systemctl start ssh",
            check=False,
        )

    ran = watch(books, "ready", "-v", "--ssh-extra-args=-oConnectTimeout=2", then=cut)
    assert ran.status == 0, ran.output
    assert "h1: no answer, trying again: " in ran.output
    assert "h1: answers again after " in ran.output
    assert progress(ran, "h1", "chat")[-1].startswith("ready")


def test_a_host_that_hangs_and_stays_away_is_unreachable(books: Books) -> None:
    behave(books, "chat", "delay=600")
    books.list_services(
        "h1", {"model": SMALL, "name": "chat"}, vllm_service_ready_unreachable_timeout=4
    )
    assert books.run("deploy", "--limit", "h1", vllm_service_wait=False).status == 0
    # Its connections stay open, and nobody answers.
    try:
        ran = watch(books, "ready", then=lambda: books.sh("h1", "pkill -STOP sshd"))
    finally:
        books.sh("h1", "pkill -CONT sshd")
    assert ran.status == 4, ran.output
    assert "unreachable=1" in ran.output
    assert "h1: no answer, trying again: " in ran.output
    assert "h1: no answer for " in ran.output


def test_services_that_come_back_with_a_reboot_are_waited_for(books: Books) -> None:
    behave(books, "chat", "delay=3")
    books.list_services("h1", {"model": SMALL, "name": "chat"})
    assert books.run("deploy", "--limit", "h1").status == 0
    subprocess.run([sys.executable, str(HOSTS), "reboot", SCENARIO, "h1"], check=True)
    ran = books.run("ready", "--limit", "h1")
    assert ran.status == 0, ran.output
    assert progress(ran, "h1", "chat")[-1].startswith("ready")
