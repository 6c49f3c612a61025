# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The logic and physical ids of cards, from `npu-smi info -m` and `npu-smi info -t phyid-remap`.

Pure functions from text to plain values, as in npu_smi.py.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

from . import tables
from .npu_smi import Card, ChipKey
from .problems import NpuSmiError, Problem, errors_in, problem


class Chip(NamedTuple):
    """One computing chip of `npu-smi info -m`; what is not printed is None."""

    npu_id: int
    chip_id: int
    logic_id: int | None
    phy_id: int | None
    name: str


class Mapping(NamedTuple):
    """What `npu-smi info -m` prints, without the rows of management chips (Mcu, 3559)."""

    chips: list[Chip]
    has_logic_id: bool
    problems: list[Problem]


class Remap(NamedTuple):
    """What `npu-smi info -t phyid-remap -p PHY` prints."""

    phy_id: int
    logic_id: int | None
    npu_id: int
    chip_id: int


_REMAP_FIELD = re.compile(
    r"(Chip Phy(?:sical|-ID| ID)?(?: ID)?|Chip Logic ID|NPU ID|Chip ID)\s*:\s*([0-9]{1,15})\Z",
    re.IGNORECASE,
)


def parse_mapping(text: str, errors: str = "") -> Mapping:
    """The ids of every computing chip, from the output of `npu-smi info -m`.

    Raises NpuSmiError if there is no mapping in it.
    """
    columns: list[str] = []
    chips: list[Chip] = []
    problems: list[Problem] = []
    for line in tables.lines_of(text):
        line = line.strip("|").strip()
        if not line or tables.is_rule(line):
            continue
        words = tables.header_columns(line)
        if "npu" in words and "chip" in words:
            columns = words if words[-1] == "chip_name" else []
            continue
        if not columns:
            continue
        tokens = line.split(None, len(columns) - 1)
        values = dict(zip(columns, tokens))
        npu_id, chip_id = tables.read_id(values.get("npu")), tables.read_id(values.get("chip"))
        if npu_id is None:
            if tables.is_elided(line):
                problems.append(problem("mapping_truncated", text="..."))
            continue
        ids = [values[key] for key in ("logic", "phy") if key in values]
        complete = len(tokens) == len(columns) and all(
            tables.read_id(each) is not None or tables.is_absent(each) for each in ids
        )
        if not complete or chip_id is None:
            problems.append(problem("mapping_truncated", text=tables.shorten(line)))
            continue
        logic_id, phy_id = tables.read_id(values.get("logic")), tables.read_id(values.get("phy"))
        name = values["chip_name"].strip()
        if name.lower() == "mcu" or (name == "3559" and logic_id is None):
            continue
        chips.append(Chip(npu_id, chip_id, logic_id, phy_id, name))
    if not columns:
        reported = errors_in(text + "\n" + errors)
        output = tables.shorten(text + "\n" + errors)
        raise NpuSmiError([problem("mapping_failed", output=output), *reported])
    if "logic" not in columns:
        problems.append(problem("logic_id_not_printed"))
    return Mapping(chips, "logic" in columns, problems)


def parse_phyid_remap(text: str) -> Remap | None:
    """The ids of one physical chip, from `npu-smi info -t phyid-remap -p PHY`; None without."""
    found: dict[str, int] = {}
    for line in tables.lines_of(text):
        field = _REMAP_FIELD.match(line)
        if field:
            key = tables.column_of(" ".join(field.group(1).split()))
            if key in found:
                return None
            found[key] = int(field.group(2))
    if not {"phy", "npu", "chip"} <= set(found):
        return None
    return Remap(found["phy"], found.get("logic"), found["npu"], found["chip"])


def _named(card: Card) -> dict[str, int | None]:
    return {"npu_id": card["npu_id"], "chip_id": card["chip_id"]}


def _conflict(card: Card, what: str, values: str) -> Problem:
    return problem("mapping_conflict", what=what, values=values, **_named(card))


def _values(**ids: int | None) -> str:
    return ", ".join(
        "{} {}".format(key.replace("_", " "), value) for key, value in sorted(ids.items())
    )


def apply_mapping(cards: Sequence[Card], mapping: Mapping) -> list[Problem]:
    """Write logic and physical ids of `info -m` into the cards; the problems met on the way.

    Cards and rows meet by NPU id and chip id, or by NPU id alone where the table prints no chip
    (950). What two sources print differently is null: a wrong id is another user's card.
    """
    problems: list[Problem] = []
    rows: dict[ChipKey, list[Chip]] = {}
    for chip in mapping.chips:
        rows.setdefault((chip.npu_id, chip.chip_id), []).append(chip)
        rows.setdefault((chip.npu_id, None), []).append(chip)
    seen: set[ChipKey] = set()
    for card in cards:
        found = rows.get((card["npu_id"], card["chip_id"]), [])
        if len(set(found)) != 1:
            if found:
                seen.update((chip.npu_id, chip.chip_id) for chip in found)
                values = f"{len(found)} rows of info -m"
                problems.append(_conflict(card, "logic id", values))
            elif mapping.has_logic_id:
                problems.append(problem("mapping_missing", **_named(card)))
            continue
        chip = found[0]
        seen.add((chip.npu_id, chip.chip_id))
        card["chip_id"] = chip.chip_id
        if chip.logic_id is None:
            if mapping.has_logic_id:
                problems.append(problem("mapping_missing", **_named(card)))
        elif card["device_logic_id"] not in (None, chip.logic_id):
            values = _values(info_m=chip.logic_id, table=card["device_logic_id"])
            problems.append(_conflict(card, "logic id", values))
        else:
            card["logic_id"] = chip.logic_id
        if chip.phy_id is not None:
            card["phy_id_printed"] = True
            if card["phy_id"] not in (None, chip.phy_id):
                values = _values(info_m=chip.phy_id, table=card["phy_id"])
                problems.append(_conflict(card, "physical id", values))
                card["phy_id"] = None
            else:
                card["phy_id"] = chip.phy_id
    for chip in mapping.chips:
        if (chip.npu_id, chip.chip_id) not in seen:
            ids = {"npu_id": chip.npu_id, "chip_id": chip.chip_id, "logic_id": chip.logic_id}
            problems.append(problem("card_not_shown", **ids))
    problems += _null_shared(cards, "logic_id", "logic id")
    problems += _null_shared(cards, "phy_id", "physical id")
    return problems


