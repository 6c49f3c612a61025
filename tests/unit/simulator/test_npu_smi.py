# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated npu-smi against recordings of real ones, byte for byte."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ascend_sim
import npu_smi
import npu_tables
import pytest

PROFILES = json.loads((Path(ascend_sim.__file__).parent / "profiles.json").read_text())


def card(npu: int, chip: int, name: str, bus: str, **more: Any) -> dict[str, Any]:
    base = {
        "npu_id": npu,
        "chip_id": chip,
        "logic_id": more.pop("logic", npu),
        "phy_id": more.pop("phy", npu),
        "name": name,
        "health": "OK",
        "bus_id": bus if bus == "NA" else f"0000:{bus}:00.0",
        "power": None,
        "aicore": 0,
        "processes": [],
    }
    return {**base, **more}


def a2(npu: int, name: str, bus: str, power: float, temp: int, idle: int, total: int) -> Any:
    return card(npu, 0, name, bus, power=power, temp=temp, memory_idle=idle, memory_total=total)


def host(layout: str, version: str, cards: list[Any], **more: Any) -> dict[str, Any]:
    return {"layout": layout, "driver_version": version, "error": None, "cards": cards, **more}


A3_PROCESS = {"pid": 990711, "name": "python", "memory_mb": 7746}
INFO = {
    "910B3-24.1.rc1.b030-1": host(
        "hbm",
        "24.1.rc1.b030",
        [
            a2(0, "910B3", "C1", 101.8, 43, 3318, 65536),
            a2(1, "910B3", "C2", 92.0, 39, 3314, 65536),
            a2(2, "910B3", "81", 102.0, 40, 3314, 65536),
            a2(3, "910B3", "82", 99.8, 40, 3314, 65536),
            a2(4, "910B3", "01", 98.6, 45, 3314, 65536),
            a2(5, "910B3", "02", 99.7, 44, 3314, 65536),
            a2(6, "910B3", "41", 103.8, 45, 3314, 65536),
            a2(7, "910B3", "42", 98.2, 44, 3315, 65536),
        ],
        process_section=False,
    ),
    "910B3-25.5.2-1": host("hbm", "25.5.2", [a2(0, "910B3", "C1", 91.3, 36, 3465, 65536)]),
    "910B4-24.1.rc3-noncontig-1": host(
        "hbm",
        "24.1.rc3",
        [
            a2(0, "910B4", "C1", 93.7, 52, 2843, 32768),
            a2(3, "910B4", "82", 94.3, 51, 2842, 32768),
            a2(4, "910B4", "01", 89.9, 57, 2833, 32768),
            a2(7, "910B4", "42", 88.2, 55, 2833, 32768),
        ],
    ),
    "910B4-26.0.rc1-1": host("hbm-wide", "26.0.rc1", [a2(0, "910B4", "C1", 82.6, 32, 2871, 32768)]),
    "910B2C-23.0.2.1-procs-1": host(
        "hbm",
        "23.0.2.1",
        [
            a2(0, "910B2C", "5A", 88.6, 51, 20701 - 17400, 65536)
            | {"processes": [{"pid": 124528, "name": "python3.8", "memory_mb": 17400}]},
            a2(1, "910B2C", "19", 99.6, 50, 20687, 65536),
        ],
    ),
    "A3-25.2.0-procs-1": host(
        "hbm-phy",
        "25.2.0",
        [
            card(0, 0, "Ascend910", "9C", phy=0, power=162.8, temp=37)
            | {"memory_idle": 3133, "memory_total": 65536},
            card(0, 1, "Ascend910", "9E", phy=1, temp=37)
            | {"memory_idle": 2876, "memory_total": 65536},
            card(1, 0, "Ascend910", "37", phy=2, power=167.1, temp=38)
            | {"memory_idle": 3116, "memory_total": 65536},
            card(1, 1, "Ascend910", "39", phy=3, temp=38, processes=[A3_PROCESS])
            | {"memory_idle": 10568 - 7746, "memory_total": 65536},
        ],
    ),
    "310P3-25.5.1-hami-host-1": host(
        "ddr",
        "25.5.1",
        [
            card(4, 0, "310P3", "81", logic=0, temp=37, memory_idle=1848, memory_total=21525),
            card(5, 0, "310P3", "85", logic=1, temp=40, memory_idle=1849, memory_total=21525),
        ],
        process_section=False,
    ),
    "310P3-25.5.1-hami-pod-1": host(
        "ddr",
        "25.5.1",
        [card(32768, 0, "310P3", "81", logic=0, temp=38, memory_idle=0, memory_total=8192)],
        process_section=False,
    ),
    "310B4-23.0.0-alarm-1": host(
        "ddr",
        "23.0.0",
        [
            card(0, 0, "310B4", "NA", power=0.0, temp=65, memory_idle=3628, memory_total=15609)
            | {"health": "Alarm", "hugepages_used": 15, "hugepages_total": 15}
        ],
        process_section=False,
    ),
    "950-doc-basic-1": host(
        "950",
        "x.x.x",
        [card(0, 0, "xxx", "91", power=204.4, temp=56, memory_idle=4439, memory_total=86016)],
    ),
}


def recording(shared: Path, name: str) -> str:
    return (shared / "samples" / "npu-smi" / f"{name}.txt").read_text()


