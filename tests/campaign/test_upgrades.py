# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two upgrades and a deploy of the same hosts at once: one changes them, and a replica serves at all times."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from integration.playbooks import Books
from integration.upgrade.replicas import HOSTS, NEW, OLD, Watch, begin, blank, engine, record, serve

pytestmark = [pytest.mark.hosts, pytest.mark.long]

# Tasks of the upgrade that began first, at which the deploy begins.
MOMENTS = (
    "Install the version beside the others",
    "Report the order",
    "Claim the host",
    "Record that the change begins",
    "Wait until they serve",
)
REJECTED = "is changing this host and others"


def read_until(run: subprocess.Popen[str], task: str) -> str:
    """Read what a run prints until it begins a task, or ends."""
    output = ""
    assert run.stdout
    for line in run.stdout:
        output += line
        if line.startswith("TASK [") and task in line:
            break
    return output


def test_two_upgrades_and_a_deploy_at_once(
    books: Books, chance: random.Random, figure: Callable[..., None]
) -> None:
    blank(books)
    serve(books, *HOSTS)
    moment = chance.choice(MOMENTS)
    runs: list[subprocess.Popen[str]] = []
    with Watch(books, *HOSTS) as watch:
        try:
            runs.append(begin(books, "upgrade", vllm_runtime_version=NEW))
            # Two that claim within a second of each other may both be rejected.
            time.sleep(8 * chance.random())
            runs.append(begin(books, "upgrade", vllm_runtime_version=NEW))
            begun = read_until(runs[0], moment)
            runs.append(begin(books, "deploy"))
            ends = [begun, "", ""]
            for number, run in enumerate(runs):
                ends[number] += run.communicate(timeout=400)[0]
        finally:
            for run in runs:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)
                run.wait()
    for run, output in zip(runs, ends, strict=True):
        assert run.returncode in (0, 2) and "Traceback" not in output, output
        assert run.returncode == 0 or REJECTED in " ".join(output.split()), (moment, output)
    assert all(len(each) <= 1 for each in watch.down), (moment, watch.down, ends)
    done = [run.returncode == 0 for run in runs]
    expected = NEW if any(done[:2]) else OLD
    assert [engine(books, host) for host in HOSTS] == [expected] * len(HOSTS), (moment, ends)

    last = books.run("upgrade", vllm_runtime_version=NEW)
    assert last.status == 0, last.output
    assert [engine(books, host) for host in HOSTS] == [NEW] * len(HOSTS)
    assert [record(books, host)["state"] for host in HOSTS] == ["done"] * len(HOSTS)
    for host in HOSTS:
        books.sh(host, "! test -e /run/inferops-ascend/claim.json")
    words = ["went through" if each else "was rejected" for each in done]
    figure(
        "races",
        f"two upgrades of three hosts, and a deploy from '{moment}' on",
        1,
        f"a replica served at all times; the first {words[0]}, the second {words[1]}, the deploy {words[2]}",
    )
