# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module vllm_gateway_servers does and returns."""

from __future__ import annotations

from typing import Any, Collection, Mapping, Sequence

from .master import Master
from .servers import Server, Servers, is_drained


def of(
    master: Master,
    names: Sequence[str] | None,
    state: str,
    timeout: float,
    leaving: Sequence[str] = (),
    awaited: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Bring servers into a state, and return how they are then.

    names: None for all. state: query, drained or ready. timeout: seconds. leaving: other servers that are
    about to stop. awaited: which of them to wait for, with ready. Raises HostError, NotRunning.
    """
    servers = Servers(master)
    before = servers.all()
    chosen = [each for each in before if names is None or each.name in names]
    wanted = {each.name for each in chosen}
    changed = would_change([each.as_dict() for each in chosen], state)
    after, late = chosen, []
    if state == "drained":
        after = servers.drain(wanted, timeout)
        late = [each.name for each in after if not is_drained(each)]
    elif state == "ready":
        waited = wanted if awaited is None else wanted.intersection(awaited)
        after = servers.ready(wanted, timeout, waited)
        late = [each.name for each in after if each.name in waited and not each.up]
    others = {
        backend: [each for each in before if each.backend == backend and each.name not in wanted]
        for backend in dict.fromkeys(each.backend for each in chosen)
    }
    return {
        "changed": changed,
        "running": True,
        "reached": not late,
        "late": list(dict.fromkeys(late)),
        "servers": [each.as_dict() for each in after],
        "others_up": {
            backend: sum(each.up for each in each_of) for backend, each_of in others.items()
        },
        "outages": outages(chosen, others, leaving),
        "missing": [name for name in names or () if name not in wanted],
    }


def outages(
    chosen: Sequence[Server], others: Mapping[str, Sequence[Server]], leaving: Collection[str]
) -> dict[str, list[str]]:
    """The backends in which nothing takes requests without the chosen servers, though there are other ones.

    others: the other servers of each backend. leaving: names of those that are about to stop as well.
    Returns by backend the other servers, each with its health.
    """
    found = {}
    for backend in dict.fromkeys(each.backend for each in chosen if each.up):
        rest = others[backend]
        if rest and not any(each.up and each.name not in leaving for each in rest):
            found[backend] = [
                f"{each.name} ({'stops too' if each.up else each.health})" for each in rest
            ]
    return found


def would_change(servers: Sequence[Mapping[str, Any]], state: str) -> bool:
    """Whether a state is another than the servers have. servers: as the module returns them."""
    if state == "query":
        return False
    return any(each["drained"] != (state == "drained") for each in servers)


def no_gateway(names: Sequence[str] | None) -> dict[str, Any]:
    """The result where no gateway runs, which then gives nobody a request."""
    return {
        "changed": False,
        "running": False,
        "reached": True,
        "late": [],
        "servers": [],
        "others_up": {},
        "outages": {},
        "missing": list(names or ()),
    }
