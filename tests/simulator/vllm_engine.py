# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's process of the stand-in vLLM: opens cards, holds memory, and is a while at it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import ascend_sim as sim
import vllm_config
from vllm_behaviour import FAILURES, Behaviour, StartError, error, say
from vllm_links import Engine, Leader, Member, answer_api
from vllm_service import Service

GIB = 2**30
MB = 2**20


def set_title(title: str) -> None:
    """The name that ps and npu-smi show."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(15, ctypes.c_char_p(title.encode()), 0, 0, 0)
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        first, last = int(fields[45]), int(fields[46])
        if first and last > first:
            text = title.encode()[: last - first - 1]
            ctypes.memmove(first, text.ljust(last - first, b"\0"), last - first)


def open_node(name: str) -> int:
    path = sim.device_folder() / name
    try:
        return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise StartError(
            f"[ERROR] drvDeviceOpen failed: open {path}: {problem.strerror} "
            f"(errno {problem.errno})\nRuntimeError: rtSetDevice ErrCode=507899"
        ) from problem


def open_cards(service: Service, shared: bool) -> list[int]:
    """Opens what the driver opens, and nothing else; file descriptors."""
    opened = [open_node(name) for name in sim.COMMON_NODES]
    for card in service.visible:
        descriptor = open_node(f"davinci{card['phy_id']}")
        opened.append(descriptor)
        if shared or card.get("device_share"):
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise StartError(FAILURES["used"]) from problem
    return opened


def check_memory(service: Service) -> None:
    """From 0.18 a start is refused when less is free than total x utilization."""
    claims = sim.live_claims()
    for card in service.visible[: service.local_world]:
        total = card["visible_mb"]
        free = min(total, card["memory_total"] - sim.used_mb(card, claims))
        wanted = total * service.utilization
        if free < wanted and vllm_config.number(service.version) >= (0, 18):
            raise StartError(
                f"ValueError: Free memory on device ({free * MB / GIB:.2f}/"
                f"{total * MB / GIB:.2f} GiB) on startup is less than desired GPU memory "
                f"utilization ({service.utilization}, {wanted * MB / GIB:.2f} GiB). Decrease GPU "
                "memory utilization or reduce GPU memory used by other processes."
            )


def claim(service: Service) -> None:
    """Hold the memory of this process's cards for as long as it lives."""
    used = service.visible[: service.local_world]
    sim.claim({c["phy_id"]: int(c["visible_mb"] * service.utilization) for c in used})


def hold_hccl_ports(service: Service) -> list[socket.socket]:
    """One host port per rank from HCCL_IF_BASE_PORT, when cards talk to each other."""
    if service.local_world < 2 and service.group is None:
        return []
    base = int(os.environ.get("HCCL_IF_BASE_PORT", "60000"))
    held = []
    for rank in range(service.local_world):
        listener = socket.socket()
        try:
            listener.bind(("0.0.0.0", base + rank))
            listener.listen()
        except (OSError, OverflowError) as problem:
            text = FAILURES["hccl"].replace("60000", str(base + rank))
            raise StartError(text) from problem
        held.append(listener)
    return held


def load(service: Service, behaviour: Behaviour, peers: Engine | None) -> None:
    """The part of a start that takes minutes on real cards, with its lines in the journal."""
    shards = 4
    who = "EngineCore"
    group = service.group
    world, rank, meeting = service.local_world, 0, "127.0.0.1:39001"
    if group is not None:
        meeting = f"{group.address}:{group.port}"
        if group.native:
            world, rank = group.total, group.first
    say(f"Initializing a V1 LLM engine (v{service.version}) with model='{service.model}'", who)
    say(
        f"world_size={world} rank={rank} local_rank=0 distributed_init_method=tcp://{meeting} "
        "backend=hccl",
        who,
    )
    fail(service, behaviour)
    pause(service, behaviour, "ranks")
    if peers is not None:
        peers.join()
    say(f"rank {rank} in world size {world} is assigned as DP rank 0, PP rank 0, TP rank 0", who)
    say(f"Starting to load model {service.model}...", who)
    for shard in range(shards + 1):
        # As tqdm writes it: to the start of the line first, and each step ends with a new line.
        print(
            f"\rLoading safetensors checkpoint shards: {100 * shard // shards:3d}% Completed | "
            f"{shard}/{shards} [00:00<00:00,  1.00it/s]",
            flush=True,
        )
        if shard == shards // 2:
            pause(service, behaviour, "weights")
        time.sleep(behaviour.delay * 0.6 / (shards + 1))
    card = service.visible[0] if service.visible else {"visible_mb": 0}
    total = card["visible_mb"] * MB / GIB
    if behaviour.weights_gib is not None:
        check_length(service, behaviour, total)
    cache = total * service.utilization * 0.5
    tokens = max(service.max_model_len, int(cache * 1024 * 8))
    say("Loading weights took 1.00 seconds", who)
    say(f"Loading model weights took {cache:.4f} GB", who)
    say(f"Available KV cache memory: {cache:.2f} GiB", who)
    say(f"GPU KV cache size: {tokens:,} tokens", who)
    ratio = tokens / service.max_model_len
    say(f"Maximum concurrency for {service.max_model_len:,} tokens per request: {ratio:.2f}x", who)
    time.sleep(behaviour.delay * 0.2)
    say("Compile and warming up model for size 1", who)
    pause(service, behaviour, "graphs")
    # This bar is one line of the journal: nothing but the last step ends with a new line.
    for step in range(5):
        print(
            f"\rCapturing CUDA graphs (decode, FULL): {25 * step:3d}%|{'#' * step:4s}| {step}/4",
            end="" if step < 4 else "\n",
            flush=True,
        )
    say("Graph capturing finished in 1 secs, took 0.09 GiB", who)
    say(
        f"Free memory on device ({total:.2f}/{total:.2f} GiB) on startup. Desired GPU memory "
        f"utilization is ({service.utilization}, {total * service.utilization:.2f} GiB).",
        who,
    )
    time.sleep(behaviour.delay * 0.2)
    if peers is not None:
        peers.settle()
    say("init engine (profile, create kv cache, warmup model) took 2.00 seconds", who)


