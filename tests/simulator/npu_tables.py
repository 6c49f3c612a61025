# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the simulated `npu-smi`: cards, their processes, and their ids.

Layouts (field `layout` of the state):
  hbm        96 columns, 910, 910B
  hbm-phy    96 columns with Phy-ID, A3
  hbm-wide   114 columns, drivers 26.x
  ddr        104 columns, 310P and 310B
  950        97 columns, Ascend 950
Column widths are those of the driver's own `npu-smi` and of recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import ascend_sim as sim

INCOMPLETE = (
    "[WARNING]The driver package may not be completely installed, "
    "which may cause function abnormal. Please reinstall it.\n"
)


Card = dict[str, Any]
State = dict[str, Any]
Claims = dict[int, list[sim.Process]]


@dataclass(frozen=True)
class Layout:
    """One table layout: rules by column widths, texts and row formats."""

    columns: tuple[int, ...]
    title: str
    heads: tuple[str, str]
    process_head: str
    first: str
    second: str
    process: str
    idle: str
    process_columns: tuple[int, ...] = ()
    processes: bool = True

    def rule(self, mark: str, columns: tuple[int, ...] | None = None) -> str:
        chosen = columns or self.columns
        return "+" + "+".join(mark * width for width in chosen) + "+"

    def line(self, mark: str = "-") -> str:
        return self.rule(mark, (sum(self.columns) + len(self.columns) - 1,))


HBM = Layout(
    columns=(27, 15, 52),
    title="| npu-smi {tool:<24} Version: {driver:<52} |",
    heads=(
        "| NPU   Name                | Health        "
        "| Power(W)    Temp(C)           Hugepages-Usage(page)|",
        "| Chip                      | Bus-Id        "
        "| AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |",
    ),
    process_head="| NPU     Chip              | Process id    "
    "| Process name             | Process memory(MB)      |",
    first="| {npu:<5} {name:<20}| {health:<13} | {power:<11} {temp:<17} {pages:<5}/ {page_total:<13} |",
    second="| {chip:<26}| {bus:<13} | {aicore:<11} {ddr:<5}/ {ddr_total:<10} {used:<5}/ {total:<13} |",
    process="| {npu:<7} {chip:<18}| {pid:<13} | {name:<24} | {memory:<23} |",
    idle="| No running processes found in NPU {npu:<60} |",
)
HBM_PHY = Layout(
    columns=HBM.columns,
    title=HBM.title,
    heads=(HBM.heads[0], HBM.heads[1].replace("| Chip        ", "| Chip  Phy-ID", 1)),
    process_head=HBM.process_head,
    first=HBM.first,
    second=HBM.second.replace("{chip:<26}", "{chip:<5} {phy:<20}"),
    process=HBM.process,
    idle=HBM.idle,
)
HBM_WIDE = Layout(
    columns=(27, 15, 70),
    title="| npu-smi {tool:<35} Version: {driver:<59} |",
    heads=(
        "| NPU   Name                | Health        "
        "| Power(W)             Temp(C)                 Hugepages-Usage(page)   |",
        "| Chip                      | Bus-Id        "
        "| AICore(%)            Memory-Usage(MB)        HBM-Usage(MB)           |",
    ),
    process_head="| NPU     Chip              | Process id    "
    "| Process name       | Process memory(MB)    | Process id in container |",
    first="| {npu:<5} {name:<20}| {health:<13} "
    "| {power:<20} {temp:<23} {pages:<5}/ {page_total:<16} |",
    second="| {chip:<26}| {bus:<13} "
    "| {aicore:<20} {ddr:<5}/ {ddr_total:<16} {used:<5}/ {total:<16} |",
    process="| {npu:<7} {chip:<18}| {pid:<13} | {name:<18} | {memory:<21} | {inner:<23} |",
    idle="| No running processes found in NPU {npu:<78} |",
)
DDR = Layout(
    columns=(31, 17, 54),
    title="| npu-smi {tool:<40} Version: {driver:<44} |",
    heads=(
        "| NPU     Name                  | Health          "
        "| Power(W)     Temp(C)           Hugepages-Usage(page) |",
        "| Chip    Device                | Bus-Id          "
        "| AICore(%)    Memory-Usage(MB)                        |",
    ),
    process_head="| NPU     Chip                  | Process id      "
    "| Process name             | Process memory(MB)        |",
    first="| {npu:<7} {name:<22}| {health:<15} | {power:<12} {temp:<17} {pages:<6}/ {page_total:<13} |",
    second="| {chip:<7} {logic:<22}| {bus:<15} | {aicore:<12} {used:<5}/ {total:<32} |",
    process="| {npu:<7} {chip:<22}| {pid:<15} | {name:<24} | {memory:<25} |",
    idle="| No running processes found in NPU {npu:<68} |",
)
A950 = Layout(
    columns=(27, 15, 53),
    title="| npu-smi {tool:<31} Version: {driver:<46} |",
    heads=(
        "| NPU ID | Name             | Health        "
        "| Power(W)    Temp(C)           Hugepages-Usage(page) |",
        "|        |                  | Bus-Id        "
        "| NPU Util(%) Memory-Usage(MB)  HBM-Usage(MB)         |",
    ),
    process_head="| NPU ID                    | Process id    "
    "| Process name             | Process memory(MB)       |",
    first="| {npu:<6} | {name:<16} | {health:<13} "
    "| {power:<11} {temp:<17} {pages:<6}/ {page_total:<13} |",
    second="| {blank:<6} | {blank:<16} | {bus:<13} "
    "| {aicore:<11} {ddr:<5}/ {ddr_total:<10} {used:<6}/ {total:<13} |",
    process="| {npu:<25} | {pid:<13} | {name:<24} | {memory:<24} |",
    idle="| No running processes found in NPU {npu:<61} |",
)
LAYOUTS = {"hbm": HBM, "hbm-phy": HBM_PHY, "hbm-wide": HBM_WIDE, "ddr": DDR, "950": A950}


