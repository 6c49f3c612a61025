# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A finding of a preflight, and the words for cards and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `subject` is what it is about: a card, a service, a file."""

    severity: str
    code: str
    subject: str
    message: str
    advice: str


def format_card(card: Mapping[str, Any]) -> str:
    """A card by all its names."""
    chip = "" if card["chip_id"] is None else f" chip {card['chip_id']}"
    logic = "without a logic id" if card["logic_id"] is None else f"{card['logic_id']}"
    node = f", {card['device']}" if card["device"] else ""
    return f"card {logic} (NPU {card['npu_id']}{chip}{node})"


def format_process(process: Mapping[str, Any]) -> str:
    """A process as PID, command and unit."""
    name = process.get("command") or process.get("name") or "of unknown name"
    unit = process.get("unit")
    return f"PID {process['pid']} {name} " + (f"(unit {unit})" if unit else "(in no systemd unit)")
