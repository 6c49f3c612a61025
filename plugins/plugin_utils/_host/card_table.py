# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cards of a host as a table for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

# What fits a terminal of 100 columns inside the indentation and quotes of Ansible's output.
WIDTH = 86
_HEADS = ("NPU", "Chip", "Logic", "Phy", "Device", "Name", "Health", "Memory MB", "Used by")
_RIGHT = frozenset((0, 1, 2, 3, 7))


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _user(process: Mapping[str, Any]) -> str:
    name = process["unit"] or process.get("command") or process["name"] or "?"
    return f"{name} [{process['pid']}]"


def _row(card: Mapping[str, Any]) -> tuple[str, ...]:
    users = list(dict.fromkeys(_user(process) for process in card["processes"]))
    device = card["device"]
    return (
        _text(card["npu_id"]),
        _text(card["chip_id"]),
        _text(card["logic_id"]),
        _text(card["phy_id"]),
        "-" if device is None else device.rsplit("/", 1)[-1],
        _text(card["name"]),
        _text(card["health"]),
        f"{_text(card['memory_used_mb'])}/{_text(card['memory_total_mb'])}",
        ", ".join(users) or "-",
    )


def lines(facts: Mapping[str, Any]) -> list[str]:
    """The lines of the table, none longer than WIDTH, then versions and problems with advice.

    facts: what npu_info returns. `Used by` names the unit, else the command, and the PID.
    """
    rows = [_row(card) for card in facts["cards"]]
    result = []
    if rows:
        columns = list(zip(_HEADS, *rows, strict=True))
        widths = [max(len(cell) for cell in column) for column in columns]
        room = WIDTH - sum(widths[:-1]) - 2 * (len(widths) - 1)
        widths[-1] = max(room, 12)
        for cells in (_HEADS, *rows):
            result += _line(cells, widths)
    versions = [
        f"{name} {_text(facts[key])}"
        for name, key in (
            ("npu-smi", "npu_smi_version"),
            ("driver", "driver_version"),
            ("firmware", "firmware_version"),
            ("CANN", "cann_version"),
        )
    ]
    result.append(("" if rows else "No cards. ") + ", ".join(versions))
    problems = [f"{each['code']}: {each['message']} {each['advice']}" for each in facts["problems"]]
    # Several calls of npu-smi may have met the same.
    for text in dict.fromkeys(problems):
        result += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return result


def _line(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    """One row; its last cell is continued on lines of its own."""
    last = textwrap.wrap(cells[-1], widths[-1]) or [""]
    shown = [
        cell.rjust(width) if number in _RIGHT else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells[:-1], widths[:-1], strict=True))
    ]
    before = "  ".join(shown)
    first = f"{before}  {last[0]}".rstrip()
    return [first, *(" " * (len(before) + 2) + more for more in last[1:])]
