# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated `npu-smi`: prints what recorded hosts print, from the state file."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import ascend_sim as sim
from npu_tables import Card, Claims, State, by_npu, mapping, power, table

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


INSTALL_INFO = Path("/etc/ascend_install.info")


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


def super_pod(state: State, card: Card) -> tuple[str, int]:
    """The output of `npu-smi info -t spod-info -i N -c C`."""
    if "super_pod_id" not in state:
        return "This device does not support querying spod-info.\n", 255
    # The device's number in the super-pod: its host, chip, die and physical id.
    chip, die = divmod(card["phy_id"], 2)
    number = (state["server_index"] << 22) + (chip << 18) + (die << 16) + card["phy_id"]
    return pairs(
        [
            ("SDID", number),
            ("Super Pod Size", state["super_pod_size"]),
            ("Super Pod ID", state["super_pod_id"]),
            ("Server Index", state["server_index"]),
        ]
    ), 0


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
    if kind == "device-share" and chip:
        # As in Huawei's reference; nobody recorded it.
        return pairs([("Device-share Status", bool(chip.get("device_share")))]), 0
    if kind == "usages":
        return usages(state, npu, cards, claims), 0
    if kind == "memory":
        return memory(state, npu, cards), 0
    if kind == "common":
        return common(state, npu, cards, claims), 0
    if kind == "proc-mem":
        return process_memory(npu, cards, claims), 0
    if kind == "spod-info":
        return super_pod(state, cards[0])
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
