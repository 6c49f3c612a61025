# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which servers of a gateway a run over a host takes down, and which it should find up at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .names import server_name
from .targets import is_behind_a_proxy


def stopping(result: Mapping[str, Any], here: str) -> list[str]:
    """The servers of services that stop or restart. result: of systemd_instances, also in check mode."""
    names = [*(result.get("removed") or ()), *_with_action(result, "stop", "restart")]
    hosts = {name: group["hosts"] for name, group in (result.get("groups") or {}).items()}
    return _servers(names, hosts, here)


def serving(services: Iterable[Mapping[str, Any]], here: str) -> list[str]:
    """The servers of placed services that are to run and that clients ask."""
    started = [
        each
        for each in services
        if each.get("state", "started") == "started" and not is_behind_a_proxy(each)
    ]
    hosts = {each["name"]: each["cluster"]["hosts"] for each in started if each.get("cluster")}
    return _servers([each["name"] for each in started], hosts, here)


def starting(
    result: Mapping[str, Any], services: Sequence[Mapping[str, Any]], here: str
) -> list[str]:
    """Those of `serving` whose services start or restart."""
    names = _with_action(result, "start", "restart")
    return serving([each for each in services if each["name"] in names], here)


def _with_action(result: Mapping[str, Any], *actions: str) -> list[str]:
    return [each["name"] for each in result.get("services") or () if each["action"] in actions]


def _servers(names: Iterable[str], hosts: Mapping[str, Sequence[str]], here: str) -> list[str]:
    """Of a service over several hosts it is that of its leader, the first of `hosts`."""
    return [server_name(name, (hosts.get(name) or [here])[0]) for name in dict.fromkeys(names)]
