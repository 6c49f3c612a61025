# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the stand-in vLLM behaves as a test asks, and the words with which it fails."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What users have reported, word for word, by the kind a test asks for (`fail`).
FAILURES = {
    "oom": (
        "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.96 GiB "
        "total capacity; 58.30 GiB already allocated; 58.30 GiB current active; 1.02 GiB free; "
        "58.91 GiB reserved in total by PyTorch)"
    ),
    "kv-cache": (
        "ValueError: To serve at least one request with the model's max seq len ({length}), "
        "(40.0 GiB KV cache is needed, which is larger than the available KV cache memory "
        "(20.0 GiB). Based on the available memory, the estimated maximum model length is {half}. "
        "Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing "
        "the engine."
    ),
    "kv-cache-old": (
        "ValueError: The model's max seq len ({length}) is larger than the maximum number of "
        "tokens that can be stored in KV cache ({half}). Try increasing `gpu_memory_utilization` "
        "or decreasing `max_model_len` when initializing the engine."
    ),
    "kv-negative": "INFO Available KV cache memory: -0.87 GiB\n"
    "ValueError: No available memory for the cache blocks. Try increasing "
    "`gpu_memory_utilization` when initializing the engine.",
    "hccl": (
        "EJ0003: Failed to bind the IP port. Reason: The IP address and port have been bound "
        "already.\nhost nic listen start failed, port[60000]"
    ),
    "hccl-listen": "listen on ip[127.0.0.1] and specific port[16666] fail",
    "hccl-timeout": "EI0006: Getting socket times out. Reason: Remote Rank did not send the data",
    "timeout": (
        "TimeoutError: Timed out waiting for engines to send initial message on input socket."
    ),
    "libhccl": (
        "ImportError: libhccl.so: cannot open shared object file: No such file or directory"
    ),
    "libatb": "ImportError: libatb.so: cannot open shared object file: No such file or directory",
    "libascend_hal": (
        "ImportError: libascend_hal.so: cannot open shared object file: No such file or directory"
    ),
    "driver": "dcmi module initialize failed. ret is -8005",
    "used": (
        "dcmi model initialized failed, because the device is used. ret is -8020\n"
        "drvErr=87\nrtGetDeviceCount:ErrCode=507899"
    ),
    "visible": (
        "EE1001: The argument is invalid.Reason: set ASCEND_RT_VISIBLE_DEVICES:{visible} error, "
        "input data rang[0-{count})\naclrtGetDeviceCount error code is 207004"
    ),
    "visible-range": (
        "Exception: Error setting ASCEND_RT_VISIBLE_DEVICES: local range: [0, 64) base value: "
        '"{visible}"'
    ),
    "world-size": (
        "AssertionError: local_world_size ({world}) must be less than or equal to the number of "
        "visible devices (0)."
    ),
    "memory": (
        "ValueError: Free memory on device (8.0/64.0 GiB) on startup is less than desired GPU "
        "memory utilization (0.9, 57.6 GiB). Decrease GPU memory utilization or reduce GPU memory "
        "used by other processes."
    ),
    "heads": (
        "ValueError: Total number of attention heads (32) must be divisible by tensor parallel "
        "size (3)."
    ),
    "graph": (
        "RuntimeError: capture_begin error code is 207008\nEL0009: stream resources are "
        "insufficient"
    ),
    "port": "OSError: [Errno 98] Address already in use",
    "weights": "RuntimeError: Cannot find any model weights with `{model}`",
    "weights-broken": (
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer"
    ),
    # One rank runs out of memory, and the others and the server wait for it in vain.
    "oom-then-timeout": (
        "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 896.00 MiB (NPU 1; 60.97 GiB "
        "total capacity; 59.95 GiB already allocated; 59.95 GiB current active; 330.10 MiB free; "
        "60.10 GiB reserved in total by PyTorch)\n"
        "RuntimeError: EI0006: Getting socket times out. Reason: Remote Rank did not send the data\n"
        "TimeoutError: Timed out waiting for engines to send initial message on input socket."
    ),
}
# These end the engine without a word: `killed` by SIGKILL, `quiet` with status 1.
WORDLESS = ("killed", "quiet")


class StartError(Exception):
    """A start that fails; the text is what the journal shows."""


@dataclass
class Behaviour:
    """How this server shall behave; from the file, then the environment."""

    delay: float = 2.0  # seconds from start to ready
    fail: str | None = None  # a kind of FAILURES or WORDLESS, or 'hang': never ready
    hang_at: str | None = None  # ranks, weights or graphs: where a start pauses
    mute: bool = False  # takes connections and never answers
    health: int = 200  # status of /health
    fail_after: float = 0.0  # seconds of starting before it fails
    engine_dies_after: float | None = None  # seconds after ready
    engine_grace: float = 5.0  # seconds from the engine's death to the server's exit
    # Seconds from SIGTERM to exit, idle; a member of one engine over hosts took 12.
    stop: float | None = None
    lost_rank: float = 15.0  # seconds for which requests still go to a lost data-parallel rank
    request_seconds: float = 0.0  # how long an answer takes
    shared: bool = False  # cards need not be exclusive
    weights_gib: float | None = None  # memory of all cards that the weights take; None: no limit
    kv_tokens_per_gib: float = 8192.0  # tokens whose KV cache fits into one GiB of all cards
    full_tokens: int | None = None  # tokens of a request above which the engine runs out of memory
    estimates: bool = True  # it prints the longest length that there is memory for
    metrics: dict[str, float] = field(
        default_factory=dict
    )  # values of /metrics, read at each answer

    @classmethod
    def load(cls, names: list[str]) -> Behaviour:
        path = Path(os.environ.get("ASCEND_SIM_BEHAVIOUR", "/var/lib/ascend-sim/behaviour.json"))
        entries: dict[str, dict[str, Any]] = {}
        if path.exists():
            entries = json.loads(path.read_text())
        chosen: dict[str, Any] = {}
        for name in ["*", *names]:
            chosen.update(entries.get(name, {}))
        for key in cls.__dataclass_fields__:
            value = os.environ.get(f"ASCEND_SIM_{key.upper()}")
            if value is not None:
                chosen[key] = value if key in ("fail", "hang_at") else json.loads(value)
        unknown = set(chosen) - set(cls.__dataclass_fields__)
        if unknown:
            raise StartError(f"stand-in: {path} has unknown settings: {', '.join(sorted(unknown))}")
        result = cls(**chosen)
        if result.fail not in (None, "hang", *FAILURES, *WORDLESS):
            raise StartError(f"stand-in: no such failure: {result.fail}")
        return result


def say(text: str, who: str = "APIServer") -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    for line in text.splitlines():
        print(f"({who} pid={os.getpid()}) INFO {stamp} {line}", flush=True)


def error(text: str, who: str = "APIServer") -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    for line in text.splitlines():
        print(f"({who} pid={os.getpid()}) ERROR {stamp} {line}", file=sys.stderr, flush=True)
