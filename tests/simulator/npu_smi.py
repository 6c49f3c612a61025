# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated `npu-smi`: prints what recorded hosts print, from the state file.

Layouts (field `layout` of the state):
  hbm        96 columns, 910, 910B
  hbm-phy    96 columns with Phy-ID, A3
  hbm-wide   114 columns, drivers 26.x
  ddr        104 columns, 310P and 310B
  950        97 columns, Ascend 950
Column widths are those of the driver's own `npu-smi` and of recordings.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import ascend_sim as sim

# npu-smi exits with the driver's negative code: its low byte is the exit status.
ERRORS = {
    "-8005": (
        "DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n"
    ),
    "-8020": (
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
        "dcmi model initialized failed, because the device is used. ret is -8020\n"
    ),
}
INCOMPLETE = (
    "[WARNING]The driver package may not be completely installed, "
    "which may cause function abnormal. Please reinstall it.\n"
)
INSTALL_INFO = Path("/etc/ascend_install.info")

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


def pairs(rows: list[tuple[str, Any]]) -> str:
    return "".join(f"\t{key:<30} : {value}\n" if key else "\n" for key, value in rows)


def listing(state: State) -> str:
    """The output of `npu-smi info -l`."""
    groups = by_npu(state)
    if not groups:
        return "There is no NPU card on this server.\n"
    rows: list[tuple[str, Any]] = [("Total Count", len(groups)), ("", None)]
    for npu, cards in groups:
        rows += [("NPU ID", npu), ("Chip Count", len(cards)), ("", None)]
    return pairs(rows)


def rate(used: int, total: int) -> int:
    return used * 100 // total if total else 0


def board(state: State, npu: int, cards: list[Card], chip: Card | None) -> str:
    bus = (chip or cards[0])["bus_id"]
    if chip is not None:
        return pairs(
            [
                ("NPU ID", npu),
                ("Chip ID", chip["chip_id"]),
                ("Chip Type", "Ascend"),
                ("Chip Name", chip["name"]),
                ("Chip Version", "V1"),
                ("Board ID", "0x02"),
                ("PCB ID", "NA"),
                ("BOM ID", 1),
                ("VDie ID", chip.get("vdie_id", "NA")),
                ("NDie ID", chip.get("ndie_id", "NA")),
                ("Chip Position ID", chip["chip_id"]),
                ("PCIe Bus Info", bus),
                ("Firmware Version", state["firmware_version"]),
            ]
        )
    return pairs(
        [
            ("NPU ID", npu),
            ("Software Version", state["driver_version"]),
            ("Firmware Version", state["firmware_version"]),
            ("Compatibility", "OK"),
            ("Board ID", "0x02"),
            ("PCB ID", "A"),
            ("BOM ID", 1),
            ("PCIe Bus Info", bus),
            ("Slot ID", 0),
            ("Class ID", "NA"),
            ("PCI Vendor ID", "0x19E5"),
            ("PCI Device ID", "0xD801"),
            ("Subsystem Vendor ID", "0x0200"),
            ("Subsystem Device ID", "0x0100"),
            ("Chip Count", len(cards)),
        ]
    )


def health(card: Card) -> str:
    return pairs(
        [
            ("Health Status", card["health"]),
            ("Error Code", card.get("error_code", "NA")),
            ("Error Information", card.get("error_information", "NA")),
        ]
    )


def usages(state: State, npu: int, cards: list[Card], claims: Claims) -> str:
    rows: list[tuple[str, Any]] = [("NPU ID", npu), ("Chip Count", len(cards)), ("", None)]
    for card in cards:
        used, total = sim.used_mb(card, claims), card["memory_total"]
        aicore: list[tuple[str, Any]] = [("Aicore Usage Rate(%)", card["aicore"])]
        if state["layout"] == "ddr":
            rows += [
                ("Memory Capacity(MB)", total),
                ("Memory Usage Rate(%)", rate(used, total)),
                ("Hugepages Total(page)", card.get("hugepages_total", 0)),
                ("Hugepages Usage Rate(%)", 0),
                *aicore,
                ("Aicpu Usage Rate(%)", 0),
                ("Ctrlcpu Usage Rate(%)", 0),
                ("Memory Bandwidth Usage Rate(%)", 0),
                ("Chip ID", card["chip_id"]),
            ]
            continue
        ddr, ddr_total = card.get("ddr_used", 0), card.get("ddr_total", 0)
        if card["name"] != "910A":
            aicore.append(("Aivector Usage Rate(%)", 0))
        rows += [
            ("DDR Capacity(MB)", ddr_total),
            ("DDR Usage Rate(%)", rate(ddr, ddr_total)),
            ("DDR Hugepages Total(page)", card.get("hugepages_total", 0)),
            ("DDR Hugepages Usage Rate(%)", 0),
            ("HBM Capacity(MB)", total),
            ("HBM Usage Rate(%)", rate(used, total)),
            *aicore,
            ("Aicpu Usage Rate(%)", 0),
            ("Ctrlcpu Usage Rate(%)", 0),
            ("DDR Bandwidth Usage Rate(%)", 0),
            ("HBM Bandwidth Usage Rate(%)", 0),
            ("Chip ID", card["chip_id"]),
        ]
    return pairs(rows)


