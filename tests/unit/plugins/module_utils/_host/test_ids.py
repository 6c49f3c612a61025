# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logic and physical ids: what is certain, and what is null with a problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import ids, npu_smi, problems
from hypothesis import given, settings
from hypothesis import strategies as st

from .tables_of_hosts import TABLE, codes, facts, mutated, text_of


def host(info: str, mapping: str) -> tuple[list[dict[str, Any]], list[str]]:
    cards = npu_smi.parse_info(text_of(info)).cards
    parsed = ids.parse_mapping(mapping)
    return cards, codes(parsed.problems + ids.apply_mapping(cards, parsed))


def test_mapping_of_a_recorded_host(shared: Path) -> None:
    text = (shared / "samples/npu-smi/910A-23.0.5-m-1.txt").read_text(encoding="utf-8")
    mapping = ids.parse_mapping(text)
    assert mapping.problems == []
    assert [(chip.npu_id, chip.logic_id) for chip in mapping.chips] == [(n, n) for n in range(8)]


def test_mapping_of_two_chips_a_board() -> None:
    cards, problems = host("310p3-duo-info.txt", text_of("310p3-duo-m.txt"))
    assert [card["logic_id"] for card in cards] == [0, 1, 2, 3]
    assert problems == []


def test_mapping_with_physical_ids() -> None:
    cards, problems = host("a3-16-dies-info.txt", text_of("a3-16-dies-m.txt"))
    assert [card["logic_id"] for card in cards] == list(range(16))
    assert [card["phy_id"] for card in cards] == list(range(16))
    assert problems == []


def test_950_prints_no_logic_id(shared: Path) -> None:
    samples = shared / "samples/npu-smi"
    cards = npu_smi.parse_info((samples / "950-doc-basic-1.txt").read_text("utf-8")).cards
    mapping = ids.parse_mapping((samples / "950-doc-m-1.txt").read_text("utf-8"))
    problems = mapping.problems + ids.apply_mapping(cards, mapping)
    assert facts(cards[0], "npu_id", "chip_id", "logic_id", "phy_id") == (0, 0, None, 0)
    assert codes(problems) == ["logic_id_not_printed"]


HEAD = "NPU ID  Chip ID  Chip Logic ID  Chip Name\n"
HEAD5 = "NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name\n"


def test_ids_do_not_come_from_the_order_of_rows() -> None:
    rows = "5 0 0 Ascend 910B3\n0 1 - Mcu\n0 0 2 Ascend 910B3\n3 0 1 Ascend 910B3\n"
    cards, problems = host("a2-26.1.0-info.txt", HEAD + rows)
    assert [(card["npu_id"], card["logic_id"]) for card in cards] == [(0, 2), (3, 1), (5, 0)]
    assert problems == []


@pytest.mark.parametrize(
    ("rows", "logic_ids", "problems"),
    [
        ("0 0 0 A\n3 0 1 A\n", [0, 1, None], ["mapping_missing"]),
        ("0 0 0 A\n3 0 - A\n5 0 1 A\n", [0, None, 1], ["mapping_missing"]),
        ("0 0 0 A\n3 0 1 A\n5 0 1 A\n", [0, None, None], ["mapping_conflict"] * 2),
        ("0 0 0 A\n0 0 4 A\n3 0 1 A\n5 0 2 A\n", [None, 1, 2], ["mapping_conflict"]),
        ("0 0 0 A\n3 0 1 A\n5 0 2 A\n7 0 3 A\n", [0, 1, 2], ["card_not_shown"]),
        ("0 0 0 A\n3 0 1 A\n5 0 2\n", [0, 1, None], ["mapping_truncated", "mapping_missing"]),
        ("0 0 0 A\n...\n5 0 2 A\n", [0, None, 2], ["mapping_truncated", "mapping_missing"]),
    ],
)
def test_uncertain_mapping_is_null(
    rows: str, logic_ids: list[int | None], problems: list[str]
) -> None:
    cards, found = host("a2-26.1.0-info.txt", HEAD + rows)
    assert [card["logic_id"] for card in cards] == logic_ids
    assert found == problems


def test_table_and_mapping_that_contradict_each_other() -> None:
    swapped = text_of("310p3-duo-m.txt").replace("32896 ", "X ").replace("2 ", "32896 ")
    cards, problems = host("310p3-duo-info.txt", swapped.replace("X ", "2 "))
    assert [card["logic_id"] for card in cards] == [None] * 4
    assert set(problems) == {"mapping_conflict"}
    cards, problems = host(
        "a3-16-dies-info.txt",
        HEAD5 + "".join(f"{n // 2} {n % 2} {n} {15 - n} Ascend910\n" for n in range(16)),
    )
    assert [card["phy_id"] for card in cards] == [None] * 16


@pytest.mark.parametrize("text", ["", "ret is -8005", TABLE, "NPU ID Chip ID"])
def test_no_mapping(text: str) -> None:
    with pytest.raises(problems.NpuSmiError) as caught:
        ids.parse_mapping(text)
    assert caught.value.problems[0]["code"] == "mapping_failed"


REMAP = "\tChip Physical ID{0}:6\n\tChip Logic ID{0}:1\n\tNPU ID{0}:3\n\tChip ID{0}:0\n"


