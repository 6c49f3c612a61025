# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts of a service that spans several, and how the engine spans them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .._base.values import shown, whole_number

DATA_PARALLEL, NATIVE, RAY = "data_parallel", "native", "ray"
ENGINES = (DATA_PARALLEL, NATIVE, RAY)

# The engine's options by which hosts are spanned by hand, with the values that mean one host.
_BY_HAND: Mapping[str, tuple[str, ...]] = {
    "nnodes": ("1",),
    "node-rank": ("0",),
    "master-addr": (),
    "master-port": (),
    "headless": ("False",),
    "data-parallel-address": (),
    "data-parallel-rpc-port": (),
    "data-parallel-start-rank": ("0",),
    "distributed-executor-backend": ("mp", "uni", "external_launcher"),
    "data-parallel-backend": ("mp",),
}
# Those that also tell the ranks behind a load balancer of the user's of each other.
_BALANCED = ("data-parallel-address", "data-parallel-rpc-port", "data-parallel-start-rank")


@dataclass(frozen=True)
class Cluster:
    """The keys `cluster`, which the plan writes, and `engine`; None: the default of `spans`."""

    hosts: tuple[str, ...] = ()
    engine: str | None = None

    @classmethod
    def parse(cls, cluster: object, engine: object, model: str) -> Cluster:
        """Raises AscendError for keys that are malformed."""
        if engine is not None and engine not in ENGINES:
            raise AscendError(
                f"engine of {model} is {shown(engine)}, which is none of {', '.join(ENGINES)}."
            )
        return cls(_hosts(cluster, model), None if engine is None else str(engine))

    def check_args(self, args: Mapping[str, Any], balanced: bool, model: str) -> None:
        """Reject options by which a user would span hosts beside the key `cluster`.

        args: by their names with dashes. balanced: whether they are for a load balancer of the user's.
        Raises AscendError that names the options and the way to span hosts.
        """
        names = [
            option
            for option, alone in _BY_HAND.items()
            if args.get(option) is not None
            and str(args[option]) not in alone
            and not (balanced and option in _BALANCED)
        ]
        if not names:
            return
        way = (
            "They are set for each host from its cluster and engine"
            if self.hosts
            else "A service over hosts has an entry on each of them with cluster: {leader, rank, hosts}"
            " and the cards of that host, as the playbook plan writes it for a service of"
            " vllm_plan_services that is larger than a host; ranks, addresses and ports are set from"
            f" it, and engine tells how: {', '.join(ENGINES)}"
        )
        raise AscendError(
            f"args of {model} sets {', '.join(names)}, for one service over several hosts. {way}."
            f" Leave {'it' if len(names) == 1 else 'them'} out of args."
        )


def _hosts(value: object, model: str) -> tuple[str, ...]:
    if value is None:
        return ()
    given = value if isinstance(value, Mapping) else {}
    hosts, rank = given.get("hosts"), whole_number(given.get("rank"))
    names = list(hosts) if isinstance(hosts, (list, tuple)) else []
    if (
        len(names) < 2
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) != len(names)
        or given.get("leader") != names[0]
        or rank is None
        or not 0 <= rank < len(names)
    ):
        raise AscendError(
            f"cluster of {model} is {shown(value)}; it names the hosts that the service spans, at"
            " least two, the leader first, and this host's rank from 0, as the playbook plan writes"
            " it: {leader: npu-01, rank: 0, hosts: [npu-01, npu-02]}."
        )
    return tuple(names)
