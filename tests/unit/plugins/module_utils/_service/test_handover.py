# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No moment between two writes shows two owners of a card, whatever changes hands."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base import files
from ansible_collections.inferops.ascend.plugins.module_utils._base.files import (
    DesiredFile,
    compare,
    mark,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service import writes
from ansible_collections.inferops.ascend.plugins.module_utils._service.handover import (
    Placements,
    placed,
    shares,
    without_cards,
)

NAMES = "abcdef"


def some_placement(chance: random.Random) -> dict[str, frozenset[int]]:
    """Disjoint cards of some of the services."""
    found: dict[str, set[int]] = {name: set() for name in NAMES if chance.random() < 0.8}
    for card in range(8):
        if found and chance.random() < 0.8:
            found[chance.choice(sorted(found))].add(card)
    return {name: frozenset(cards) for name, cards in found.items() if cards}


def conf(unit: str, cards: frozenset[int]) -> str:
    value = ",".join(map(str, sorted(cards)))
    return f"{mark(unit)}[Service]\nEnvironment=ASCEND_RT_VISIBLE_DEVICES={value}\n"


def on_disk(directory: Path) -> dict[str, frozenset[int]]:
    found = {path.stem: placed(path.read_text("utf-8")) for path in directory.glob("*.conf")}
    return {name: cards for name, cards in found.items() if cards}


def disjoint(found: dict[str, frozenset[int]]) -> bool:
    return sum(map(len, found.values())) == len(frozenset().union(*found.values()))


@pytest.mark.parametrize("seed", range(60))
def test_no_moment_shows_two_owners(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real writes of a run, read after each rename."""
    directory = tmp_path / "systemd"
    directory.mkdir()
    chance = random.Random(seed)
    before, after = some_placement(chance), some_placement(chance)
    waits = [name for name in sorted(before) if chance.random() < 0.2]
    for name, cards in before.items():
        (directory / f"{name}.conf").write_text(conf(f"vllm@{name}.service", cards), "utf-8")
    placements = Placements(before, dict(after), before)
    blocked = placements.blocked(waits, waits)
    for name in [*waits, *blocked]:
        placements.after.pop(name, None)
    changes: dict[str, Any] = {}
    for name in {*before, *after} - {*waits, *blocked}:
        unit = f"vllm@{name}.service"
        text = conf(unit, after[name]) if name in after else None
        change = compare(DesiredFile(unit, str(directory / f"{name}.conf"), text), False)
        changes[name] = [change] if change else []
    plan: Any = SimpleNamespace(
        paths=[str(directory / "%i.conf")],
        shared_changes=[],
        changes=changes,
        placed=placements,
        units=SimpleNamespace(label=None),
        unit_of=lambda name: f"vllm@{name}.service",
    )
    seen = []

    def switch(staged: files.Staged) -> str | None:
        copy = files.switch(staged)
        seen.append(on_disk(directory))
        return copy

    monkeypatch.setattr(writes, "switch", switch)
    kept = [name for name in after if name in changes]
    ready = writes.Writes(plan, kept, [])
    ready.make(kept, (), [])
    assert all(map(disjoint, seen)), (before, after, waits, seen)
    expected = {name: after[name] for name in kept}
    final = on_disk(directory)
    assert {name: final[name] for name in kept} == expected
    for name in [*waits, *blocked]:
        assert final.get(name) == before.get(name), "what waits keeps its files"


def test_what_was_ready_for_a_service_that_is_not_written_is_removed(tmp_path: Path) -> None:
    """As where the service that has its cards does not stop; its environment may have secrets."""
    changes: dict[str, Any] = {}
    for name in ("a", "b"):
        desired = DesiredFile(
            f"vllm@{name}.service", str(tmp_path / f"{name}.env"), name, 0o600, True
        )
        changes[name] = [compare(desired, False)]
    plan: Any = SimpleNamespace(
        paths=[str(tmp_path / "%i.env")],
        shared_changes=[],
        changes=changes,
        placed=Placements({}, {}, {}),
        units=SimpleNamespace(label=None),
    )
    writes.Writes(plan, ["a", "b"], []).make(["a"], {"b"}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.env"]


def test_a_swap_empties_both_and_what_moves_to_a_free_card_none() -> None:
    swap = Placements({"a": frozenset([0]), "b": frozenset([1])}, {"a": frozenset([1]), "b": frozenset([0])}, {})  # fmt: skip
    assert swap.givers() == ["a", "b"]
    free = Placements({"a": frozenset([0])}, {"a": frozenset([2]), "b": frozenset([1])}, {})
    assert free.givers() == []


def test_a_process_that_was_started_from_other_files_counts_as_their_owner() -> None:
    placements = Placements(
        {"a": frozenset([0])}, {"a": frozenset([0]), "b": frozenset([1])}, {"a": frozenset([1])}
    )
    assert placements.givers() == ["a"]
    assert placements.blocked([], ["a"]) == {"b": "a"}


def test_what_waits_for_what_waits_is_left_too() -> None:
    before = {"a": frozenset([0]), "b": frozenset([1]), "c": frozenset([2])}
    after = {"a": frozenset([1]), "b": frozenset([2]), "c": frozenset([3])}
    assert Placements(before, after, before).blocked(["c"], ["c"]) == {"b": "c", "a": "b"}
    assert Placements(before, after, before).blocked([], []) == {}


def test_services_that_share_a_card_and_keep_it_are_written_at_once() -> None:
    both = {"a": frozenset([0]), "b": frozenset([0])}
    assert Placements(both, both, both).givers() == []
    one = Placements({"a": frozenset([0])}, both, {"a": frozenset([0])})
    assert one.givers() == ["a"], "it had the card for itself"


def test_a_placement_without_cards_is_of_the_collection() -> None:
    text = without_cards("vllm@a.service", "/etc/systemd/system/vllm@a.service.d/placement.conf")
    assert files.is_marked(text, "vllm@a.service") and placed(text) == frozenset()


SHARED = "[Service]\nEnvironment=ASCEND_RT_VISIBLE_DEVICES=0\nEnvironment=INFEROPS_SHARE=1\n"


def test_services_that_share_a_card_are_no_owners_to_each_other() -> None:
    a, none = frozenset("a"), frozenset[str]()
    card = frozenset([0])
    joined: dict[str, Any] = {"before": {"a": card}, "after": {"a": card, "b": card}, "in_use": {}}
    both = Placements(**joined, shared=a, to_share=frozenset("ab"))
    assert both.givers() == [] and both.blocked(["a"], ["a"]) == {}
    # One that had the card alone until now stops before the other one is written.
    alone = Placements(**joined, shared=none, to_share=frozenset("ab"))
    assert alone.givers() == ["a"]
    # One that wants the card alone does not get it beside another one.
    lonely = Placements(**joined, shared=a, to_share=a)
    assert lonely.givers() == ["a"] and lonely.blocked(["a"], ["a"]) == {"b": "a"}


def test_the_mark_of_those_that_share_is_read() -> None:
    assert shares(SHARED) and placed(SHARED) == {0}
    assert not shares(SHARED.replace("=1", "=0")) and not shares(None)
