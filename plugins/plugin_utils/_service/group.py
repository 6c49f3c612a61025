# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One service over several hosts: its members, and the options and variables of each.

What the engines want of each rank: vLLM's documentation of parallelism and of data-parallel
deployment, and vllm-ascend's tutorials of several hosts (docs/cluster.md has the list).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .options import EngineOptions

# Ports of one service, from its first one on. They follow from the leader's first card, so that two
# services with the same leader have different ones.
PORTS = 64
GUARD_PORT, ENGINE_PORT, RAY_PORTS = 0, 1, 2
# The variable that divides a super-pod, or tells the super-pod of a host.
SUPER_POD = "HCCL_LOGIC_SUPERPOD_ID"
# Options that differ between the members of one service.
_OWN_OPTIONS = frozenset(("data-parallel-start-rank", "headless", "host", "node-rank", "port"))


@dataclass(frozen=True)
class Member:
    """A host of the service. interface: of the address, known on the host itself alone."""

    host: str
    address: str
    interface: str = ""


@dataclass(frozen=True)
class Group:
    """A service's members, as one of them sees them.

    Attributes:
        engine: data_parallel, native or ray.
        rank: of this host. members: by rank.
        port: the first of its PORTS.
    """

    engine: str
    rank: int
    members: tuple[Member, ...]
    port: int

    @property
    def leader(self) -> Member:
        return self.members[0]

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def member(self) -> Member:
        """This host."""
        return self.members[self.rank]

    @property
    def serves(self) -> bool:
        """Whether `vllm serve` runs here; a host that only lends its cards to Ray has none."""
        return self.leads or self.engine != "ray"

    @property
    def listens(self) -> tuple[int, ...]:
        """Those of the service's ports that have a listener on this host while it runs."""
        first = 0 if self.leads else RAY_PORTS
        last = PORTS if self.engine == "ray" else RAY_PORTS
        return tuple(range(self.port + first, self.port + last))

    def options(
        self, service: Mapping[str, Any], engine: EngineOptions, who: str
    ) -> dict[str, Any]:
        """Options of vLLM for this member, over those of the service.

        Raises AscendError where this version of vLLM has none of that name.
        """
        found: dict[str, Any] = {}
        port = self.port + ENGINE_PORT
        if self.engine == "data_parallel":
            here = int(service["data_parallel_size"]) // len(self.members)
            found = {
                "data-parallel-size-local": here,
                "data-parallel-address": self.leader.address,
                "data-parallel-rpc-port": port,
                **({} if self.leads else {"data-parallel-start-rank": self.rank * here}),
            }
        elif self.engine == "native":
            found = {
                "distributed-executor-backend": "mp",
                "nnodes": len(self.members),
                "node-rank": self.rank,
                "master-addr": self.leader.address,
                "master-port": port,
            }
        else:
            found = {"distributed-executor-backend": "ray"}
        if not self.leads and self.engine != "ray":
            found["headless"] = True
        missing = sorted(set(found) - set(engine.options))
        if missing:
            raise AscendError(
                f"{who} spans {len(self.members)} hosts with engine: {self.engine}, and this version"
                f" of vLLM has no option {missing[0]}. Choose another engine for it (data_parallel,"
                " native from 0.13 on, or ray), or a later version."
            )
        return found

    def environment(self) -> dict[str, str]:
        """Variables of this member's processes, which the user's own go before.

        Sources: HCCL's and torch's choice of an interface, as in vllm-ascend's multi-node
        tutorials; VLLM_HOST_IP for hosts with several addresses.
        """
        here = self.member
        names = ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
        found = {"HCCL_IF_IP": here.address, "VLLM_HOST_IP": here.address}
        found.update(dict.fromkeys(names, here.interface))
        if self.engine == "ray":
            # An actor sees all cards of the unit; vllm-ascend's workers choose by rank (its issue 168).
            found["RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES"] = "1"
            # Without it the engine finds no cluster whose session is not in /tmp, and makes its own.
            found["RAY_ADDRESS"] = self._gcs_address
            # Both defaults lie in the ephemeral range, and two clusters of one host would share them.
            found["DASHBOARD_METRIC_PORT"] = str(self._ray_port("dashboard-metric"))
            found["AUTOSCALER_METRIC_PORT"] = str(self._ray_port("autoscaler-metric"))
        return found

    @property
    def _gcs_address(self) -> str:
        return f"{self.leader.address}:{self._ray_port('gcs')}"

    def _ray_port(self, name: str) -> int:
        return self.port + RAY_PORTS + _RAY_PORTS.index(name)

    def ray_command(self, cards: int, directory: str) -> list[str]:
        """`ray start` on this member, in the foreground, with every port given.

        cards: of the service on this host. directory: for Ray's session, short and writable.
        """
        workers = self.port + RAY_PORTS + len(_RAY_PORTS)
        command = ["ray", "start", "--block", "--disable-usage-stats"]
        command.append(f"--node-ip-address={self.member.address}")
        for name in _RAY_OPTIONS:
            command.append(f"--{name}={self._ray_port(name)}")
        command.append(f"--min-worker-port={workers}")
        command.append(f"--max-worker-port={self.port + PORTS - 1}")
        command.append(f'--resources={{"NPU":{cards}}}')
        if not self.leads:
            return [*command, f"--address={self._gcs_address}"]
        command += ["--head", f"--port={self._ray_port('gcs')}", "--include-dashboard=false"]
        command.append(f"--ray-client-server-port={self._ray_port('client')}")
        return [*command, f"--temp-dir={directory}"]


_RAY_OPTIONS = (
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "metrics-export-port",
)
_RAY_PORTS = (*_RAY_OPTIONS, "gcs", "client", "dashboard-metric", "autoscaler-metric")


def common_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a member's configuration that have to be equal on all members."""
    return {name: value for name, value in config.items() if name not in _OWN_OPTIONS}
