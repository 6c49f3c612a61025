# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ranks of a service the stand-in vLLM runs on this host, and where the others meet it.

The rules are those of vLLM's own options (EngineArgs.create_engine_config, ParallelConfig and the
handshake of its engines); what the real one was never seen to do is refused and says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_behaviour import StartError

# Both are vLLM's defaults, for ranks of one host.
MASTER, RPC_PORT = "127.0.0.1", 29550
# The title of the process of a Ray cluster that all its hosts connect to.
CLUSTER = "gcs_server --gcs-address="


@dataclass(frozen=True)
class Group:
    """The ranks of this host among all ranks of a service over several hosts."""

    native: bool  # one engine over all hosts; else engines that share the requests
    address: str  # the leader's, where all meet
    port: int
    first: int  # the first rank of this host
    count: int  # how many ranks it has
    total: int  # ranks of all hosts
    headless: bool
    shared: bool  # the leader's API passes requests to the ranks of all hosts
    lockstep: bool  # no rank goes on without the others
    agreed: dict[str, Any]  # what has to be the same on all hosts
    cluster: str = ""  # the address of the Ray cluster that has the ranks; none is in this process

    @property
    def leads(self) -> bool:
        return self.first == 0

    @property
    def title(self) -> str:
        """The name of this host's engine process, as vLLM gives it."""
        if self.native:
            return "VLLM::EngineCore" if self.leads else f"VLLM::Worker_TP{self.first}"
        return f"VLLM::EngineCore_DP{self.first}"


def ray_cluster() -> str:
    """The address of the Ray cluster of this host, found as Ray does; empty without one."""
    given = os.environ.get("RAY_ADDRESS", "")
    for path in Path("/proc").glob("[0-9]*/cmdline") if not given else ():
        try:
            title = path.read_bytes().rstrip(b"\0").decode(errors="replace")
        except OSError:
            continue
        if title.startswith(CLUSTER):
            return title.removeprefix(CLUSTER)
    return given


def only(condition: bool, text: str) -> None:
    if not condition:
        raise StartError(text)


def unseen(condition: bool, text: str) -> None:
    only(not condition, f"stand-in: {text}: the real vLLM was not seen to run so")


def layout(options: Any, agreed: dict[str, Any]) -> tuple[int, Group | None]:
    """(cards that this host's ranks need, its place in a group over hosts or None).

    Raises StartError for sizes and ranks that do not fit together.
    """
    world = options.tensor_parallel_size * options.pipeline_parallel_size
    nodes = int(getattr(options, "nnodes", None) or 1)
    size = int(options.data_parallel_size or 1)
    agreed = {
        **agreed,
        "tensor": options.tensor_parallel_size,
        "pipeline": options.pipeline_parallel_size,
        "data": size,
        "nodes": nodes,
        "experts": bool(getattr(options, "enable_expert_parallel", False)),
    }
    cluster = ray_cluster() if options.distributed_executor_backend == "ray" else ""
    if cluster:
        unseen(nodes > 1 or size > 1, "--nnodes or --data-parallel-size with Ray")
        return 0, Group(
            native=True,
            address=os.environ.get("VLLM_HOST_IP", MASTER),
            port=0,
            first=0,
            count=0,
            total=world,
            headless=False,
            shared=True,
            lockstep=True,
            agreed=agreed,
            cluster=cluster,
        )
    if nodes > 1:
        unseen(size > 1, "--data-parallel-size with --nnodes")
        return native(options, world, nodes, agreed)
    unseen(bool(getattr(options, "node_rank", None)), "--node-rank without --nnodes")
    if size > 1:
        return data_parallel(options, world, size, agreed)
    unseen(bool(options.headless), "--headless without a leader")
    return world, None


def native(
    options: Any, world: int, nodes: int, agreed: dict[str, Any]
) -> tuple[int, Group | None]:
    only(
        world % nodes == 0,
        f"AssertionError: world_size ({world}) must be divisible by nnodes ({nodes}).",
    )
    node = int(options.node_rank or 0)
    only(node < nodes, f"AssertionError: node_rank {node} must be less than nnodes {nodes}.")
    unseen(node > 0 and not options.headless, f"--node-rank {node} without --headless")
    unseen(node == 0 and bool(options.headless), "--node-rank 0 with --headless")
    local = world // nodes
    return local, Group(
        native=True,
        address=options.master_addr or MASTER,
        port=int(options.master_port),
        first=node * local,
        count=local,
        total=world,
        headless=bool(options.headless),
        shared=True,
        lockstep=True,
        agreed=agreed,
    )


def data_parallel(
    options: Any, world: int, size: int, agreed: dict[str, Any]
) -> tuple[int, Group | None]:
    local, start = options.data_parallel_size_local, int(options.data_parallel_start_rank or 0)
    rank = getattr(options, "data_parallel_rank", None)
    external = bool(getattr(options, "data_parallel_external_lb", False)) or rank is not None
    hybrid = bool(getattr(options, "data_parallel_hybrid_lb", False))
    headless = bool(options.headless)
    only(
        not (hybrid and headless),
        "AssertionError: data_parallel_hybrid_lb is not applicable in headless mode",
    )
    if external:
        only(rank is not None, "AssertionError: data_parallel_rank must be specified")
        only(
            local in (None, 1),
            "AssertionError: data_parallel_size_local must be 1 or None when data_parallel_rank"
            " is set",
        )
        local, start = 1, int(rank or 0)
    elif local is None:
        only(
            not hybrid,
            "AssertionError: data_parallel_size_local must be set to use data_parallel_hybrid_lb.",
        )
        local = size
    only(
        local > 0 or not headless,
        "ValueError: data_parallel_size_local must be > 0 in headless mode",
    )
    unseen(local < 1, "--data-parallel-size-local 0")
    only(
        start + local <= size,
        f"RuntimeError: Message from engine with unexpected data parallel rank: {size}",
    )
    # A start rank without --headless is a host with an API of its own.
    apart = external or hybrid or (start > 0 and not headless)
    if local == size:
        unseen(headless, "--headless with all ranks on one host")
        return world * size, None
    unseen(headless and start == 0, "--headless with rank 0")
    return world * local, Group(
        native=False,
        address=options.data_parallel_address or MASTER,
        port=int(options.data_parallel_rpc_port or RPC_PORT),
        first=start,
        count=local,
        total=size,
        headless=headless,
        shared=not apart,
        lockstep=bool(agreed["experts"]),
        agreed=agreed,
    )
