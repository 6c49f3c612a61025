# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module vllm_gateway_servers does and returns."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .master import Master
from .servers import Servers


def of(master: Master, names: Sequence[str] | None, state: str, timeout: float) -> dict[str, Any]:
    """Bring servers into a state, and return how they are then.

    names: None for all. state: query, drained or ready. timeout: seconds. Raises HostError, NotRunning.
    """
    servers = Servers(master)
    before = servers.all()
    chosen = [each for each in before if names is None or each.name in names]
    wanted = {each.name for each in chosen}
    changed = would_change([each.as_dict() for each in chosen], state)
    after, reached = chosen, True
    if state == "drained":
        after = servers.drain(wanted, timeout)
        reached = not any(each.sessions for each in after)
    elif state == "ready":
        after = servers.ready(wanted, timeout)
        reached = all(each.up for each in after)
    backends = dict.fromkeys(each.backend for each in chosen)
    return {
        "changed": changed,
        "running": True,
        "reached": reached,
        "servers": [each.as_dict() for each in after],
        "others_up": {
            backend: sum(
                each.up and each.backend == backend and each.name not in wanted for each in before
            )
            for backend in backends
        },
        "missing": [name for name in names or () if name not in wanted],
    }


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
        "servers": [],
        "others_up": {},
        "missing": list(names or ()),
    }
