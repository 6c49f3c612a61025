# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in vLLM serves, as its options and the model's directory describe it."""

from __future__ import annotations

import errno
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ascend_sim as sim
from vllm_behaviour import FAILURES, StartError, say
from vllm_group import Group, layout


@dataclass
class Service:
    """What is served, as the options and the model's folder say."""

    version: str
    model: str
    names: list[str]
    host: str
    port: int
    local_world: int  # cards that the ranks of this host need
    group: Group | None  # its place among several hosts
    utilization: float
    max_model_len: int
    pooling: bool
    api_keys: list[str]
    shutdown_timeout: float
    visible: list[dict[str, Any]] = field(default_factory=list)

    @property
    def all_names(self) -> list[str]:
        """The names by which a test may set its behaviour."""
        return [self.model, Path(self.model).name, *self.names]

    @property
    def headless(self) -> bool:
        return self.group is not None and self.group.headless


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
    length = settle_length(options.max_model_len, config, getattr(options, "hf_overrides", None))
    agreed = {"version": version, "model": Path(model).name, "length": length}
    cards, group = layout(options, agreed)
    return Service(
        version=version,
        model=model,
        names=names,
        host=options.host or "0.0.0.0",
        port=options.port,
        local_world=cards,
        group=group,
        utilization=utilization,
        max_model_len=length,
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
