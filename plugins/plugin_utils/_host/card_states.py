# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the cards of a host are, for reports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .findings import format_process


def card_states(
    npu: Mapping[str, Any], services: Collection[str], excluded: Collection[int]
) -> list[dict[str, Any]]:
    """{id (logic), health, excluded, foreign} of each card that npu-smi shows and the runtime numbers.

    npu: what npu_info returns. services: names of those whose processes are not foreign.
    """
    units = {f"vllm@{name}.service" for name in services}
    return [
        {
            "id": card["logic_id"],
            "health": card["health"],
            "excluded": card["logic_id"] in excluded,
            "foreign": [
                format_process(process)
                for process in once(card["processes"])
                if process["unit"] not in units
            ],
        }
        for card in npu.get("cards", ())
        if card["logic_id"] is not None
    ]


def once(processes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One process of each unit, and all that are in none."""
    kept: dict[object, Mapping[str, Any]] = {}
    for process in processes:
        kept.setdefault(process.get("unit") or process["pid"], process)
    return list(kept.values())