def memory(state: State, npu: int, cards: list[Card]) -> str:
    rows: list[tuple[str, Any]] = [("NPU ID", npu), ("Chip Count", len(cards)), ("", None)]
    for card in cards:
        if state["layout"] == "ddr":
            rows += [("Capacity(MB)", card["memory_total"])]
        else:
            rows += [
                ("DDR Capacity(MB)", card.get("ddr_total", 0)),
                ("DDR Clock Speed(MHz)", 0),
                ("HBM Capacity(MB)", card["memory_total"]),
                ("HBM Temperature(C)", card["temp"]),
            ]
        rows.append(("Chip ID", card["chip_id"]))
    return pairs(rows)


def common(state: State, npu: int, cards: list[Card], claims: Claims) -> str:
    rows: list[tuple[str, Any]] = [("NPU ID", npu), ("Chip Count", len(cards)), ("", None)]
    for card in cards:
        rows += [
            ("Chip ID", card["chip_id"]),
            ("Memory Usage Rate(%)", 0),
            ("HBM Usage Rate(%)", rate(sim.used_mb(card, claims), card["memory_total"])),
            ("Aicore Usage Rate(%)", card["aicore"]),
            ("Aicore Freq(MHZ)", 1800),
            ("Aicore curFreq(MHZ)", 800),
            ("Aicore Count", 24),
            ("Temperature(C)", card["temp"]),
            ("NPU Real-time Power(W)", power(state, card)),
        ]
    if state.get("mcu"):
        rows += [("", None), ("Chip Name", "mcu"), ("Temperature(C)", state.get("mcu_temp", 38))]
    return pairs(rows)


def process_memory(npu: int, cards: list[Card], claims: Claims) -> str:
    text = pairs([("NPU ID", npu)])
    for card in cards:
        for process in sim.processes_of(card, claims):
            text += (
                f"\tProcess id:{process.pid:<7} Process name:{process.name:<17} "
                f"Process memory(MB):{process.memory_mb}\n"
            )
    return text


def phyid_remap(state: State, text: str | None) -> tuple[str, int]:
    """The output of `npu-smi info -t phyid-remap -p N`."""
    for card in sim.cards_of(state):
        if str(card["phy_id"]) == text:
            return pairs(
                [
                    ("Chip Phy ID", card["phy_id"]),
                    ("Chip Logic ID", card["logic_id"]),
                    ("NPU ID", card["npu_id"]),
                    ("Chip ID", card["chip_id"]),
                ]
            ), 0
    return "The parameter is invalid.\n", 255


def by_type(state: State, claims: Claims, options: dict[str, str]) -> tuple[str, int]:
    kind = options["-t"]
    if kind == "phyid-remap" and state.get("phyid_remap", True):
        return phyid_remap(state, options.get("-p"))
    groups = dict(by_npu(state))
    try:
        npu = int(options["-i"])
        chips = {card["chip_id"]: card for card in groups[npu]}
        chip = chips[int(options["-c"])] if "-c" in options else None
    except (KeyError, ValueError):
        return "The parameter is invalid.\n", 255
    cards = [chip] if chip else groups[npu]
    if kind == "board":
        return board(state, npu, groups[npu], chip), 0
    if kind == "health":
        return "".join(health(card) for card in cards), 0
    if kind == "usages":
        return usages(state, npu, cards, claims), 0
    if kind == "memory":
        return memory(state, npu, cards), 0
    if kind == "common":
        return common(state, npu, cards, claims), 0
    if kind == "proc-mem":
        return process_memory(npu, cards, claims), 0
    return f"The simulator has no recording of `npu-smi info -t {kind}`.\n", 255


def run(words: list[str]) -> tuple[str, int]:
    """Output and exit status of `npu-smi WORDS`."""
    state = sim.load_state()
    error = state.get("error")
    if not sim.may_use_driver():
        error = "-8005"
    if error == "hang":
        # Like a driver that no longer answers: no signal but KILL ends it.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(3600)
    if error is not None:
        return ERRORS[error], int(error) % 256
    tool = state.get("tool_version") or state["driver_version"]
    if words == ["-v"]:
        return f"npu-smi version: {tool}\n", 0
    if not words or words[0] != "info":
        return "Command or option is not found.\n", 255
    claims = sim.live_claims()
    rest = words[1:]
    if not rest:
        complete = "Driver_Install_Status=complete" in (
            INSTALL_INFO.read_text() if INSTALL_INFO.exists() else ""
        )
        # Only the HBM tables look at the installation's record.
        return table(state, claims, complete or state["layout"] == "ddr"), 0
    if rest == ["-m"]:
        return mapping(state), 0
    if rest == ["-l"]:
        return listing(state), 0
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    if "-t" in options and len(rest) % 2 == 0:
        return by_type(state, claims, options)
    return "The parameter is invalid.\n", 255


def main() -> int:
    output, status = run(sys.argv[1:])
    try:
        sys.stdout.write(output)
        sys.stdout.flush()
    except BrokenPipeError:
        os.close(1)
    return status
