# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a service that has its cards together with others: they start one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .._base import data
from .._base.systemd import environment_line, unit_word
from .unit import UnitSettings

# Addresses that mean every one of the host.
_EVERY = ("", "0.0.0.0", "::")


def sharing_names(placed: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The services of a host that may have their cards together with others, or have."""
    users: dict[tuple[int, ...], list[str]] = {}
    found = set()
    for service in placed:
        if service.get("state") != "absent":
            users.setdefault(tuple(service["cards"]), []).append(str(service["name"]))
            found |= {str(service["name"])} if service.get("share") else set()
    return frozenset(found.union(*(names for names in users.values() if len(names) > 1)))


def turn_texts(
    service: Mapping[str, Any], config: Mapping[str, Any], settings: UnitSettings
) -> dict[str, Any]:
    """{shares, group: lines of the drop-in, turn: text of a file}. config: its options of vLLM."""
    lines = []
    if not settings.contained:
        words = " ".join(turn_command(service, config, settings))
        lines.append(environment_line("INFEROPS_GUARD", words))
    return {"shares": True, "group": lines, "turn": _program()}


def turn_command(
    service: Mapping[str, Any], config: Mapping[str, Any], settings: UnitSettings
) -> list[str]:
    """The words before the engine's command."""
    host = str(config.get("host") or "")
    return [
        unit_word(settings.cluster_python),
        f"/usr/local/libexec/inferops/turn-{service['name']}",
        str(min(service["cards"])),
        "127.0.0.1" if host in _EVERY else unit_word(host),
        str(config["port"]),
        str(settings.start_timeout),
        "--",
    ]


@lru_cache(maxsize=1)
def _program() -> str:
    path = data.ROOT / "plugins" / "module_utils" / "_service" / "turn.py"
    return path.read_text(encoding="utf-8")