def by_npu(state: State) -> list[tuple[int, list[Card]]]:
    cards = sorted(sim.cards_of(state), key=lambda c: (c["npu_id"], c["chip_id"]))
    return [(npu, list(group)) for npu, group in groupby(cards, key=lambda c: int(c["npu_id"]))]


def power(state: State, card: Card) -> str:
    if card["power"] is None:
        # The second die of an A3 card, and a 310P, report none.
        return "NA" if state["layout"] == "ddr" else "-"
    return f"{card['power']:.1f}"


def row(state: State, card: Card, claims: Claims) -> dict[str, Any]:
    return {
        "npu": card["npu_id"],
        "chip": card["chip_id"],
        "phy": card["phy_id"],
        "logic": card["logic_id"],
        "name": card["name"],
        "health": card["health"],
        "bus": card["bus_id"],
        "power": power(state, card),
        "temp": card["temp"],
        "aicore": card["aicore"],
        "pages": card.get("hugepages_used", 0),
        "page_total": card.get("hugepages_total", 0),
        "ddr": card.get("ddr_used", 0),
        "ddr_total": card.get("ddr_total", 0),
        "used": sim.used_mb(card, claims),
        "total": card["memory_total"],
        "blank": "",
    }


def table(state: State, claims: Claims, complete: bool = True) -> str:
    """The output of `npu-smi info`."""
    layout = LAYOUTS[state["layout"]]
    # The 950's card rows have a column more than its other rules.
    card_columns = (8, 18, 15, 53) if layout is A950 else layout.columns
    driver = state["driver_version"]
    tool = state.get("tool_version") or driver
    lines = [
        layout.line(),
        layout.title.format(tool=tool, driver=driver),
        layout.rule("-"),
        *layout.heads,
        layout.rule("=", card_columns),
    ]
    # Between the chips of one card: one unbroken rule in HBM tables, columns in the others.
    between = layout.rule("-") if layout is DDR else layout.line()
    for _npu, cards in by_npu(state):
        for index, card in enumerate(cards):
            if index:
                lines.append(between)
            values = row(state, card, claims)
            lines += [layout.first.format(**values), layout.second.format(**values)]
        lines.append(layout.rule("=", card_columns))
    if state.get("process_section", True):
        lines += process_table(state, claims, layout)
    text = "\n".join(lines) + "\n"
    return text if complete else text + INCOMPLETE


def process_table(state: State, claims: Claims, layout: Layout) -> list[str]:
    lines = [layout.rule("-"), layout.process_head, layout.rule("=")]
    for npu, cards in by_npu(state):
        rows = [
            layout.process.format(
                npu=npu,
                chip=card["chip_id"],
                pid=process.pid,
                name=process.name[:24],
                memory=process.memory_mb,
                inner="NA",
            )
            for card in cards
            for process in sim.processes_of(card, claims)
            # A container sees memory in use, but no process of the host.
            if not state.get("hide_processes")
        ]
        lines += rows or [layout.idle.format(npu=npu)]
        lines.append(layout.rule("="))
    return lines


def mapping(state: State) -> str:
    """The output of `npu-smi info -m`."""
    if not sim.cards_of(state):
        return "There is no NPU card on this server.\n"
    if state["layout"] == "950":
        lines = [
            f"{'NPU ID':<15} {'Slot ID':<16} {'Chip ID':<16} {'Chip Phy-ID':<20} {'Chip Name':<29}"
        ]
        for npu, cards in by_npu(state):
            for card in cards:
                lines.append(
                    f"{npu:<15} {card.get('slot_id', npu):<16} {card['chip_id']:<16} "
                    f"{card['phy_id']:<20} {card['name']}"
                )
        return "\n".join(lines) + "\n"
    physical = state["layout"] == "hbm-phy"
    heads = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if physical else [])]
    lines = ["\t" + " ".join(f"{head:<30}" for head in heads) + f" {'Chip Name':<30}"]
    for npu, cards in by_npu(state):
        for card in cards:
            ids = [npu, card["chip_id"], card["logic_id"], *([card["phy_id"]] if physical else [])]
            name = card["name"] if physical else f"Ascend {card['name']}"
            lines.append("\t" + " ".join(f"{value:<30}" for value in ids) + f" {name}")
        if state.get("mcu"):
            ids = [npu, len(cards), "-", *(["-"] if physical else [])]
            lines.append("\t" + " ".join(f"{value:<30}" for value in ids) + f" {'Mcu':<30}")
    return "\n".join(lines) + "\n"
