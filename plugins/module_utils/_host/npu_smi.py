# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What `npu-smi info` and `npu-smi -v` print, as data.

Pure functions from text to plain values: nothing here runs a program or reads a file.

Source of the formats: github.com/hicann/driver, src/custom/dev_prod/user/npucli/src,
`npu_info_print_ch.c` and `npu_info_print.c` (tables, `info -m`), `npu_chip_info.c`
(`phyid-remap`), `npu_smi.c` (errors).
"""

from __future__ import annotations

import re
from typing import Any, Dict, NamedTuple, Optional, Tuple

from . import tables
from .problems import NpuSmiError, Problem, errors_in, problem

Card = Dict[str, Any]
ChipKey = Tuple[int, Optional[int]]
_BUS_ID = re.compile(r"[0-9A-Za-z._-]*:[0-9A-Za-z:._-]*\Z")
_TITLE = re.compile(r"npu-smi\s+(\S+)(?:\s+Version:\s*(\S+))?")
_TOOL_VERSION = re.compile(r"npu-smi\s+version\s*:?\s*(\S+)", re.IGNORECASE)
# Of an output of which no line can be read.
_MOST_PROBLEMS = 200
_NO_PROCESS = re.compile(
    r"No running process(?:es)? found in NPU\s+([0-9]{1,15})\s*\Z", re.IGNORECASE
)


class Info(NamedTuple):
    """What `npu-smi info` prints.

    cards: as the module returns them, with `logic_id` and `device` null. Besides, for the
    functions below: `device_logic_id` (the column Device of 310P and 310B tables),
    `phy_id_printed`, and every process's `container_pid`.
    """

    cards: list[Card]
    npu_smi_version: str | None
    driver_version: str | None
    problems: list[Problem]


class _InfoParser:
    def __init__(self) -> None:
        self.cards: list[Card] = []
        self.by_key: dict[ChipKey, Card] = {}
        self.problems: list[Problem] = []
        self.npu_smi_version: str | None = None
        self.driver_version: str | None = None
        self.first: tables.Layout | None = None
        self.second: tables.Layout | None = None
        # The table of processes, while in it.
        self.process: tables.Layout | None = None
        # The first of a card's two rows: its NPU id, its values, whether all of them fit.
        self.pending: tuple[int, dict[str, str], bool] | None = None
        self.covered: set[int] = set()
        self.open_process: int | None = None
        self.broken: list[tuple[int, str]] = []

    def add(self, code: str, **values: object) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem(code, **values))

    def drop_pending(self) -> None:
        if self.pending is not None:
            self.add(
                "truncated",
                what="NPU {} has the first of its two rows only".format(self.pending[1].get("npu")),
            )
            self.pending = None

    def header(self, line: str) -> bool:
        """Whether the line is a header; if so, its columns are kept."""
        if "Usage" not in line and "Process" not in line and "Power" not in line:
            return False
        layout = tables.Layout(line)
        if {"pid", "process_memory"} <= layout.columns and "npu" in layout.columns:
            self.drop_pending()
            self.process = layout
        elif {"npu", "name", "health"} <= layout.columns:
            self.drop_pending()
            self.first, self.second, self.process = layout, None, None
        elif "bus" in layout.columns and not layout.columns.isdisjoint({"memory", "hbm"}):
            if self.first is None:
                return False
            self.second = layout
        else:
            return False
        return True

    def row(self, number: int, line: str) -> None:
        if self.process is not None:
            self.process_row(self.process, number, line)
        elif self.first is not None and self.second is not None:
            self.card_row(self.first, self.second, number, line)
        elif self.first is not None:
            self.add("unread_row", line=number, text=tables.shorten(line))

    def card_row(self, first: tables.Layout, second: tables.Layout, number: int, line: str) -> None:
        read = second.read(line)
        chip = read if read is not None and self.is_chip_row(second, read[0]) else None
        if chip is not None and self.pending is not None:
            named, self.pending = self.pending, None
            self.card(named, line, *chip)
            return
        self.drop_pending()
        read = first.read(line)
        npu_id = self.named_npu(read[0]) if read is not None else None
        if read is not None and npu_id is not None:
            self.pending = (npu_id, *read)
        elif chip is not None:
            what = f"line {number} is the second row of a card whose first is missing"
            self.add("truncated", what=what)
        else:
            self.add("unread_row", line=number, text=tables.shorten(line))

    @staticmethod
    def named_npu(values: dict[str, str]) -> int | None:
        """The NPU id in the first of a card's two rows; None for another row."""
        health = values.get("health", "")
        if not values.get("name") or not health or _BUS_ID.match(health):
            return None
        return tables.read_id(values.get("npu"))

    @staticmethod
    def is_chip_row(second: tables.Layout, values: dict[str, str]) -> bool:
        if "chip" in second.columns and tables.read_id(values.get("chip")) is None:
            return False
        bus = values.get("bus", "")
        return bool(_BUS_ID.match(bus)) or tables.is_absent(bus)

    def card(
        self,
        named: tuple[int, dict[str, str], bool],
        line: str,
        chip: dict[str, str],
        complete: bool,
    ) -> None:
        npu_id, name, name_complete = named
        chip_id = tables.read_id(chip.get("chip"))
        if (npu_id, chip_id) in self.by_key:
            self.add("duplicate_card", npu_id=npu_id, chip_id=chip_id)
            return
        used, total = _memory(chip)
        bus = chip.get("bus")
        card: Card = {
            "npu_id": npu_id,
            "chip_id": chip_id,
            "logic_id": None,
            "phy_id": tables.read_id(chip.get("phy")),
            "name": name["name"],
            "health": name["health"],
            "bus_id": bus if bus and not tables.is_absent(bus) else None,
            "memory_total_mb": total,
            "memory_used_mb": used,
            "power_w": tables.read_number(name.get("power")),
            "temperature_c": tables.read_number(name.get("temp")),
            "aicore_percent": tables.read_number(chip.get("aicore")),
            "device": None,
            "processes": [],
            "device_logic_id": tables.read_id(chip.get("device")),
            "phy_id_printed": "phy" in chip,
        }
        if not (complete and name_complete):
            self.add("unread_value", npu_id=npu_id, chip_id=chip_id, text=tables.shorten(line))
        self.cards.append(card)
        self.by_key[npu_id, chip_id] = card

    def process_row(self, layout: tables.Layout, number: int, line: str) -> None:
        none = _NO_PROCESS.match(line[1:-1].strip())
        if none:
            self.covered.add(int(none.group(1)))
            return
        values = self.process_values(layout, line) or {}
        pid, npu_id = tables.read_id(values.get("pid")), tables.read_id(values.get("npu"))
        chip_id = tables.read_id(values.get("chip"))
        has_chip = chip_id is not None or "chip" not in layout.columns
        memory = values.get("process_memory", "")
        has_memory = tables.read_id(memory) is not None or tables.is_absent(memory)
        if not pid or npu_id is None or not has_chip or not has_memory:
            self.add("unread_row", line=number, text=tables.shorten(line))
            return
        self.covered.add(npu_id)
        self.open_process = npu_id
        card = self.by_key.get((npu_id, chip_id)) or self.only_chip(npu_id, chip_id)
        if card is None:
            self.add("process_unknown_card", pid=pid, npu_id=npu_id, chip_id=chip_id)
            return
        card["processes"].append(
            {
                "pid": pid,
                "name": values.get("process_name", ""),
                "memory_mb": tables.read_id(memory),
                "unit": None,
                "container_pid": tables.read_id(values.get("container_pid")),
            }
        )

    @staticmethod
    def process_values(layout: tables.Layout, line: str) -> dict[str, str] | None:
        read = layout.read(line)
        cells = tables.cells_of(line)
        extra = len(cells) - len(layout.cells)
        if read is None and extra > 0 and ["process_name"] in layout.cells:
            # A process may have a bar in its name.
            at = layout.cells.index(["process_name"])
            name = "|".join(cells[at : at + extra + 1])
            merged = cells[:at] + [""] + cells[at + extra + 1 :]
            read = layout.read("|" + "|".join(merged) + "|")
            if read is not None:
                read[0]["process_name"] = name
        return read[0] if read is not None and read[1] else None

    def only_chip(self, npu_id: int, chip_id: int | None) -> Card | None:
        # The 950 prints no chip in one table or in both.
        cards = [card for card in self.cards if card["npu_id"] == npu_id]
        if len(cards) == 1 and (chip_id is None or cards[0]["chip_id"] is None):
            return cards[0]
        return None

    def feed(self, text: str) -> None:
        last = ""
        last_number = 0
        for number, line in enumerate(tables.lines_of(text), 1):
            if not line:
                continue
            if line[0] not in "|+":
                if tables.is_elided(line):
                    self.add("elided", line=number)
                    self.pending = None
                    self.open_process = None
                continue
            last, last_number = line, number
            if tables.is_rule(line):
                self.drop_pending()
                self.open_process = None
                continue
            if not tables.is_complete(line):
                self.broken.append((number, line))
                continue
            title = _TITLE.match(line[1:-1].strip())
            if title:
                self.npu_smi_version = self.npu_smi_version or tables.read_version(title.group(1))
                self.driver_version = self.driver_version or tables.read_version(title.group(2))
                continue
            if tables.is_elided(line):
                self.add("elided", line=number)
                self.pending = None
                continue
            if not self.header(line):
                self.row(number, line)
        self.finish(last, last_number)

    def finish(self, last: str, last_number: int) -> None:
        if self.first is None:
            return
        self.drop_pending()
        for number, line in self.broken:
            if number != last_number:
                self.add("unread_row", line=number, text=tables.shorten(line))
        codes = {entry["code"] for entry in self.problems}
        if last and not tables.is_complete(last):
            self.add("truncated", what=f"line {last_number} ends in the middle")
        elif self.second is None:
            self.add("truncated", what="it ends in the header of the table")
        elif self.open_process is not None:
            self.add(
                "truncated",
                what=f"the rows of processes on NPU {self.open_process} are not closed by a rule",
            )
        elif self.process is not None and "elided" not in codes:
            for npu_id in sorted({card["npu_id"] for card in self.cards} - self.covered):
                self.add("processes_not_shown", npu_id=npu_id)
        if self.process is None:
            self.add("no_process_table")
        if not self.cards:
            self.add("no_cards")


