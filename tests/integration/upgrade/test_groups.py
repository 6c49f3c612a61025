# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of one service change their engine together, and return together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.tests.hubs import hub

from ..playbooks import Books
from .replicas import (
    BAD,
    CHAT,
    HOSTS,
    NEW,
    OLD,
    ROLE,
    SMALL,
    blank,
    engine,
    order,
    record,
    run_play,
)

pytestmark = pytest.mark.hosts

PAIR = ["h1", "h2"]
TOGETHER = "  h1, h2 change together, because of big."


def member(rank: int, **more: Any) -> dict[str, Any]:
    """The part of a host in a service that spans two."""
    cluster = {"leader": PAIR[0], "rank": rank, "hosts": PAIR}
    sizes = {"tensor_parallel_size": 1, "pipeline_parallel_size": 2, "engine": "native"}
    request = {"model": SMALL, "name": "big", "port": 8010, "cards": 1, "cluster": cluster}
    return {**request, **sizes, **more}


@pytest.fixture
def spanning(books: Books) -> Books:
    """Hosts of which two have one service together and the third a replica of what the second has."""
    path = books.folder / "group_vars" / "all.yml"
    values = yaml.safe_load(path.read_text())
    values["vllm_service_cluster_secret"] = "known to all of its hosts"
    path.write_text(yaml.safe_dump(values))
    books.list_services("h1", member(0))
    books.list_services("h2", member(1), CHAT)
    books.list_services("h3", CHAT)
    return books


def completes(books: Books) -> int:
    """Ask the leader for a completion; return the number of ranks that it has."""
    books.sh(
        "h1",
        "curl -sf localhost:8010/v1/completions -H 'Content-Type: application/json'"
        f" -d '{json.dumps({'model': SMALL, 'prompt': '1', 'max_tokens': 1})}'",
    )
    metrics = books.sh("h1", "curl -sf localhost:8010/metrics")
    found = re.search(r"^standin:ranks(?:{[^}]*})? ([0-9.]+)$", metrics, re.M)
    assert found, metrics
    return int(float(found.group(1)))


def engines(books: Books) -> list[str]:
    """The versions that the services of the three hosts run."""
    return [
        engine(books, host, name) for host, name in zip(HOSTS, ("big", "big", "chat"), strict=True)
    ]


def starts(books: Books) -> list[str]:
    return [books.sh(host, "systemctl show -P InvocationID vllm@big") for host in PAIR]


def test_blank_hosts_serve_together_and_change_together(spanning: Books, tmp_path: Path) -> None:
    weights = tmp_path / "small.tar.gz"
    shape = {"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8}
    weights.write_bytes(hub.tar_of(hub.model(**shape)))
    source = {SMALL: {"source": "archive", "src": str(weights)}}
    for host in PAIR:
        spanning.sh(host, "rm -rf /opt/vllm/*")
    ran = spanning.run("site", "--limit", "h1,h2", vllm_weights_models=source)
    assert ran.status == 0, ran.output
    assert completes(spanning) == 2
    again = spanning.run("site", "--limit", "h1,h2", vllm_weights_models=source)
    assert [again.changed(host) for host in PAIR] == [0, 0], again.output

    blank(spanning)
    assert spanning.run("deploy", "--limit", "h3").status == 0
    before = starts(spanning)
    for book in ("deploy", "upgrade"):
        ran = spanning.run(book, "--limit", "h2,h3", vllm_runtime_version=NEW)
        assert ran.status == 2, ran.output
        words = "spans h1, h2, and this run leaves out h1."
        text = " ".join(ran.output.split())
        assert words in text and "run with --limit h1,h2" in text, ran.output
    assert NEW not in spanning.sh("h2", "ls /opt/vllm").split()

    ran = spanning.run("upgrade", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert order(ran) == [
        f"wave 1: h1: {OLD} -> {NEW}, restarts big",
        f"wave 1: h2: {OLD} -> {NEW}, restarts big, chat",
        f"wave 2: h3: {OLD} -> {NEW}, restarts chat",
    ]
    assert TOGETHER in ran.output
    assert "big has no other replica: it is down while h1, h2 restart it and load." in ran.output
    assert engines(spanning) == [NEW] * 3
    assert completes(spanning) == 2
    again = spanning.run("upgrade", vllm_runtime_version=NEW)
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0], again.output

    back = spanning.run("rollback")
    assert back.status == 0, back.output
    assert engines(spanning) == [OLD] * 3
    assert completes(spanning) == 2
    assert not set(starts(spanning)) & set(before)


@pytest.mark.parametrize("where", [pytest.param("h1", marks=pytest.mark.long), "h2"])
def test_an_engine_that_does_not_start_on_one_host_takes_all_back(
    spanning: Books, where: str
) -> None:
    assert spanning.run("deploy").status == 0
    spanning.sh(where, "touch /etc/no-room")
    ran = spanning.run("upgrade", vllm_runtime_version=BAD)
    assert ran.status == 2, ran.output
    text = ran.output.replace("\\n", "\n")
    for words in (
        f"h1, h2 did not come up with {BAD}:",
        "max_model_len 32768 needs a KV cache of 40.0 GiB, and 20.0 GiB are left.",
        f"h1, h2 are back on {OLD} and serve.",
        f"Not touched, still with {OLD}: h3.",
    ):
        assert words in text, ran.output
    assert engines(spanning) == [OLD] * 3
    assert completes(spanning) == 2
    assert [record(spanning, host).get("state") for host in HOSTS] == ["failed", "failed", None]


def test_a_play_that_divides_the_hosts_changes_nothing_and_one_fork_is_enough(
    spanning: Books,
) -> None:
    spanning.list_services("h3")
    before = {host: spanning.snapshot(host) for host in PAIR}
    one_by_one = ROLE.replace("gather_facts", "serial: 1\n  gather_facts")
    one_by_one = one_by_one.replace("roles:", "roles:\n    - role: inferops.ascend.ascend_host")
    ran = run_play(spanning, one_by_one)
    assert ran.status == 2, ran.output
    assert "with the serial of this play h2 does not come together" in " ".join(ran.output.split())
    assert {host: spanning.snapshot(host) for host in PAIR} == before
    ran = spanning.run("deploy", "--forks", "1")
    assert ran.status == 0, ran.output
    assert completes(spanning) == 2
