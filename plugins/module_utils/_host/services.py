# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services of this collection on a host, running or written. Paths are below `root`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .._base.files import is_marked
from .._base.reading import parse_json
from .._base.systemctl import DIGEST, process_environ, unit_variables
from .bus import CARDS, bus_ids, moved_cards
from .files import read
from .processes import pids, unit_of

_KEPT = (DIGEST, "ASCEND_RT_VISIBLE_DEVICES", "HCCL_IF_BASE_PORT")


def _marks(root: Path, pid: int) -> dict[str, str]:
    """The few variables of a process's environment that tell whose it is."""
    environ = process_environ(pid, root) or {}
    return {name: environ[name] for name in _KEPT if name in environ}


def _written_marks(root: Path, unit: str) -> dict[str, str]:
    """The same from the unit's drop-in: a process may have written over its environment."""
    text = read(root / "etc/systemd/system" / (unit + ".d") / "placement.conf") or ""
    return unit_variables(text, _KEPT)


def numbers(text: str | None) -> list[int]:
    words = [part.strip() for part in (text or "").split(",")]
    return [int(word) for word in words if word.isdecimal() and len(word) < 10]


def running_services(root: Path, template: str) -> list[dict[str, Any]]:
    """Running units of a template that this collection made.

    template: such as `vllm@.service`. A unit is ours if a process of it, or its drop-in, has the
    mark. Returns {unit, pids, cards (logic ids), hccl_base_port} of each, by name of the unit.
    """
    before, after = template.split("@", 1)
    units: dict[str, list[int]] = {}
    for pid in pids(root):
        unit = unit_of(root, pid)
        if unit and unit.startswith(before + "@") and unit.endswith(after):
            units.setdefault(unit, []).append(pid)
    services = []
    for unit in sorted(units):
        marks = next((m for m in (_marks(root, pid) for pid in units[unit]) if DIGEST in m), {})
        marks = marks or _written_marks(root, unit)
        if DIGEST not in marks:
            continue
        base = numbers(marks.get("HCCL_IF_BASE_PORT"))
        services.append(
            {
                "unit": unit,
                "pids": units[unit],
                "cards": numbers(marks.get("ASCEND_RT_VISIBLE_DEVICES")),
                "hccl_base_port": base[0] if base else None,
            }
        )
    return services


def existing_services(root: Path, template: str) -> list[dict[str, Any]]:
    """Where the services are that this collection wrote, running or not, by name.

    Returns {name, cards (logic ids), port, hccl_base_port, group, moved}; `port` is None where the
    configuration is not there. group: {rank, members, port, digest} of a service over several hosts, else
    None. moved: of `moved_cards`.
    """
    before, after = template.split("@", 1)
    found = []
    known = bus_ids(root)
    for directory in sorted((root / "etc/systemd/system").glob(f"{before}@*{after}.d")):
        unit = directory.name[: -len(".d")]
        name = unit[len(before) + 1 : len(unit) - len(after)]
        placement = read(directory / "placement.conf") or ""
        if not is_marked(placement, unit):
            continue
        config = read(root / "etc" / before / f"{name}.yaml") or ""
        port = re.search(r"^port: ([0-9]+)$", config, re.MULTILINE)
        marks = _written_marks(root, unit)
        base = numbers(marks.get("HCCL_IF_BASE_PORT"))
        found.append(
            {
                "name": name,
                "cards": numbers(marks.get("ASCEND_RT_VISIBLE_DEVICES")),
                "port": int(port.group(1)) if port else None,
                "hccl_base_port": base[0] if base else None,
                "group": group_of(root, before, name),
                "moved": moved_cards(unit_variables(placement, (CARDS,)).get(CARDS), known),
            }
        )
    return found


def group_of(root: Path, prefix: str, name: str) -> dict[str, Any] | None:
    """{rank, members, port, digest} of a service over several hosts; None for any other.

    prefix: of the template, `vllm` of vllm@.service.
    """
    text = read(root / "etc" / prefix / f"{name}.group.json") or ""
    try:
        given = parse_json("".join(re.findall(r"^[^#].*\n?", text, re.MULTILINE)))
        return {key: given[key] for key in ("rank", "members", "port", "digest")}
    except (ValueError, KeyError, TypeError):
        return None
