# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the processes on the cards of a host are those of their services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._base.words import listed
from .differences import HostDrift, ServiceDrift
from .report import format_card, format_process

# Problems of npu-smi with which it cannot be told whose processes are on a card.
_BLIND = frozenset(("no_process_table", "processes_not_shown", "process_unknown_card", "truncated"))


def check_cards(
    drift: HostDrift,
    wanted: Sequence[Mapping[str, Any]],
    npu: Mapping[str, Any],
    excluded: set[int],
) -> None:
    """Every card has the processes of its service and no others.

    wanted: what `wanted_services` returns. npu: what npu_info returns. excluded: logic ids.
    """
    owners = {card: service["name"] for service in wanted for card in service["cards"]}
    by_name = {service.name: service for service in drift.services}
    listed_names = {service["name"] for service in wanted}
    known = {f"vllm@{name}.service": name for name in by_name}
    shown = [card for card in npu.get("cards", ()) if card["logic_id"] is not None]
    users: dict[str, set[int]] = {}
    for card in shown:
        number = int(card["logic_id"])
        owner = owners.get(number)
        for process in _once(card["processes"]):
            name = known.get(process["unit"] or "")
            if name is not None:
                users.setdefault(name, set()).add(number)
            if name is None and number not in excluded:
                _add_foreign(drift, card, process, owner)
            elif name is not None and name != owner and name in listed_names:
                by_name[name].add(
                    "cards",
                    f"PID {process['pid']} of it is on card {number}, which is not one of its cards.",
                )
    ready = [each for each in drift.services if each.state == "ready" and each.name in listed_names]
    blind = _BLIND & {each["code"] for each in npu.get("problems", ())}
    if ready and (blind or not shown or not users):
        drift.notes.append(
            "npu-smi does not show whose processes are on the cards; that was not compared."
        )
    else:
        _check_missing(ready, users)


def _add_foreign(
    drift: HostDrift, card: Mapping[str, Any], process: Mapping[str, Any], owner: str | None
) -> None:
    whose = f"the card of service {owner}" if owner else "a card of no service"
    unit = process.get("unit")
    stop = f"systemctl stop {unit}" if unit else f"kill {process['pid']}"
    drift.add(
        "tenant",
        f"{format_card(card)}, {whose}, is in use by {format_process(process)}.",
        f"Stop it ({stop}), or add the card to ascend_host_excluded_cards.",
    )


def _check_missing(ready: Sequence[ServiceDrift], users: Mapping[str, set[int]]) -> None:
    """A service that answers, but not with its cards."""
    for service in ready:
        idle = sorted(set(service.cards) - users.get(service.name, set()))
        if idle and not {"cards", "process"} & {each.code for each in service.findings}:
            service.add(
                "cards",
                f"it answers, and npu-smi shows no process of it on card {listed(idle)}.",
                "Check npu-smi info, and which process listens on its port: "
                f"ss -ltnp sport = :{service.port}",
            )


def _once(processes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One process of each unit, and all that are in none."""
    kept: dict[object, Mapping[str, Any]] = {}
    for process in processes:
        kept.setdefault(process.get("unit") or process["pid"], process)
    return list(kept.values())