def test_phyid_remap() -> None:
    assert ids.parse_phyid_remap(REMAP.format("              ")) == (6, 1, 3, 0)
    new = "Chip Phy-ID          :6\nNPU ID               :3\nSlot ID :4\nChip ID  :0\n"
    assert ids.parse_phyid_remap(new) == (6, None, 3, 0)
    for text in ("", TABLE, REMAP.format("")[:40], REMAP.format("") * 2, "Chip Phy-ID :x"):
        assert ids.parse_phyid_remap(text) is None


def three_cards(*logic_ids: int | None) -> list[dict[str, Any]]:
    """The cards with NPU ids 0, 3, 5."""
    cards = npu_smi.parse_info(text_of("a2-26.1.0-info.txt")).cards
    for card, logic_id in zip(cards, logic_ids):
        card["logic_id"] = logic_id
    return cards


def test_physical_ids_as_npu_smi_maps_them() -> None:
    cards = three_cards(0, 1, 2)
    remaps = [ids.Remap(4, 0, 0, 0), ids.Remap(6, 1, 3, 0), ids.Remap(7, 2, 5, 0)]
    assert ids.apply_physical_ids(cards, remaps, [4, 6, 7]) == []
    assert [card["phy_id"] for card in cards] == [4, 6, 7]
    assert [card["device"] for card in cards] == [f"/dev/davinci{n}" for n in (4, 6, 7)]


def test_physical_ids_that_are_not_certain_are_null() -> None:
    cards = three_cards(0, 1, 2)
    remaps = [ids.Remap(4, 2, 0, 0), ids.Remap(6, 1, 3, 0)]
    problems = ids.apply_physical_ids(cards, remaps, [4, 6])
    assert [card["phy_id"] for card in cards] == [None, 6, None]
    assert codes(problems) == ["mapping_conflict", "phy_id_unknown", "phy_id_unknown"]
    cards = three_cards(0, 1, 2)
    same = [ids.Remap(6, 0, 0, 0), ids.Remap(6, 1, 3, 0)]
    ids.apply_physical_ids(cards, same, [6])
    assert [card["phy_id"] for card in cards] == [None] * 3


@pytest.mark.parametrize(
    ("logic_ids", "nodes", "phy_ids", "problem"),
    [
        ((0, 3, 5), [], [0, 3, 5], None),
        ((0, 3, 5), [0, 3, 5], [0, 3, 5], None),
        ((0, 3, 5), [0, 3], [0, 3, 5], "device_missing"),
        ((0, 3, 5), [8, 9, 10], [None] * 3, "phy_id_unknown"),
        ((0, 1, 2), [0, 3, 5], [0, 3, 5], "phy_id_assumed"),
        ((0, 1, 2), [0, 1, 2], [0, 1, 2], "phy_id_assumed"),
        ((0, 1, 2), [0, 1, 2, 3, 4, 5], [None] * 3, "phy_id_unknown"),
        ((0, 1, 2), [], [None] * 3, "phy_id_unknown"),
        ((5, 3, 0), [0, 3, 5], [None] * 3, "phy_id_unknown"),
        ((None, None, None), [0, 3, 5], [None] * 3, "phy_id_unknown"),
    ],
)
def test_physical_ids_that_npu_smi_does_not_tell(
    logic_ids: tuple[int | None, ...],
    nodes: list[int],
    phy_ids: list[int | None],
    problem: str | None,
) -> None:
    cards = three_cards(*logic_ids)
    problems = ids.apply_physical_ids(cards, [], nodes)
    assert [card["phy_id"] for card in cards] == phy_ids
    assert set(codes(problems)) == ({problem} if problem else set())
    for card in cards:
        there = card["phy_id"] is not None and card["phy_id"] in nodes
        assert card["device"] == (f"/dev/davinci{card['phy_id']}" if there else None)


def test_950_with_a_device_of_another_number() -> None:
    cards = npu_smi.parse_info(text_of("950dt-25.6.rc1-info.txt")).cards
    mapping = "NPU ID  Slot ID  Chip ID  Chip Phy-ID  Chip Name\n0 0 0 0 A\n6 6 0 1 A\n"
    ids.apply_mapping(cards, ids.parse_mapping(mapping))
    ids.apply_physical_ids(cards, [], [0, 1])
    assert [card["device"] for card in cards] == ["/dev/davinci0", None]


@settings(max_examples=200, deadline=None)
@given(mutated(), st.lists(st.integers(0, 20), max_size=5))
def test_ids_of_any_mapping_are_unique_or_null(noise: str, nodes: list[int]) -> None:
    """No two cards share an id, whatever the mapping says, and a device is one that exists."""
    mapping = ids.Mapping(
        [
            ids.Chip(n % 4, n % 3, len(line) % 7, len(line) % 5 or None, "A")
            for n, line in enumerate(noise.split("\n"))
        ],
        True,
        [],
    )
    cards = npu_smi.parse_info(text_of("a3-16-dies-info.txt")).cards
    ids.apply_mapping(cards, mapping)
    ids.apply_physical_ids(cards, [], nodes)
    for key in ("logic_id", "phy_id"):
        known = [card[key] for card in cards if card[key] is not None]
        assert len(known) == len(set(known))
    for card in cards:
        assert card["device"] in [None, *(f"/dev/davinci{node}" for node in nodes)]