def held_against(name: str, printed: str, recorded: str) -> None:
    if name == "310P3-25.5.1-hami-host-1":
        # The published copy has one '=' where the driver prints '+'.
        recorded = recorded.replace("-+----------------=+", "-+=================+")
        recorded = recorded.replace("=+----------------=+", "=+=================+")
    if name in ("910B2C-23.0.2.1-procs-1", "310B4-23.0.0-alarm-1"):
        # Copied with one blank at each line's end.
        recorded = "".join(line.rstrip() + "\n" for line in recorded.splitlines())
    if name in ("910B2C-23.0.2.1-procs-1", "910B4-26.0.rc1-1"):
        # Cut off within the process table.
        lines = recorded.splitlines()
        lines = lines[:-1] if name.startswith("910B2C") else lines
        recorded, printed = "\n".join(lines), "\n".join(printed.splitlines()[: len(lines)])
    assert printed == recorded if recorded.endswith("\n") else printed.rstrip("\n") == recorded


@pytest.mark.parametrize("name", sorted(INFO))
def test_info_prints_what_the_recorded_host_printed(name: str, shared: Path) -> None:
    held_against(name, npu_tables.table(INFO[name], {}), recording(shared, name))


def test_a_mapping_prints_what_the_recorded_host_printed(shared: Path) -> None:
    cards = [a2(npu, "910A", "61", 1, 1, 1, 1) for npu in range(8)]
    printed = npu_tables.mapping(host("hbm", "23.0.5", cards))
    stripped = "".join(line.rstrip() + "\n" for line in printed.splitlines())
    assert stripped == recording(shared, "910A-23.0.5-m-1")


def test_the_950_mapping_has_a_slot_and_no_logic_id(shared: Path) -> None:
    printed = npu_tables.mapping(host("950", "x", [a2(0, "xxx", "91", 1, 1, 1, 1)]))
    stripped = [line.rstrip() for line in printed.splitlines()]
    recorded = recording(shared, "950-doc-m-1").splitlines()
    assert stripped == [line.rstrip() for line in recorded]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("910A-23.0.5-board-1", "info -t board -i 0"),
        ("910A-23.0.5-board-chip-1", "info -t board -i 0 -c 0"),
        ("910A-23.0.5-usages-1", "info -t usages -i 0"),
        ("910B1-23.0.rc2-usages-1", "info -i 0 -t usages"),
        ("910B1-23.0.rc2-common-1", "info -t common -i 1"),
        ("910A-redacted-health-1", "info -t health -i 0 -c 0"),
    ],
)
def test_a_type_prints_what_the_recorded_host_printed(
    name: str, words: str, shared: Path, state: Any
) -> None:
    old = card(0, 0, "910A", "61", power=73.1, temp=37, memory_idle=0, memory_total=31129)
    old |= {"ddr_used": 920, "ddr_total": 13553}
    old |= {"vdie_id": "42C711D4 20B03704 4A10C8D4 14CC040A D2102003"}
    old |= {"ndie_id": "27216594 20401010 4E10C8D4 14CC040A A4102003"}
    newer = [a2(npu, "910B1", "C1", 93.4, 46, 3000, 65536) for npu in (0, 1)]
    described = host("hbm", "23.0.5", [old], firmware_version="7.1.0.7.220")
    if "910B1" in name:
        described = host("hbm", "23.0.rc2", newer, firmware_version="x", mcu=True)
    state(described)
    printed, status = npu_smi.run(words.split())
    recorded = recording(shared, name)
    # Copies on web pages have blanks for the tab, or nothing.
    assert [line.strip() for line in printed.rstrip().splitlines()] == [
        line.strip() for line in recorded.rstrip().splitlines()
    ]
    assert status == 0


@pytest.mark.parametrize("code", ["-8005", "-8020"])
def test_an_error_prints_the_drivers_words_and_fails(code: str, shared: Path, state: Any) -> None:
    state(host("hbm", "25.5.2", [], error=code))
    printed, status = npu_smi.run(["info"])
    assert printed.strip() == recording(shared, f"error{code}-1").strip()
    assert status == int(code) % 256 != 0


def test_an_incomplete_driver_is_said_after_the_table(shared: Path) -> None:
    described = INFO["910B3-25.5.2-1"]
    printed = npu_tables.table(described, {}, complete=False)
    trailer = recording(shared, "error-driver-incomplete-1")
    assert printed == npu_tables.table(described, {}) + trailer.rstrip("\n") + "\n"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A state file of this test's own, and a folder of claims."""
    monkeypatch.setenv("ASCEND_SIM_STATE", str(tmp_path / "state.json"))
    monkeypatch.setenv("ASCEND_SIM_CLAIMS", str(tmp_path / "claims"))
    (tmp_path / "claims").mkdir()
    monkeypatch.setattr(ascend_sim, "may_use_driver", lambda: True)
    return ascend_sim.write_state


def test_memory_of_live_processes_is_shown_and_of_dead_ones_is_not(state: Any) -> None:
    state(INFO["910B3-24.1.rc1.b030-1"] | {"process_section": True})
    ascend_sim.claim({3: 40000})
    child = subprocess.run(
        [sys.executable, "-c", "import ascend_sim; ascend_sim.claim({5: 10000})"],
        env={**os.environ, "PYTHONPATH": str(Path(ascend_sim.__file__).parent)},
        check=True,
    )
    assert child.returncode == 0
    printed, _status = npu_smi.run(["info"])
    assert "43314/ 65536" in printed
    assert re.search(rf"^\| 3 +0 +\| {os.getpid()} .*\| 40000 ", printed, re.M)
    assert "No running processes found in NPU 5" in printed
    assert "13314" not in printed


def test_every_profile_is_a_host_with_a_mapping_of_all_its_cards() -> None:
    for name, profile in PROFILES["profiles"].items():
        state = ascend_sim.profile_state(PROFILES, name)
        rows = [line for line in npu_tables.mapping(state).splitlines()[1:] if "Mcu" not in line]
        assert len(rows) == len(profile["npu_ids"]) * len(profile["chips"])
        widths = {len(line) for line in npu_tables.table(state, {}).splitlines()}
        assert widths == ({106} if profile["layout"] == "ddr" else {98})
