# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host of the plan: its file, its services, and what prevents planning it."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .directory import Directory, adopted_path, beside, hidden_file_message, place_fault
from .entries import Entry, view
from .hosts import Hardware
from .locations import name_fault
from .plan_file import PlanFile


@dataclass
class PlannedHost:
    """A host of the plan.

    existing: its file of the plan, if it has one. before: that one or, where the host comes from
    another source now, the one in its old directory: what exists stays all the same.
    """

    name: str
    hardware: Hardware
    directory: Directory
    source: str
    existing: PlanFile | None
    before: PlanFile | None
    given: list[dict[str, Any]] | None = None  # services written by hand


def write_problems(
    host: PlannedHost, known: Container[str], extensions: Sequence[str], *, adopt: bool
) -> Iterator[tuple[str, str]]:
    """(what prevents that the host's file is written and read again, the host if not in the text).

    known: names of all hosts of the inventory. extensions: of files of variables.
    """
    fault = name_fault(host.name)
    for ending in extensions:
        if host.name.endswith(ending) and host.name[: -len(ending)] in known:
            fault = f"Ansible would read its directory for {host.name[: -len(ending)]} too"
    if fault:
        yield (
            f"the name {host.name!r} cannot be planned for: {fault}. Give the host another name"
            " in the inventory, with ansible_host for its address.",
            "",
        )
        return
    directory = host.directory
    fault = place_fault(directory, host.name)
    existing_fault = host.existing.fault if host.existing else None
    if fault or existing_fault:
        yield str(fault or existing_fault), host.name
    files = beside(directory, host.name, extensions)
    if not files or fault:
        return
    target = adopted_path(directory, host.name, files[0])
    if len(files) > 1:
        yield (
            f"{' and '.join(map(str, files))} both exist, and Ansible reads one of them. Make them"
            " one.",
            host.name,
        )
    elif os.path.lexists(target) and directory.beside.get(host.name) == "directory":
        yield (
            f"{files[0]} is not read by Ansible, because there is the directory {target.parent},"
            f" and {target.name} is in there already. Move what is needed into it.",
            host.name,
        )
    elif not adopt:
        yield hidden_file_message(directory, host.name, files[0]), host.name


def host_view(host: PlannedHost, made: Iterable[Entry]) -> dict[str, Any]:
    memory = host.hardware.card_memory_gb
    if host.given is not None:
        services = [view(each, each, each["name"], given=True) for each in host.given]
    else:
        services = [
            view(
                entry.settled,
                {**entry.spec, "state": entry.state},
                entry.service.name,
                given=False,
            )
            for entry in made
        ]
    return {
        "name": host.name,
        "profile": host.hardware.profile,
        "card_memory_gb": int(memory) if memory % 1 == 0 else memory,
        "cards": list(host.hardware.cards),
        "excluded": [card for card in host.hardware.excluded if card in host.hardware.cards],
        "given": host.given is not None,
        "services": sorted(services, key=lambda service: str(service["name"])),
    }
