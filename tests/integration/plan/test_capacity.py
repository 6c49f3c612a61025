# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `capacity` where it asks the hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..hosts import scenario, started
from ..playbooks import CLEAN, Books

SCENARIO = scenario("capacity")
KINDS = {"a2": "a2-64g", "duo": "duo-96g", "plain": "none"}
ENGINE = "0.13.0"
INSTALLED = f"/opt/vllm/current/lib/python3.11/site-packages/vllm_ascend-{ENGINE}.dist-info"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("capacity") / "inventory.yml"
    flags = [word for name, kind in KINDS.items() for word in ("--host", f"{name}:{kind}")]
    with started(SCENARIO, path, *flags, "--vllm", ENGINE) as inventory:
        yield inventory


@pytest.fixture
def books(inventory: Path, tmp_path: Path) -> Iterator[Books]:
    it = Books(SCENARIO, inventory, tmp_path)
    yield it
    for host in ("a2", "duo"):
        it.sh(host, f"rm -rf {INSTALLED}; {CLEAN}", check=False)


def asked(books: Books, *flags: str) -> tuple[str, dict[str, Any]]:
    """What is printed, and the file."""
    file = books.folder / "capacity.json"
    ran = books.run(
        "capacity",
        *flags,
        capacity_contact=True,
        capacity_models=["Qwen3-14B", "Qwen3-235B-A22B"],
        capacity_json=str(file),
    )
    assert ran.status == 0, ran.output
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return ran.output, found


def test_hosts_are_asked_for_cards_and_engine_and_nothing_on_them_changes(books: Books) -> None:
    # The first declares nothing, the second what it is not, the third has no cards.
    books.list_services("a2", ascend_host_profile=None, ascend_host_excluded_cards=[3])
    books.list_services("duo")
    books.list_services("plain")
    # As pip leaves it; the simulated engine is no package.
    books.sh("a2", f"mkdir -p {INSTALLED}")
    before = [books.snapshot(host) for host in ("a2", "duo")]

    output, found = asked(books)
    kinds = {kind["hosts"][0]: kind for kind in found["profiles"]}
    assert {host: (kind["cards"], kind["card_memory_gb"]) for host, kind in kinds.items()} == {
        "a2": (7, 64),
        "duo": (8, 48),
    }
    assert all(kind["contacted"] for kind in kinds.values())
    assert {host: kind["engine_version"] for host, kind in kinds.items()} == {
        "a2": ENGINE,
        "duo": "0.18.0",  # the default: nothing is installed as a package
    }
    (left,) = found["left_out"]
    assert left["host"] == "plain"
    assert "it could not be asked for its cards" in left["reason"]
    assert f"engine {ENGINE}" in " ".join(output.split())

    rows = {(row["profile"], row["asked"]): row for row in found["rows"]}
    measured = rows[kinds["a2"]["name"], "Qwen3-14B"]
    assert (measured["basis"], measured["cards"]) == ("measured", 1)
    large = rows[kinds["a2"]["name"], "Qwen3-235B-A22B"]
    assert any("one of this kind has 7 cards for services" in text for text in large["change"]), (
        large
    )
    assert rows[kinds["duo"]["name"], "Qwen3-14B"]["basis"] == "estimated"
    assert [books.snapshot(host) for host in ("a2", "duo")] == before


def test_a_limit_asks_these_hosts_alone_and_cards_of_a_service_count(books: Books) -> None:
    chat = {"model": "Qwen3-8B", "name": "chat"}
    books.list_services("a2", chat, vllm_service_engine_version=ENGINE)
    assert books.run("deploy", "--limit", "a2").status == 0
    pid = books.sh("a2", "systemctl show -P MainPID vllm@chat")

    _output, found = asked(books, "--limit", "a2")
    assert [(kind["hosts"], kind["cards"]) for kind in found["profiles"]] == [(["a2"], 8)]
    assert found["left_out"] == []
    assert books.sh("a2", "systemctl show -P MainPID vllm@chat") == pid