def check_length(service: Service, behaviour: Behaviour, card_gib: float) -> None:
    """Refuse a length for whose KV cache the set weights leave no room, as vLLM does."""
    group = service.group
    cards = group.total if group and group.native else service.local_world
    room = card_gib * service.utilization * cards - (behaviour.weights_gib or 0)
    if room <= 0:
        raise StartError(FAILURES["kv-negative"])
    tokens = int(room * behaviour.kv_tokens_per_gib)
    if service.max_model_len <= tokens:
        return
    needed = service.max_model_len / behaviour.kv_tokens_per_gib
    text = FAILURES["kv-cache" if behaviour.estimates else "oom"]
    for key, value in (
        ("{length}", service.max_model_len),
        ("{half}", tokens),
        ("40.0", f"{needed:.2f}"),
        ("20.0", f"{room:.2f}"),
    ):
        text = text.replace(key, str(value))
    raise StartError(text)


def fail(service: Service, behaviour: Behaviour) -> None:
    """End the start as the test asks; returns where it asks for nothing."""
    if not behaviour.fail:
        return
    time.sleep(behaviour.fail_after)
    if behaviour.fail == "hang":
        while True:
            time.sleep(3600)
    if behaviour.fail == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour.fail == "quiet":
        os._exit(1)
    values = {
        "length": service.max_model_len,
        "half": service.max_model_len // 2,
        "visible": os.environ.get("ASCEND_RT_VISIBLE_DEVICES", ""),
        "count": len(service.visible),
        "world": service.local_world,
        "model": service.model,
    }
    text = FAILURES[behaviour.fail]
    for key, value in values.items():
        text = text.replace("{" + key + "}", str(value))
    raise StartError(text)


def pause(service: Service, behaviour: Behaviour, where: str) -> None:
    """Go no further while the test asks for it; it may change its mind."""
    while behaviour.hang_at == where:
        time.sleep(0.2)
        behaviour = Behaviour.load(service.all_names)


def plain(service: Service) -> dict[str, Any]:
    """A service without what is of one host, to be sent to others."""
    kept = dataclasses.asdict(service)
    for name in ("visible", "group", "local_world"):
        del kept[name]
    return kept


def engine(
    service: Service, behaviour: Behaviour, ready: int, api: socket.socket | None
) -> NoReturn:
    """The engine's process: holds the cards and their memory until it is ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    group = service.group
    set_title(group.title if group else "VLLM::EngineCore")
    peers: Engine | None = None
    try:
        if group is not None:
            peers = Leader(group) if group.leads else Member(group)
        if isinstance(peers, Leader) and peers.group.cluster:
            task = {"service": plain(service), "shared": behaviour.shared}
            peers.place({**task, "delay": behaviour.delay})
        held: list[Any] = [open_cards(service, behaviour.shared), hold_hccl_ports(service)]
        check_memory(service)
        claim(service)
        load(service, behaviour, peers)
    except StartError as problem:
        # What an engine's process says, and once more without a prefix as it ends.
        trace = 'Traceback (most recent call last):\n  File "core.py", line 700, in run_engine_core'
        error(f"EngineCore failed to start.\n{trace}\n{problem}", "EngineCore")
        print(f"Process EngineCore_DP0:\n{trace}\n{problem}", file=sys.stderr, flush=True)
        os._exit(1)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if peers is not None and api is not None:
        answer_api(api, peers, behaviour)
    os.write(ready, b"1")
    os.close(ready)
    if behaviour.engine_dies_after is not None:
        time.sleep(behaviour.engine_dies_after)
        error("EngineCore encountered a fatal error.", "EngineCore")
        os._exit(1)
    if isinstance(peers, Member):
        peers.serve()
    while held:
        signal.pause()
    os._exit(0)
