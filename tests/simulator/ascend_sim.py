# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""State of a simulated Ascend host: its cards, and who holds memory on them.

The state is one JSON file that tests may edit (README.md names every field). What live processes
hold is one file per process id in a folder of claims; those of dead processes do not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUP = "HwHiAiUser"
COMMON_NODES = ("davinci_manager", "devmm_svm", "hisi_hdc")
# Virtual terminals: numbers that can be opened, and are not on the list that
# DevicePolicy=closed always allows.
MAJOR, FIRST_MINOR = 4, 20


def state_path() -> Path:
    return Path(os.environ.get("ASCEND_SIM_STATE", "/var/lib/ascend-sim/state.json"))


def claims_path() -> Path:
    """Under /dev/shm, which ProtectSystem=strict leaves writable to a hardened service."""
    return Path(os.environ.get("ASCEND_SIM_CLAIMS", "/dev/shm/ascend-sim"))


def device_folder() -> Path:
    return Path(os.environ.get("ASCEND_SIM_DEV", "/dev"))


def network(profile: dict[str, Any], card: int, host: int) -> dict[str, Any]:
    """What a card has in the network of the cards; nothing where the profile has none."""
    if not profile.get("network"):
        return {}
    found = {
        "address": f"10.214.{host}.{100 + card}",
        "netmask": "255.255.0.0",
        "gateway": "10.214.0.1",
        "netdetect": "10.214.0.1",
        "link": "UP",
        "net_health": "Success",
        "tls": 0,
    }
    if profile["network"] == "hccs":
        found["vnic"] = f"10.215.{host}.{100 + card}"
    return found


def has_network(state: dict[str, Any]) -> bool:
    """Whether the cards of a host can be connected to those of others."""
    return any("link" in card for card in state["cards"])


def super_pod(profile: dict[str, Any], host: int) -> dict[str, Any]:
    """The place of a host of the profile among the hosts of a super-pod."""
    if profile.get("network") != "hccs":
        return {}
    return {"super_pod_id": 0, "super_pod_size": 384, "server_index": host}


def profile_state(profiles: dict[str, Any], name: str, host: int = 1) -> dict[str, Any]:
    """The state of a new host of a profile; KeyError for an unknown one.

    The hosts of a scenario differ by a number up to 255, which their cards' addresses contain.
    """
    profile = profiles["profiles"][name]
    cards = []
    for npu in profile["npu_ids"]:
        for chip, figures in enumerate(profile["chips"]):
            index = len(cards)
            cards.append(
                {
                    "npu_id": npu,
                    "chip_id": chip,
                    "logic_id": index,
                    "phy_id": index,
                    "name": profile["name"],
                    "health": "OK",
                    "bus_id": f"0000:{profile['bus_ids'][index]}:00.0",
                    "aicore": 0,
                    **figures,
                    **network(profile, index, host),
                    "processes": [],
                }
            )
    return {
        "profile": name,
        "layout": profile["layout"],
        "driver_version": profile["driver_version"],
        "firmware_version": profiles["firmware_version"],
        "mcu": profile["mcu"],
        "error": None,
        **super_pod(profile, host),
        "cards": cards,
    }


@contextlib.contextmanager
def editing() -> Iterator[dict[str, Any]]:
    """The state, written back atomically afterwards; two edits do not lose each other."""
    path = state_path()
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text())
        yield state
        write_state(state)


def load_state() -> dict[str, Any]:
    state: dict[str, Any] = json.loads(state_path().read_text())
    return state


def write_state(state: dict[str, Any]) -> None:
    path = state_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(state, indent=1) + "\n")
    partial.chmod(0o644)
    partial.replace(path)


def may_use_driver() -> bool:
    """As on real hosts: root, and members of HwHiAiUser."""
    if os.geteuid() == 0:
        return True
    try:
        wanted = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return False
    return wanted == os.getegid() or wanted in os.getgroups()


@dataclass(frozen=True)
class Process:
    """One row of npu-smi's process table."""

    pid: int
    name: str
    memory_mb: int


def started(pid: int) -> str | None:
    """Start time of a live process in clock ticks since boot: tells a reused id apart."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def claim(memory_mb: dict[int, int]) -> None:
    """Hold memory on cards (by physical id) for as long as this process lives."""
    folder = claims_path()
    pid = os.getpid()
    text = json.dumps({"started": started(pid), "cards": memory_mb})
    partial = folder / f".{pid}"
    partial.write_text(text)
    partial.chmod(0o644)
    partial.replace(folder / f"{pid}.json")


def live_claims() -> dict[int, list[Process]]:
    """Processes by physical id of the card, in order of process id."""
    found: dict[int, list[Process]] = {}
    for path in sorted(claims_path().glob("[0-9]*.json"), key=lambda p: int(p.stem)):
        pid = int(path.stem)
        try:
            entry = json.loads(path.read_text())
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            continue
        if entry["started"] != started(pid):
            continue
        for phy_id, memory in entry["cards"].items():
            found.setdefault(int(phy_id), []).append(Process(pid, name, memory))
    return found


def processes_of(card: dict[str, Any], claims: dict[int, list[Process]]) -> list[Process]:
    foreign = [Process(p["pid"], p["name"], p["memory_mb"]) for p in card.get("processes", [])]
    return foreign + claims.get(card["phy_id"], [])


def used_mb(card: dict[str, Any], claims: dict[int, list[Process]]) -> int:
    """Memory in use on a card: idle use, foreign processes and live claims."""
    held = sum(process.memory_mb for process in processes_of(card, claims))
    return int(card["memory_idle"]) + held


def cards_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The cards the driver sees: none before it is loaded."""
    return [card for card in state["cards"] if not (state.get("late") or card.get("missing"))]


def drop(state: dict[str, Any], logic_id: int) -> None:
    """Lose a card as at a restart: the logic and physical ids of those after it close up."""
    left = [card for card in state["cards"] if card["logic_id"] != logic_id]
    if len(left) == len(state["cards"]):
        raise SystemExit(f"ascend-sim: no card with logic id {logic_id}")
    for place, card in enumerate(sorted(left, key=lambda card: int(card["logic_id"]))):
        card["logic_id"] = card["phy_id"] = place
    state["cards"] = left


def bus_table(state: dict[str, Any]) -> str:
    """The driver's table of PCI addresses and device numbers."""
    rows = [(card["bus_id"].partition(":")[2].lower(), card["phy_id"]) for card in cards_of(state)]
    return "".join(f"{address} ---> {number}\n" for address, number in rows)


def tmpfiles(state: dict[str, Any]) -> str:
    """Device nodes as a tmpfiles.d file, so that they are back after a restart."""
    lines = ["# Device nodes of the simulated Ascend cards; written by ascend-sim."]
    minor = FIRST_MINOR
    for name in COMMON_NODES:
        lines.append(f"c! /dev/{name} 0660 root {GROUP} - {MAJOR}:{minor}")
        minor += 1
    for phy_id in sorted(card["phy_id"] for card in cards_of(state)):
        lines.append(f"c! /dev/davinci{phy_id} 0660 root {GROUP} - {MAJOR}:{minor}")
        minor += 1
    lines.append("d /dev/shm/ascend-sim 1777 root root -")
    return "\n".join(lines) + "\n"
