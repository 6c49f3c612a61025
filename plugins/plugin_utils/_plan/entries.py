# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The services of a host, ready to be written and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._place.service import ExistingPlacement
from .fleet import Assignment
from .hosts import Hardware, place_on
from .services import Service

INSTANCES = "vllm_service_instances"


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


@dataclass(frozen=True)
class Entry:
    """A service on a host, ready to be written.

    settled: the keys that the plan settles, in order. passed: the others as the user wrote them.
    spec: what the lookup says of it there.
    """

    name: str
    settled: dict[str, Any]
    service: Service
    spec: Mapping[str, Any]

    @property
    def passed(self) -> Mapping[str, Any]:
        return self.service.request.passed

    @property
    def state(self) -> str:
        return str(self.service.request.values.get("state") or "started")


class PortAllocator:
    """Gives ports to the services of hosts; hosts that are alike are placed once."""

    def __init__(self) -> None:
        self._known: dict[object, list[int]] = {}

    def ports(
        self,
        hardware: Hardware,
        assignments: Sequence[Assignment],
        requested: Sequence[int | None],
        existing: Mapping[str, int],
        parts: Sequence[float],
    ) -> list[int]:
        """A port for each assignment of a host: the one asked for, else the existing one, else the next.

        parts: of the memory of their cards, of those that share them; else 0.

        Raises AscendError where there is none, or where one is wanted twice.
        """
        kept = [existing.get(assignment.name) for assignment in assignments]
        key = (
            id(hardware),
            tuple(
                (s.cards, w, k, p)
                for s, w, k, p in zip(assignments, requested, kept, parts, strict=True)
            ),
        )
        known = self._known.get(key)
        if known is None:
            specs = [
                {
                    "name": assignment.name,
                    "cards": len(assignment.cards),
                    "pinned_cards": list(assignment.cards),
                    "port": port,
                    **({"share": True, "gpu_memory_utilization": part} if part else {}),
                }
                for assignment, port, part in zip(assignments, requested, parts, strict=True)
            ]
            existing_placements = {
                assignment.name: ExistingPlacement(assignment.cards, port)
                for assignment, port in zip(assignments, kept, strict=True)
                if port is not None
            }
            known = self._known[key] = [
                int(each["port"]) for each in place_on(specs, hardware, existing_placements)
            ]
        return known


def entries(
    hardware: Hardware,
    assignments: Sequence[Assignment],
    services: Mapping[str, Service],
    existing: Mapping[str, int],
    allocator: PortAllocator,
) -> list[Entry]:
    """The entries of one host, by name. Raises AscendError where ports do not work out."""
    assignments = sorted(assignments, key=lambda assignment: assignment.name)
    requested = [services[assignment.service].request.port for assignment in assignments]
    parts = [services[assignment.service].part for assignment in assignments]
    ports = allocator.ports(hardware, assignments, requested, existing, parts)
    made = []
    for assignment, port in zip(assignments, ports, strict=True):
        service = services[assignment.service]
        spec = service.specs[hardware.kind]
        settled: dict[str, Any] = {
            "name": assignment.name,
            "model": _model(service, spec),
            "cards": list(assignment.cards),
            "port": port,
            "max_model_len": spec["max_model_len"],
            "tensor_parallel_size": spec["tensor_parallel_size"],
        }
        for size in ("pipeline_parallel_size", "data_parallel_size"):
            if spec[size] != 1:
                settled[size] = spec[size]
        if assignment.hosts:
            settled["engine"] = spec["engine"]
            settled["cluster"] = {
                "leader": assignment.leader,
                "rank": assignment.rank,
                "hosts": list(assignment.hosts),
            }
        made.append(Entry(assignment.name, settled, service, spec))
    return made


def _model(service: Service, spec: Mapping[str, Any]) -> str:
    """The model's name, or the hub id that was asked for: different ids are different weights."""
    asked = str(service.request.values["model"]).strip()
    return str(spec["model"]) if asked.lower() == str(spec["model"]).lower() else asked


def source_lines(entry: Entry) -> list[str]:
    """Where the figures of an entry come from, as lines for people."""
    source = entry.spec["provenance"]
    if source["table"] is None:
        text = "figures: estimated from the model's size, never run"
    else:
        text = f"figures: table {source['table']}, row {source['row']}"
        text += f", {source['updated']}" if source["updated"] else ""
        text += f", {source['basis']}"
    if entry.service.request.values.get("max_model_len") is not None:
        text = f"max_model_len as asked for; {text}"
    split = source.get("split")
    return [printable(text), *([printable(f"split over hosts: {split[0]}")] if split else [])]


_SIZES = ("data", "tensor", "pipeline")


def view(
    entry: Mapping[str, Any], spec: Mapping[str, Any], service: str, *, given: bool
) -> dict[str, Any]:
    """A service as the views want it.

    entry: name, cards, port, and cluster if it spans hosts. service: the name without a number for
    a second replica.
    """
    source = spec.get("provenance") or {}
    row = source.get("row")
    return {
        "name": entry["name"],
        "service": service,
        "model": spec.get("model"),
        "kind": spec.get("kind"),
        "cards": list(entry["cards"]),
        "port": entry.get("port"),
        "max_model_len": spec.get("max_model_len"),
        "basis": source.get("basis"),
        "table": source.get("table"),
        "row": None if row is None else str(row),
        "state": "stopped" if spec.get("state") == "stopped" else "started",
        "given": given,
        "cluster": entry.get("cluster"),
        "engine": entry.get("engine") or spec.get("engine") if entry.get("cluster") else None,
        "part": spec.get("gpu_memory_utilization"),
        "sizes": [int(spec.get(f"{each}_parallel_size") or 1) for each in _SIZES],
    }


def host_view(
    name: str, hardware: Hardware, given: list[dict[str, Any]] | None, made: Iterable[Entry]
) -> dict[str, Any]:
    memory = hardware.options.card_memory_gb
    if given is not None:
        services = [view(each, each, each["name"], given=True) for each in given]
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
        "name": name,
        "profile": hardware.options.profile,
        "card_memory_gb": int(memory) if memory % 1 == 0 else memory,
        "cards": list(hardware.cards),
        "excluded": [card for card in hardware.excluded if card in hardware.cards],
        "given": given is not None,
        "services": sorted(services, key=lambda service: str(service["name"])),
    }
