# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for `vllm` on simulated Ascend hosts: behaves as a service does, computes nothing.

What it imitates, and every setting: README.md beside this file.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import ascend_sim as sim
import vllm_config

GIB = 2**30
MB = 2**20

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
    hang_at: str | None = None  # ranks, weights or graphs: where a start stands still
    mute: bool = False  # takes connections and never answers
    health: int = 200  # status of /health
    fail_after: float = 0.0  # seconds of starting before it fails
    engine_dies_after: float | None = None  # seconds after ready
    engine_grace: float = 5.0  # seconds from the engine's death to the server's exit
    stop: float = 0.5  # seconds from SIGTERM to exit, idle
    request_seconds: float = 0.0  # how long an answer takes
    shared: bool = False  # cards need not be exclusive

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


@dataclass
class Service:
    """What is served, as the options and the model's folder say."""

    version: str
    model: str
    names: list[str]
    host: str
    port: int
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel_local: int
    nodes: int
    headless: bool
    utilization: float
    max_model_len: int
    pooling: bool
    api_keys: list[str]
    shutdown_timeout: float
    visible: list[dict[str, Any]] = field(default_factory=list)

    @property
    def local_world(self) -> int:
        world = self.tensor_parallel * self.pipeline_parallel
        return max(1, world // self.nodes) * self.data_parallel_local


def say(text: str, who: str = "APIServer") -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    for line in text.splitlines():
        print(f"({who} pid={os.getpid()}) INFO {stamp} {line}", flush=True)


def error(text: str, who: str = "APIServer") -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    for line in text.splitlines():
        print(f"({who} pid={os.getpid()}) ERROR {stamp} {line}", file=sys.stderr, flush=True)


# --- before the engine ---------------------------------------------------------------------------


def check_environment() -> None:
    """CANN's libraries are found by the environment alone, as in a service without a login shell."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    toolkit = os.environ.get("ASCEND_TOOLKIT_HOME", "")
    atb = os.environ.get("ATB_HOME_PATH", "")
    for present, library in (
        (any("driver/lib64" in path for path in libraries), "libascend_hal"),
        (bool(toolkit) and f"{toolkit}/lib64" in libraries, "libhccl"),
        (bool(atb) and f"{atb}/lib" in libraries, "libatb"),
    ):
        if not present:
            raise StartError(FAILURES[library])


def model_config(model: str) -> dict[str, Any]:
    """config.json of a model that is a folder; empty when there is none."""
    path = Path(model) / "config.json"
    if not path.is_file():
        say(f"stand-in: no {path}: weights are not needed here, nothing is known of the model")
        return {}
    config: dict[str, Any] = json.loads(path.read_text())
    return {**config, **config.get("text_config", {})}


def settle_length(wanted: int | None, config: dict[str, Any], overrides: Any) -> int:
    """max_model_len as vLLM settles it; StartError when the model does not carry it."""
    if isinstance(overrides, dict):
        config = {**config, **overrides}
    native = config.get("max_position_embeddings")
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if native and scaling.get("factor") and scaling.get("rope_type", scaling.get("type")) == "yarn":
        native = int(scaling.get("original_max_position_embeddings", native) * scaling["factor"])
    if wanted in (None, -1):
        return int(native or 4096)
    assert wanted is not None
    allowed = os.environ.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") == "1"
    if native and wanted > native and not allowed:
        raise StartError(
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            f"  Value error, User-specified max_model_len ({wanted}) is greater than the derived "
            f"max_model_len (max_position_embeddings={float(native)} or model_max_length=None in "
            "model's config.json). To allow overriding this maximum, set the env var "
            "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1. VLLM_ALLOW_LONG_MAX_MODEL_LEN must be used with "
            "extreme caution."
        )
    return wanted


def describe(version: str, options: Any) -> Service:
    """The service that parsed options describe; StartError for what vLLM's checks refuse."""
    model = options.model_tag or options.model
    utilization = options.gpu_memory_utilization
    if not 0 < utilization <= 1:
        limit = "less than or equal to 1" if utilization > 1 else "greater than 0"
        raise StartError(
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for CacheConfig\n"
            f"gpu_memory_utilization\n  Input should be {limit} [type=less_than_equal, "
            f"input_value={utilization}, input_type=float]"
        )
    config = model_config(model)
    tensor = options.tensor_parallel_size
    heads = config.get("num_attention_heads")
    if heads and heads % tensor:
        raise StartError(
            f"ValueError: Total number of attention heads ({heads}) must be divisible by tensor "
            f"parallel size ({tensor})."
        )
    served = options.served_model_name
    names = [served] if isinstance(served, str) else list(served or [model])
    keys = options.api_key
    keys = [keys] if isinstance(keys, str) else list(keys or [])
    if not keys and os.environ.get("VLLM_API_KEY"):
        keys = [os.environ["VLLM_API_KEY"]]
    task = getattr(options, "task", None)
    return Service(
        version=version,
        model=model,
        names=names,
        host=options.host or "0.0.0.0",
        port=options.port,
        tensor_parallel=tensor,
        pipeline_parallel=options.pipeline_parallel_size,
        data_parallel_local=int(options.data_parallel_size_local or 1),
        nodes=int(getattr(options, "nnodes", None) or 1),
        headless=bool(options.headless),
        utilization=utilization,
        max_model_len=settle_length(
            options.max_model_len, config, getattr(options, "hf_overrides", None)
        ),
        pooling=getattr(options, "runner", None) == "pooling"
        or task in ("embed", "embedding", "score", "classify", "reward"),
        api_keys=keys,
        shutdown_timeout=float(getattr(options, "shutdown_timeout", None) or 0),
    )


def visible_cards(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The cards that ASCEND_RT_VISIBLE_DEVICES names, in its order.

    It takes logic ids; in a container that was given some of the cards, numbers from 0 of those.
    """
    cards = {card["logic_id"]: card for card in sim.cards_of(state)}
    nodes = sim.device_folder()
    given = [card for card in cards.values() if (nodes / f"davinci{card['phy_id']}").exists()]
    if 0 < len(given) < len(cards):
        cards = dict(enumerate(sorted(given, key=lambda card: int(card["phy_id"]))))
    text = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
    if text is None:
        return [cards[key] for key in sorted(cards)]
    chosen = []
    for part in text.split(",") if text else []:
        index = int(part) if part.strip().isdigit() else -1
        if index not in cards or cards[index] in chosen:
            raise StartError(FAILURES["visible"].format(visible=text, count=len(cards)))
        chosen.append(cards[index])
    return chosen


def bind(service: Service) -> socket.socket:
    """The port is bound first, and listens only when the engine is ready."""
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((service.host, service.port))
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            raise StartError(FAILURES["port"]) from problem
        raise StartError(f"OSError: {problem}") from problem
    return listener


# --- the engine ----------------------------------------------------------------------------------


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
        if shared:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise StartError(FAILURES["used"]) from problem
    return opened


def check_memory(service: Service) -> None:
    """From 0.18 a start is refused when less is free than total x utilisation."""
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


def hold_hccl_ports(service: Service) -> list[socket.socket]:
    """One host port per rank from HCCL_IF_BASE_PORT, when cards talk to each other."""
    if service.local_world < 2 and service.nodes < 2:
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


def load(service: Service, behaviour: Behaviour) -> None:
    """The part of a start that takes minutes on real cards, with its lines in the journal."""
    shards = 4
    who = "EngineCore"
    world = service.local_world
    say(f"Initializing a V1 LLM engine (v{service.version}) with model='{service.model}'", who)
    say(
        f"world_size={world} rank=0 local_rank=0 distributed_init_method=tcp://127.0.0.1:39001 "
        "backend=hccl",
        who,
    )
    fail(service, behaviour)
    stand_still(behaviour, "ranks")
    say(f"rank 0 in world size {world} is assigned as DP rank 0, PP rank 0, TP rank 0", who)
    say(f"Starting to load model {service.model}...", who)
    for shard in range(shards + 1):
        # As tqdm writes it: to the start of the line first, and each step ends with a new line.
        print(
            f"\rLoading safetensors checkpoint shards: {100 * shard // shards:3d}% Completed | "
            f"{shard}/{shards} [00:00<00:00,  1.00it/s]",
            flush=True,
        )
        if shard == shards // 2:
            stand_still(behaviour, "weights")
        time.sleep(behaviour.delay * 0.6 / (shards + 1))
    card = service.visible[0] if service.visible else {"visible_mb": 0}
    total = card["visible_mb"] * MB / GIB
    cache = total * service.utilization * 0.5
    tokens = max(service.max_model_len, int(cache * 1024 * 8))
    say("Loading weights took 1.00 seconds", who)
    say(f"Loading model weights took {cache:.4f} GB", who)
    say(f"Available KV cache memory: {cache:.2f} GiB", who)
    say(f"GPU KV cache size: {tokens:,} tokens", who)
    ratio = tokens / service.max_model_len
    say(f"Maximum concurrency for {service.max_model_len:,} tokens per request: {ratio:.2f}x", who)
    time.sleep(behaviour.delay * 0.2)
    stand_still(behaviour, "graphs", "Compile and warming up model for size 1")
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
    say("init engine (profile, create kv cache, warmup model) took 2.00 seconds", who)


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


def stand_still(behaviour: Behaviour, where: str, line: str | None = None) -> None:
    if line:
        say(line, "EngineCore")
    while behaviour.hang_at == where:
        time.sleep(3600)


def engine(service: Service, behaviour: Behaviour, ready: int) -> NoReturn:
    """The engine's process: holds the cards and their memory until it is ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    set_title("VLLM::EngineCore")
    try:
        held: list[Any] = [open_cards(service, behaviour.shared), hold_hccl_ports(service)]
        check_memory(service)
        used = service.visible[: service.local_world]
        sim.claim({c["phy_id"]: int(c["visible_mb"] * service.utilization) for c in used})
        load(service, behaviour)
    except StartError as problem:
        # What an engine's process says, and once more without a prefix as it ends.
        trace = 'Traceback (most recent call last):\n  File "core.py", line 700, in run_engine_core'
        error(f"EngineCore failed to start.\n{trace}\n{problem}", "EngineCore")
        print(f"Process EngineCore_DP0:\n{trace}\n{problem}", file=sys.stderr, flush=True)
        os._exit(1)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.write(ready, b"1")
    os.close(ready)
    if behaviour.engine_dies_after is not None:
        time.sleep(behaviour.engine_dies_after)
        error("EngineCore encountered a fatal error.", "EngineCore")
        os._exit(1)
    while held:
        signal.pause()
    os._exit(0)


# --- the server ----------------------------------------------------------------------------------


class Api(ThreadingHTTPServer):
    """The HTTP server, on the socket that was bound at the start."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, service: Service, behaviour: Behaviour) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_address = listener.getsockname()[:2]
        self.service = service
        self.behaviour = behaviour
        self.created = int(time.time())
        self.running = 0
        self.served = 0
        self.guard = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """The few endpoints that a deployment asks."""

    server: Api
    protocol_version = "HTTP/1.1"
    server_version = "uvicorn"

    def log_message(self, format: str, *args: Any) -> None:
        say(format % args)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        if self.path not in ("/health", "/metrics"):
            address = f"{self.client_address[0]}:{self.client_address[1]}"
            print(f'INFO:     {address} - "{self.requestline}" {int(code)}', flush=True)

    def answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status: int, message: str) -> None:
        kinds = {400: "BadRequestError", 404: "NotFoundError"}
        detail = {"message": message, "type": kinds.get(status, "Error"), "code": status}
        self.answer(status, {"error": detail})

    def allowed(self) -> bool:
        keys = self.server.service.api_keys
        if not keys or not self.path.startswith("/v1"):
            return True
        given = self.headers.get("Authorization", "")
        if given.startswith("Bearer ") and given[7:] in keys:
            return True
        self.answer(401, {"error": "Unauthorized"})
        return False

    def do_GET(self) -> None:
        service = self.server.service
        if not self.allowed():
            return
        path = self.path.partition("?")[0]
        if self.server.behaviour.mute:
            time.sleep(3600)
        if path == "/health":
            self.answer(self.server.behaviour.health, "")
        elif path == "/version":
            self.answer(200, {"version": service.version, "stand_in": vllm_config.STAND_IN})
        elif path == "/v1/models":
            self.answer(200, {"object": "list", "data": [self.card(n) for n in service.names]})
        elif path == "/metrics":
            self.answer(200, self.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        else:
            self.answer(404, {"detail": "Not Found"})

    def card(self, name: str) -> dict[str, Any]:
        service = self.server.service
        return {
            "id": name,
            "object": "model",
            "created": self.server.created,
            "owned_by": "vllm",
            "root": service.model,
            "parent": None,
            "max_model_len": service.max_model_len,
        }

    def metrics(self) -> str:
        label = f'engine="0",model_name="{self.server.service.names[0]}"'
        gauges = {
            "num_requests_running": ("gauge", self.server.running),
            "num_requests_waiting": ("gauge", 0),
            "kv_cache_usage_perc": ("gauge", 0.0),
            "request_success_total": ("counter", self.server.served),
        }
        return "".join(
            f"# HELP vllm:{name} {vllm_config.STAND_IN}\n# TYPE vllm:{name} {kind}\n"
            f"vllm:{name}{{{label}}} {float(value)}\n"
            for name, (kind, value) in gauges.items()
        )

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(size)
        if not self.allowed():
            return
        service = self.server.service
        path = self.path.partition("?")[0].removeprefix("/v1").removeprefix("/v2")
        pooling = ("/embeddings", "/rerank", "/score", "/pooling", "/classify")
        generating = ("/completions", "/chat/completions")
        if path not in (pooling if service.pooling else generating):
            self.answer(404, {"detail": "Not Found"})
            return
        try:
            request = json.loads(raw or b"{}")
        except ValueError:
            self.refuse(400, "the request is no JSON")
            return
        name = request.get("model") or service.names[0]
        if name not in service.names:
            self.refuse(404, f"The model `{name}` does not exist.")
            return
        with self.server.guard:
            self.server.running += 1
        try:
            time.sleep(self.server.behaviour.request_seconds)
            self.respond(path, name, request)
        finally:
            with self.server.guard:
                self.server.running -= 1
                self.server.served += 1

    def respond(self, path: str, name: str, request: dict[str, Any]) -> None:
        texts = request.get("input") or request.get("prompt") or request.get("documents") or ""
        texts = [texts] if isinstance(texts, str) else list(texts)
        if path == "/chat/completions":
            texts = [str(m.get("content", "")) for m in request.get("messages", [])]
        tokens = [len(str(text).split()) for text in texts]
        limit = self.server.service.max_model_len
        asked = max(tokens or [0]) + int(request.get("max_tokens") or 0)
        if asked > limit:
            self.refuse(
                400,
                f"This model's maximum context length is {limit} tokens. However, you requested "
                f"{asked} tokens.",
            )
            return
        usage = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
        base = {"id": "standin-0", "created": int(time.time()), "model": name, "usage": usage}
        text = f"({vllm_config.STAND_IN})"
        if path == "/completions":
            choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
            self.answer(200, {**base, "object": "text_completion", "choices": [choice]})
        elif path == "/chat/completions":
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer(200, {**base, "object": "chat.completion", "choices": [choice]})
        elif path == "/rerank":
            results = [
                {"index": i, "document": {"text": t}, "relevance_score": 1 / (i + 1)}
                for i, t in enumerate(texts)
            ]
            self.answer(200, {**base, "results": results})
        else:
            data = [
                {"object": "embedding", "index": i, "embedding": [0.0, 0.6, 0.8]}
                for i in range(len(texts))
            ]
            self.answer(200, {**base, "object": "list", "data": data})


def wait_for(ready: int, child: int) -> int | None:
    """None when the engine says it is ready; its exit code, or -signal, when it ended before."""
    if os.read(ready, 1) == b"1":
        return None
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def serve(service: Service, behaviour: Behaviour, listener: socket.socket | None) -> int:
    # Seen with real versions: SIGTERM has no effect until the server is up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        if listener is not None:
            listener.close()
        engine(service, behaviour, told)
    os.close(told)
    status = wait_for(ready, child)
    if status is not None:
        error(
            'Traceback (most recent call last):\n  File "utils.py", line 964, in '
            "wait_for_engine_startup\n"
            "RuntimeError: Engine core initialization failed. See root cause above. "
            f"Failed core proc(s): {{'EngineCore_DP0': {status}}}"
        )
        return 1
    stopping = threading.Event()
    died = threading.Event()

    def watch() -> None:
        os.waitpid(child, 0)
        died.set()
        stopping.set()

    threading.Thread(target=watch, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    api = None
    if listener is not None:
        listener.listen(128)
        api = Api(listener, service, behaviour)
        threading.Thread(
            target=api.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        ).start()
        say(f"Starting vLLM API server on http://{service.host}:{service.port}")
    print("INFO:     Waiting for application startup.", flush=True)
    print("INFO:     Application startup complete.", flush=True)
    # A signal wakes only the main thread's own calls: wait in short steps.
    while not stopping.wait(0.1):
        pass
    if died.is_set():
        error("AsyncLLM output_handler failed. EngineDeadError: EngineCore encountered an issue.")
        time.sleep(behaviour.engine_grace)
    else:
        drain(service, behaviour, api)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    print("INFO:     Application shutdown complete.", flush=True)
    return 0


def drain(service: Service, behaviour: Behaviour, api: Api | None) -> None:
    print("INFO:     Shutting down", flush=True)
    deadline = time.monotonic() + service.shutdown_timeout
    while api is not None and api.running and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(behaviour.stop)


def banner(service: Service, options: Any, parser: Any) -> None:
    """The first lines; like vLLM's they name every option given, a key among them."""
    usual = vars(parser.parse_args(["serve"]))
    given = {key: value for key, value in vars(options).items() if value != usual.get(key)}
    say(f"{vllm_config.STAND_IN}: it opens cards, holds memory and answers, but computes nothing")
    say(f"vLLM API server version {service.version}")
    say(f"non-default args: {given}")


def main(version: str) -> int:
    words = sys.argv[1:]
    table = json.loads((Path(__file__).parent / "vllm_options.json").read_text())
    if words[:1] == ["serve"]:
        # The platform's plugin is imported before any option is read.
        try:
            check_environment()
        except StartError as problem:
            error(str(problem))
            return 1
    parser = vllm_config.parser(version, table[version])
    options = parser.parse_args(words)
    if options.subparser != "serve":
        parser.print_help()
        return 0
    try:
        service = describe(version, options)
        banner(service, options, parser)
        behaviour = Behaviour.load([service.model, Path(service.model).name, *service.names])
        if behaviour.fail == "port":
            raise StartError(FAILURES["port"])
        listener = None if service.headless else bind(service)
        if not sim.may_use_driver():
            raise StartError(FAILURES["driver"])
        service.visible = visible_cards(sim.load_state())
        if service.local_world > len(service.visible):
            raise StartError(
                f"AssertionError: local_world_size ({service.local_world}) must be less than or "
                f"equal to the number of visible devices ({len(service.visible)})."
            )
        return serve(service, behaviour, listener)
    except StartError as problem:
        error(str(problem))
        return 1