def _null_shared(cards: Sequence[Card], key: str, what: str) -> list[Problem]:
    """Make an id null on all cards that share it: it can be true of one of them only."""
    problems: list[Problem] = []
    owners: dict[int, list[Card]] = {}
    for card in cards:
        if card[key] is not None:
            owners.setdefault(card[key], []).append(card)
    for value, same in sorted(owners.items()):
        if len(same) < 2:
            continue
        for card in same:
            card[key] = None
            problems.append(_conflict(card, what, f"{len(same)} cards have {value}"))
    return problems


def apply_physical_ids(
    cards: Sequence[Card], remaps: Sequence[Remap], nodes: Sequence[int]
) -> list[Problem]:
    """Write `phy_id` where `info` and `info -m` print none, and `device`; the problems met.

    cards: after apply_mapping(). nodes: the N of every /dev/davinciN there is.

    The physical id is the N of /dev/davinciN. Sources, the first that has it counts:

    1. The column Phy-ID of `info` or `info -m` (A3, 950).
    2. `npu-smi info -t phyid-remap -p N`: it maps the N of an existing /dev/davinciN to NPU id,
       chip id and logic id (show_ascend_chip_phyid_remap_info() in npu_chip_info.c; set_phy_id()
       in npu_common.c tests /dev/davinciN with that very N).
    3. Neither has it. On servers of one chip a card the NPU id is the slot of the board
       (dcmi_init_for_server.c), and containers with the cards 0, 3, 4, 7 show NPU ids 0, 3, 4, 7
       over logic ids 0 to 3, so it goes with the device; on cards such as the 300I Duo the NPU id
       comes from the bus, and the logic id goes with the device. Where NPU id and logic id are
       equal for all cards, that is the physical id. Where they differ, the one of which every
       value has a device is assumed and reported as `phy_id_assumed`; if that is true of both
       or none, or logic ids are not known, the id is null and reported as `phy_id_unknown`.

    `device` is null where the node does not exist. An Ascend 950 numbers its nodes by NPU id
    (set_phy_id(), NPU_SMI_V2); where that is not the physical id, `device` stays null.
    """
    problems: list[Problem] = []
    remapped = {(remap.npu_id, remap.chip_id): remap for remap in remaps}
    for card in cards:
        remap = remapped.get((card["npu_id"], card["chip_id"]))
        if card["phy_id_printed"] or remap is None:
            continue
        if None not in (card["logic_id"], remap.logic_id) and card["logic_id"] != remap.logic_id:
            values = _values(info_m=card["logic_id"], phyid_remap=remap.logic_id)
            problems.append(_conflict(card, "physical id", values))
            continue
        card["phy_id"] = remap.phy_id
    problems += _null_shared(cards, "phy_id", "physical id")
    silent = not remaps and not any(card["phy_id_printed"] for card in cards)
    problems += _assume_physical_ids(cards, nodes) if silent else _unknown(cards)
    there = set(nodes)
    for card in cards:
        phy_id = card["phy_id"]
        if phy_id is None:
            continue
        if phy_id in there:
            if "950" not in card["name"] or phy_id == card["npu_id"]:
                card["device"] = f"/dev/davinci{phy_id}"
        elif there:
            problems.append(problem("device_missing", **_named(card), phy_id=phy_id))
    return problems


def ids_agree(cards: Sequence[Card], nodes: Sequence[int]) -> bool:
    """Whether NPU ids and logic ids are equal, and those of the nodes.

    Then the physical ids are the same (3. above), and `phyid-remap` need not run for each node.
    """
    ids = [card["npu_id"] for card in cards]
    return ids == [card["logic_id"] for card in cards] and sorted(ids) == sorted(nodes)


def _unknown(cards: Sequence[Card]) -> list[Problem]:
    return [problem("phy_id_unknown", **_named(card)) for card in cards if card["phy_id"] is None]


def _assume_physical_ids(cards: Sequence[Card], nodes: Sequence[int]) -> list[Problem]:
    there = set(nodes)
    npu_ids = [card["npu_id"] for card in cards]
    logic_ids = [card["logic_id"] for card in cards]
    if None in logic_ids:
        return _unknown(cards)
    if npu_ids == logic_ids and (not there or there.intersection(npu_ids)):
        for card in cards:
            card["phy_id"] = card["npu_id"]
        return []
    by_npu = len(set(npu_ids)) == len(npu_ids) and set(npu_ids) <= there
    by_logic = set(logic_ids) <= there
    if by_npu == by_logic:
        return _unknown(cards)
    key, rule = ("npu_id", "NPU id") if by_npu else ("logic_id", "logic id")
    problems = []
    for card in cards:
        card["phy_id"] = card[key]
        problems.append(problem("phy_id_assumed", **_named(card), phy_id=card["phy_id"], rule=rule))
    return problems
