# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines change under services of real hosts, one replica at a time; what fails, goes back."""

from __future__ import annotations

import pytest

from ..playbooks import Books
from .replicas import (
    BAD,
    CHAT,
    HOSTS,
    NEW,
    OLD,
    SMALL,
    Watch,
    blank,
    engine,
    order,
    record,
    serve,
)

pytestmark = pytest.mark.hosts


def test_hosts_change_one_after_the_other_and_back(books: Books) -> None:
    blank(books)
    serve(books, *HOSTS)
    before = {host: books.snapshot(host) + books.sh(host, "ls -A /opt/vllm") for host in HOSTS}
    checked = books.run("upgrade", "--check", "--diff", vllm_runtime_version=NEW)
    assert checked.status == 0, checked.output
    steps = [f"wave {n}: h{n}: {OLD} -> {NEW}, restarts chat" for n in (1, 2, 3)]
    assert order(checked) == steps
    for host in HOSTS:
        assert books.snapshot(host) + books.sh(host, "ls -A /opt/vllm") == before[host]

    with Watch(books, *HOSTS) as watch:
        ran = books.run("upgrade", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert order(ran) == steps
    # It was installed everywhere before the first service was touched.
    assert ran.output.index("Install the environment and switch to it") < ran.output.index(
        "Change one wave"
    )
    assert [engine(books, host) for host in HOSTS] == [NEW] * 3
    assert [each for each in watch.down if each] == [{"h1"}, {"h2"}, {"h3"}]
    assert "no other replica" not in ran.output

    again = books.run("upgrade", vllm_runtime_version=NEW)
    assert again.status == 0, again.output
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]

    with Watch(books, *HOSTS) as watch:
        back = books.run("rollback")
    assert back.status == 0, back.output
    assert [engine(books, host) for host in HOSTS] == [OLD] * 3
    assert all(len(each) <= 1 for each in watch.down), watch.down
    again = books.run("rollback")
    assert again.status == 0, again.output
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]
    # The inventory names the old version still, so a deploy has nothing to do.
    assert books.run("deploy", "--limit", "h1").changed("h1") == 0


def test_a_version_that_does_not_come_up_goes_back_and_the_run_stops(books: Books) -> None:
    serve(books, *HOSTS)
    books.sh("h2", "touch /etc/no-room")
    pid = books.sh("h3", "systemctl show -P MainPID vllm@chat")
    with Watch(books, *HOSTS) as watch:
        ran = books.run("upgrade", vllm_runtime_version=BAD)
    assert ran.status == 2, ran.output
    text = ran.output.replace("\\n", "\n")
    for words in (
        f"h2 did not come up with {BAD}: chat failed in a way that another start does not fix.",
        "max_model_len 32768 needs a KV cache of 40.0 GiB, and 20.0 GiB are left.",
        f"h2 is back on {OLD} and serves.",
        f"With {BAD} already: h1.",
        f"Not touched, still with {OLD}: h3.",
    ):
        assert words in text, words
    assert [engine(books, host) for host in HOSTS] == [BAD, OLD, OLD]
    assert books.sh("h3", "systemctl show -P MainPID vllm@chat") == pid
    assert all(len(each) <= 1 for each in watch.down), watch.down
    assert record(books, "h2")["state"] == "failed"
    assert "unreachable=0    failed=0" in ran.output.split("PLAY RECAP")[1].split("h2 ")[0]

    # What is left to do is to take h1 back as well, and that is found without a name.
    back = books.run("rollback")
    assert back.status == 0, back.output
    assert [engine(books, host) for host in HOSTS] == [OLD] * 3
    assert books.sh("h3", "systemctl show -P MainPID vllm@chat") == pid


def test_services_apart_go_together_and_an_outage_is_said_before(books: Books) -> None:
    other = {"model": SMALL, "name": "other", "port": 8000}
    for host, services in (("h1", [CHAT]), ("h2", [CHAT]), ("h3", [other])):
        books.list_services(host, *services)
    assert books.run("deploy").status == 0
    ran = books.run("upgrade", vllm_runtime_version=NEW, vllm_upgrade_hosts_at_once=2)
    assert ran.status == 0, ran.output
    assert [line.partition(": 0")[0] for line in order(ran)] == [
        "wave 1: h1", "wave 2: h2", "wave 2: h3",
    ]  # fmt: skip
    line = "other has no other replica: it is down while h3 restarts it and loads."
    assert line in ran.output
    assert ran.output.index(line) < ran.output.index("Change one wave")
    assert "chat has no other replica" not in ran.output


def test_refused_before_a_service_is_touched(books: Books) -> None:
    serve(books, "h1")
    before = books.snapshot("h1")
    one = ("upgrade", "--limit", "h1")
    for extra, words in (
        ({"vllm_service_engine_version": NEW}, "cannot be given with -e here"),
        ({"vllm_service_restart": "deferred"}, "cannot be given with -e here"),
        ({"vllm_runtime_method": "external"}, "somebody else installs the engine"),
        ({"vllm_runtime_version": "0.17.1"}, "0.17.1"),
    ):
        ran = books.run(*one, **extra)
        assert ran.status == 2, ran.output
        assert words in ran.output, ran.output
    ran = books.run("rollback", "--limit", "h1")
    assert ran.status == 2
    assert "no version was the one before on all of them" in ran.output
    assert "-e vllm_rollback_version=NAME" in ran.output
    assert books.snapshot("h1") == before
    ran = books.run(*one, vllm_runtime_version=NEW, vllm_upgrade_outage=False)
    assert "chat on h1 has no other replica" in ran.output
    assert books.snapshot("h1") == before
    # A replica that --limit leaves out does not serve, so this one must not go down.
    books.list_services("h2", CHAT)
    ran = books.run(*one, vllm_runtime_version=NEW)
    assert ran.status == 2, ran.output
    assert "h2 does not serve all of chat, or cannot be reached, so h1" in " ".join(
        ran.output.split()
    )
    assert books.snapshot("h1") == before
    ran = books.run(*one, vllm_runtime_version=NEW, vllm_upgrade_elsewhere=False)
    assert (ran.status, engine(books, "h1")) == (0, NEW), ran.output
