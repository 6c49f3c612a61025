# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a service is restarted: deferred until a deploy, and not before its cards are free."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from ..playbooks import Books, Ran
from .replicas import (
    CHAT,
    ROLE,
    run_play,
    serve,
)

pytestmark = pytest.mark.hosts


@pytest.mark.long
def test_deferred_writes_and_the_next_deploy_restarts(books: Books) -> None:
    serve(books, "h1")
    pid = books.sh("h1", "systemctl show -P MainPID vllm@chat")
    books.list_services("h1", {**CHAT, "max_model_len": 4096})
    ran = books.run("deploy", "--limit", "h1", vllm_service_restart="deferred")
    assert (ran.status, ran.changed("h1")) == (0, 1), ran.output
    assert "chat: its process runs with other settings" in ran.output
    assert "4096" in books.sh("h1", "cat /etc/vllm/chat.yaml")
    assert books.sh("h1", "systemctl show -P MainPID vllm@chat") == pid
    again = books.run("deploy", "--limit", "h1", vllm_service_restart="deferred")
    assert again.changed("h1") == 0
    assert "chat: its process runs with other settings" in again.output, "it is said each time"
    ran, compared = books.verify("--limit", "h1", vllm_service_restart="deferred")
    assert (ran.status, compared["h1"]["state"]) == (2, "differs"), (
        "it is a difference, though wanted"
    )
    # A new service that is to have the cards of one that waits, waits too.
    moved = [{**CHAT, "cards": [1], "max_model_len": 4096}, {**CHAT, "name": "new", "port": 8001, "cards": [0]}]  # fmt: skip
    books.list_services("h1", *moved)
    ran = books.run("deploy", "--limit", "h1", vllm_service_restart="deferred")
    assert ran.status == 0, ran.output
    assert "new: its cards are free when chat is restarted" in ran.output, ran.output
    state = books.sh("h1", "systemctl is-active vllm@new; systemctl is-enabled vllm@new; true")
    assert state.split() == ["inactive", "disabled"], "it has no files yet"

    ran = books.run("deploy", "--limit", "h1")
    assert ran.status == 0, ran.output
    assert books.sh("h1", "systemctl show -P MainPID vllm@chat") != pid
    assert books.run("deploy", "--limit", "h1").changed("h1") == 0


def converge(books: Books, **extra: Any) -> Ran:
    """Run the role alone: preflight would refuse a card that somebody holds."""
    return run_play(books, ROLE, "--limit", "h1", **extra)


def test_a_restart_waits_until_the_cards_are_free(books: Books) -> None:
    serve(books, "h1")
    held = 'ascend-sim card 0 processes=\'[{"pid": 999999, "name": "python", "memory_mb": 50000}]\''
    books.sh("h1", held)
    books.list_services("h1", {**CHAT, "env": {"TRIAL": "1"}})
    begun = time.time()
    free = threading.Timer(8.0, lambda: books.sh("h1", "date +%s > /tmp/freed; ascend-sim card 0 processes=[]"))  # fmt: skip
    free.start()
    ran = converge(books, vllm_service_free_timeout=60)
    free.join()
    assert ran.status == 0, ran.output
    assert "is in use by" not in ran.output
    up = books.sh("h1", 'date +%s -d "$(systemctl show -P ExecMainStartTimestamp vllm@chat)"')
    assert int(up) >= int(books.sh("h1", "cat /tmp/freed")) > begun

    # For a bounded time; then the service is started, and who holds the card is said.
    books.sh("h1", held)
    books.list_services("h1", {**CHAT, "env": {"TRIAL": "2"}})
    ran = converge(books, vllm_service_free_timeout=1)
    books.sh("h1", "ascend-sim card 0 processes=[]")
    assert ran.status == 0, ran.output
    assert "card 0 is in use by PID 999999 (python)" in " ".join(ran.output.split())
    assert "TRIAL=2" in books.sh("h1", "cat /proc/$(systemctl show -P MainPID vllm@chat)/environ | tr '\\0' '\\n'")  # fmt: skip