def _memory(chip: dict[str, str]) -> tuple[int | None, int | None]:
    """(used, total) in MB: of the HBM where the chip has it, else of the device memory.

    Chips with HBM print `0 / 0` for the other memory, chips without it have no such column.
    """
    hbm, memory = tables.read_ratio(chip.get("hbm")), tables.read_ratio(chip.get("memory"))
    return memory if not hbm[1] and (memory[1] or "hbm" not in chip) else hbm


def parse_info(text: str, errors: str = "", status: int = 0, command: str = "npu-smi info") -> Info:
    """The cards and processes in the output of `npu-smi info`.

    errors: what came on standard error; status: the exit status.
    Raises NpuSmiError, and nothing else, if there is no table of cards at all.
    What is there is returned with problems if rows are missing, cut off or not understood:
    a card is reported only if both of its rows are complete.
    """
    parser = _InfoParser()
    parser.feed(text)
    reported = errors_in(text + "\n" + errors)
    if parser.first is None:
        if not reported:
            output = tables.shorten(text + "\n" + errors)
            code = "npu_smi_failed" if status else "unknown_layout"
            reported = [problem(code, output=output, command=command, status=status)]
        elif reported[0]["code"] == "driver_incomplete":
            # Its warning alone does not explain why there is no table.
            reported.append(problem("unknown_layout", output=tables.shorten(text + "\n" + errors)))
        raise NpuSmiError(reported)
    if status:
        what = tables.shorten(errors)
        reported.append(problem("npu_smi_exit", command=command, status=status, output=what))
    return Info(
        parser.cards, parser.npu_smi_version, parser.driver_version, reported + parser.problems
    )


def parse_tool_version(text: str) -> str | None:
    """The version in the output of `npu-smi -v`, such as `23.0.rc2`; None if there is none."""
    for line in tables.lines_of(text):
        found = _TOOL_VERSION.search(line)
        if found:
            return tables.read_version(found.group(1))
    return None


def public_card(card: Card) -> Card:
    """A card with the keys that the module documents, without those for ids.py and npu.py."""
    shown = {key: card[key] for key in card if key not in ("device_logic_id", "phy_id_printed")}
    shown["processes"] = [
        {key: process[key] for key in process if key != "container_pid"}
        for process in card["processes"]
    ]
    return shown
