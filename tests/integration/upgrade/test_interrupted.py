# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade whose controller is killed, or whose hosts change meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal

import pytest

from ..playbooks import Books, Ran
from .replicas import (
    BAD,
    CONVERGE,
    HOSTS,
    NEW,
    OLD,
    SWITCH,
    Watch,
    begin,
    blank,
    engine,
    killed_at,
    order,
    record,
    serve,
)

pytestmark = pytest.mark.hosts


def test_the_run_after_a_controller_that_was_killed_completes_the_work(books: Books) -> None:
    serve(books, *HOSTS)
    books.sh("h2", "ascend-sim behaviour chat hang_at=weights")
    with Watch(books, *HOSTS) as watch:
        running = begin(books, "upgrade", vllm_runtime_version=NEW)
        try:
            assert running.stdout
            line = next(line for line in running.stdout if line.startswith("h2: chat: "))
            assert "ready" not in line
            for other in (
                books.run("deploy", "--limit", "h1"),
                books.run("upgrade", vllm_runtime_version=NEW),
            ):
                assert other.status != 0, other.output
                text = " ".join(other.output.split())
                assert f"is changing this host and others (process {running.pid} of " in text
                assert "wave 1: h1" not in text or SWITCH not in text
            assert engine(books, "h1") == NEW
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        left = record(books, "h2")
        assert (left["state"], left["before"], left["after"]) == ("begun", OLD, NEW)
        # It is still down, and stays so until the next run has seen it: that has to wait for it
        # before it touches another.
        books.sh("h2", "! curl -sf localhost:8000/health")
        assert engine(books, "h2") == NEW
        running = begin(books, "upgrade", vllm_runtime_version=NEW)
        assert running.stdout
        output = ""
        for line in running.stdout:
            if "wave 1:" in line:
                books.sh("h2", "ascend-sim behaviour chat hang_at=null")
            output += line
        ran = Ran(running.wait(), output)
    assert ran.status == 0, ran.output
    assert order(ran) == [
        f"wave 1: h2: has {NEW} already, restarts only what differs",
        f"wave 2: h1: has {NEW} already, restarts only what differs",
        f"wave 3: h3: {OLD} -> {NEW}, restarts chat",
    ]
    assert [engine(books, host) for host in HOSTS] == [NEW] * 3
    assert [each for each in watch.down if each] == [{"h1"}, {"h2"}, {"h3"}]
    assert [record(books, host)["state"] for host in HOSTS] == ["done"] * 3
    assert sum(books.run("upgrade", vllm_runtime_version=NEW).changed(host) for host in HOSTS) == 0


@pytest.mark.long
def test_a_controller_may_be_killed_at_any_moment(books: Books) -> None:
    """Each run is killed somewhat later than the one before; then one is let through."""
    blank(books)
    serve(books, "h1", "h2")
    with Watch(books, "h1", "h2") as watch:
        killed_at(
            books,
            "inferops.ascend.vllm_runtime : Install the environment and switch to it",
            1,
            vllm_runtime_version=NEW,
        )
        killed_at(books, "Record that the change begins", 1, vllm_runtime_version=NEW)
        killed_at(books, CONVERGE, 1, vllm_runtime_version=NEW)
        killed_at(books, "Record that the change is done", 1, vllm_runtime_version=NEW)
        killed_at(books, SWITCH, 2, pause=0, vllm_runtime_version=NEW)
        # The link has moved or not: what crashes now comes up with what it was deployed with.
        pid = books.sh("h2", "systemctl show -P MainPID vllm@chat").strip()
        books.sh("h2", "ln -sfn 0.18.0 /opt/vllm/current")
        books.sh("h2", f"kill -9 {pid}; for i in $(seq 600); do sleep 0.2; curl -sf localhost:8000/health && exit 0; done; exit 1")  # fmt: skip
        words = books.sh(
            "h2", "tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID vllm@chat)/environ"
        )
        assert f"INFEROPS_PROGRAM=/opt/vllm/{OLD}/bin/vllm" in words
        ran = books.run("upgrade", "--limit", "h1,h2", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert [engine(books, host) for host in ("h1", "h2")] == [NEW, NEW]
    assert {"h1", "h2"} not in watch.down
    assert [record(books, host)["state"] for host in ("h1", "h2")] == ["done"] * 2
    again = books.run("upgrade", "--limit", "h1,h2", vllm_runtime_version=NEW)
    assert [again.changed(host) for host in ("h1", "h2")] == [0, 0]


def test_a_controller_killed_on_the_way_back(books: Books) -> None:
    serve(books, "h1")
    books.sh("h1", "touch /etc/no-room")
    one = {"vllm_runtime_version": BAD}
    killed_at(books, SWITCH, 2, **one)
    killed_at(books, CONVERGE, 2, **one)
    ran = books.run("upgrade", "--limit", "h1", **one)
    assert ran.status == 2
    assert f"h1 is back on {OLD} and serves." in ran.output
    assert (engine(books, "h1"), record(books, "h1")["state"]) == (OLD, "failed")
    books.sh("h1", "! test -e /run/inferops-ascend/claim.json")  # for others, at once


def test_no_second_replica_goes_down_with_one_that_went_down_meanwhile(books: Books) -> None:
    serve(books, *HOSTS)
    pid = books.sh("h2", "systemctl show -P MainPID vllm@chat")
    running = begin(books, "upgrade", vllm_runtime_version=NEW)
    assert running.stdout
    output = ""
    for line in running.stdout:
        output += line
        if output.count(f"TASK [{SWITCH}]") == 1 and SWITCH in line:
            books.sh("h3", "systemctl stop vllm@chat")
    assert running.wait() == 2, output
    text = " ".join(output.split())
    assert "h3 does not serve all of chat, or cannot be reached, so h2 is not touched" in text
    assert engine(books, "h1") == NEW
    assert books.sh("h2", "systemctl show -P MainPID vllm@chat") == pid
    assert record(books, "h2") == {}
    ran = books.run("upgrade", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert order(ran)[0].startswith("wave 1: h3: ")
    assert [engine(books, host) for host in HOSTS] == [NEW] * 3


def test_an_interrupted_upgrade_to_a_bad_version_still_finds_its_way_back(books: Books) -> None:
    """The version that served is in the record, though the bad one is current already."""
    serve(books, "h1")
    assert books.run("runtime", "--limit", "h1", vllm_runtime_version=BAD).status == 0
    books.sh(
        "h1",
        "touch /etc/no-room; mkdir -p /var/lib/inferops-ascend; echo '"
        + json.dumps({"state": "begun", "action": "upgrade", "before": OLD, "after": BAD})
        + "' > /var/lib/inferops-ascend/rollout.json",
    )
    ran = books.run("upgrade", "--limit", "h1", vllm_runtime_version=BAD)
    assert ran.status == 2, ran.output
    assert f"h1 is back on {OLD} and serves." in ran.output
    assert engine(books, "h1") == OLD
