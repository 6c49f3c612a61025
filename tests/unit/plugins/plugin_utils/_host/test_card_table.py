# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of cards, as it is read in a terminal of 100 columns."""

from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._host.card_table import WIDTH, lines


def facts(*cards: dict[str, Any], problems: list[dict[str, str]] | None = None) -> dict[str, Any]:
    base = {
        "npu_id": 32896,
        "chip_id": 1,
        "logic_id": 15,
        "phy_id": 15,
        "name": "Ascend910",
        "health": "UNKNOWN",
        "memory_used_mb": 62625,
        "memory_total_mb": 65536,
        "device": "/dev/davinci15",
        "processes": [],
    }
    return {
        "cards": [{**base, **card} for card in cards],
        "npu_smi_version": "25.5.2",
        "driver_version": "25.5.2",
        "firmware_version": None,
        "cann_version": "8.5.1",
        "problems": problems or [],
    }


def test_every_id_and_who_uses_a_card() -> None:
    engine = {"pid": 4711, "name": "VLLM", "unit": "vllm@chat.service", "command": "x"}
    train = {"pid": 12, "name": "python", "unit": None, "command": "python3 train.py"}
    shown = lines(facts({"processes": [engine, train, engine]}, {"logic_id": None, "device": None}))
    assert shown[0].split() == [
        *("NPU", "Chip", "Logic", "Phy", "Device", "Name", "Health", "Memory", "MB"),
        *("Used", "by"),
    ]
    text = " ".join(" ".join(shown).split())
    assert "32896 1 15 15 davinci15 Ascend910 UNKNOWN 62625/65536 vllm@chat.service" in text
    assert text.count("[4711]") == 1
    assert "python3 train.py" in text
    assert "32896 1 - 15 - Ascend910 UNKNOWN 62625/65536 -" in text
    assert shown[-1] == "npu-smi 25.5.2, driver 25.5.2, firmware -, CANN 8.5.1"


def test_no_line_is_too_long() -> None:
    long = {"pid": 1234567, "name": "p", "unit": "vllm@" + "n" * 63 + ".service", "command": None}
    problem = {"code": "x", "message": "word " * 60, "advice": "word " * 60}
    shown = lines(facts({"processes": [long] * 3}, {}, problems=[problem]))
    assert max(map(len, shown)) <= WIDTH
    assert "n" * 63 in "".join("".join(shown).split())


def test_problems_instead_of_a_table_and_each_once() -> None:
    problem = {"code": "dcmi_8005", "message": "It does not answer.", "advice": "Reboot."}
    assert lines(facts(problems=[problem, problem])) == [
        "No cards. npu-smi 25.5.2, driver 25.5.2, firmware -, CANN 8.5.1",
        "dcmi_8005: It does not answer. Reboot.",
    ]
