# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user may write of a service, parsed once: every value typed, bounded or rejected."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._base.values import kind_of, shown, whole_number
from .cluster import Cluster
from .options import dashed, is_option
from .ranks import Ranks
from .recipes import PURPOSES
from .spec import RESOLVED_KEYS

KINDS = ("generate", "multimodal", "embed", "rerank")

# What a request may contain and something reads: here, the placement, the role, the plan of a
# fleet. A resolved spec is a request too. Other keys pass through.
REQUEST_KEYS = RESOLVED_KEYS | {
    "port",
    "served_model_name",
    "path",
    "config",
    "env",
    "api_key",
    "secret_env",
    "weights",
    "state",
    "devices",
    "hccl_ports",
    "kv_ports",
    "replicas",
    "hosts",
    "recipe",
    "spread",
    "priority",
    "cluster",
    "share",
}
# The engine's options that a key of the request sets.
_KEYS_OF_OPTIONS = {
    "max-model-len": "max_model_len",
    "gpu-memory-utilization": "gpu_memory_utilization",
    "tensor-parallel-size": "tensor_parallel_size",
    "pipeline-parallel-size": "pipeline_parallel_size",
}
_LENGTH = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?([KM]?)", re.ASCII)
_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}
_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,18})?", re.ASCII)
# Of one service and of a parallel size; more than any fleet has.
_MOST_CARDS = 65536
_WAYS = "Write a model's name, or a mapping such as {model: Qwen3-14B, cards: 2}."


@dataclass(frozen=True)
class Request:
    """A request; None: the user wrote nothing of it.

    Attributes:
        model: as written; None only for an absent service.
        cards: on each host. pinned_cards: the cards themselves, if they were named.
        ranks: data-parallel ranks, by their key or by args.
        recipe: throughput, latency or none.
        share: whether it may have its cards together with other services.
        cluster: the hosts that it spans, if it spans several.
        extra: the keys that pass through to the spec.
        warnings: keys that look like typing errors.
    """

    model: str | None
    name: str | None = None
    state: str | None = None
    cards: int | None = None
    pinned_cards: tuple[int, ...] | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    card_memory_gb: float | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    ranks: Ranks = field(default_factory=Ranks)
    kind: str | None = None
    huggingface: str | None = None
    modelscope: str | None = None
    recipe: str | None = None
    share: bool | None = None
    cluster: Cluster = Cluster()
    extra: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def args(self) -> Mapping[str, Any]:
        """The engine's options, without the number of data-parallel ranks."""
        return self.ranks.args

    @property
    def spans(self) -> int:
        """The number of hosts that the service runs on."""
        return max(len(self.cluster.hosts), 1)

    def names(self, model: str) -> tuple[str, ...]:
        """Of the model, as the tables have it first, and as it and its weights are asked for."""
        ids = (self.huggingface, self.modelscope, self.model)
        asked = [each.rstrip("/") for each in ids if each]
        return (model, *asked, *(each.rsplit("/", 1)[-1] for each in asked))

    @classmethod
    def parse(cls, value: object) -> Request:
        """A request from a model's name or a mapping.

        Of a request with the state `absent` only model, name and state are read.

        Raises AscendError: it names no model, or a value is malformed.
        """
        given = _mapping(value)
        model, name, state = given.get("model"), given.get("name"), given.get("state")
        who = model.strip() if isinstance(model, str) else str(name)
        if state == "absent":
            return cls(model, name, "absent")
        unread = (unread_key(key, who) for key in given if key not in REQUEST_KEYS)
        cards, pinned = _cards(given.get("cards"), who)
        size = _optional(given, "data_parallel_size", who, _size)
        cluster = Cluster.parse(given.get("cluster"), given.get("engine"), who)
        kind = given.get("kind")
        if kind is not None and kind not in KINDS:
            raise AscendError(
                f"kind of {who} is {shown(kind)}, which is none of {', '.join(KINDS)}."
            )
        return cls(
            model=model,
            name=name,
            state=state,
            cards=cards,
            pinned_cards=pinned,
            max_model_len=_optional(given, "max_model_len", who, parse_length),
            gpu_memory_utilization=_optional(
                given, "gpu_memory_utilization", who, parse_utilization
            ),
            card_memory_gb=_optional(given, "card_memory_gb", who, parse_card_memory),
            tensor_parallel_size=_optional(given, "tensor_parallel_size", who, _size),
            pipeline_parallel_size=_optional(given, "pipeline_parallel_size", who, _size),
            ranks=Ranks.parse(size, _args(given.get("args"), who), cluster, who),
            kind=kind,
            huggingface=_optional(given, "huggingface", who, _hub_id),
            modelscope=_optional(given, "modelscope", who, _hub_id),
            recipe=_optional(given, "recipe", who, _recipe),
            share=_optional(given, "share", who, parse_share),
            cluster=cluster,
            extra={key: item for key, item in given.items() if key not in RESOLVED_KEYS},
            warnings=tuple(warning for warning in unread if warning),
        )


def copied(value: Any) -> Any:
    """A deep copy in plain lists and dictionaries; the leaves are the same objects."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(item) for item in value]
    return value


def _mapping(request: object) -> dict[str, Any]:
    """A request as a mapping whose `model` and `name` are texts, or only `name` if it is absent."""
    if isinstance(request, str):
        if not request.strip():
            raise AscendError(f"A request is an empty text. {_WAYS}")
        return {"model": request.strip()}
    if not isinstance(request, Mapping):
        what = kind_of(request) if isinstance(request, (list, tuple)) else shown(request)
        raise AscendError(f"A request is {what}, which names no model. {_WAYS}")
    given: dict[str, Any] = copied(request)
    for key in given:
        if not isinstance(key, str):
            raise AscendError(f"A request has the key {shown(key)}, which is not text. {_WAYS}")
    name = given.get("name")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise AscendError(
            f"A request has the name {shown(name)}, which is not a valid name of a service. Write a"
            " text, or leave it out: the model's name is the default."
        )
    model = given.get("model")
    if model is None and given.get("state") == "absent" and name:
        return given
    if not isinstance(model, str) or not model.strip():
        problem = (
            f"names the model {shown(model)}, which is not a valid name"
            if model
            else "names no model"
        )
        # Its keys, not its values: an API key may be among them.
        who = f"The request {shown(name)}" if name else "A request"
        keys = f" (its keys are {', '.join(sorted(given))})" if given else ""
        raise AscendError(f"{who} {problem}{keys}. {_WAYS}")
    if model.strip() == "*":
        raise AscendError(
            "A request names the model *, which is valid only alone, as a term of the lookup: every"
            " row for the memory. Write it as a text, or name one model."
        )
    return given


def unread_key(key: str, model: str) -> str | None:
    """What to warn of a key that nothing reads, if it looks like a typing error.

    Raises AscendError: it is a known key in another spelling, or an option of vLLM.
    """
    bare = {re.sub("[^a-z0-9]", "", known): known for known in REQUEST_KEYS}
    known = bare.get(re.sub("[^a-z0-9]", "", key.lower()))
    if known:
        raise AscendError(
            f"The request for {model} has the key {shown(key)}, which nothing reads. Write {known}."
        )
    # Only a request with an odd key reads the option lists.
    if is_option(key):
        raise AscendError(
            f"The request for {model} has the key {shown(key)}, which is an option of vLLM. Write it"
            f" into args: {{{dashed(key)}: ...}}."
        )
    close = difflib.get_close_matches(key.lower(), sorted(REQUEST_KEYS), n=1, cutoff=0.75)
    return f"nothing here reads the key {shown(key)}; is {close[0]} meant?" if close else None


def parse_length(value: object, name: str = "max_model_len") -> int:
    """Tokens of a length: an integer, or a text such as ``16384``, ``16K``, ``0.5K``, ``1M``.

    K is 1024 tokens and M is 1024 K, as in the published table and in vLLM. The small letters are
    rejected: vLLM reads ``16k`` as 16000.

    Raises AscendError: anything else.
    """
    ways = "Write whole tokens (16384), or K or M of 1024 (16K, 0.5K, 1M)."
    fault = AscendError(f"{name} is {shown(value)}, which is not a valid length. {ways}")
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 < value < 10**12:
            raise fault
        return int(value)
    if not isinstance(value, str):
        raise fault
    text = value.strip()
    if re.fullmatch(r"[0-9.]+[km]", text, re.ASCII):
        raise AscendError(
            f"{name} is {shown(text)}: to vLLM a small {text[-1]} is a power of 1000, to the"
            f" published table K is 1024. Write {text[:-1]}{text[-1].upper()}, or whole tokens."
        )
    match = _LENGTH.fullmatch(text)
    if not match:
        raise fault
    digits, fraction, unit = match.groups("")
    if fraction and not unit:
        raise fault
    tokens, rest = divmod(int(digits + fraction) * _UNITS[unit], int(f"1{'0' * len(fraction)}"))
    if rest:
        raise AscendError(f"{name} is {shown(text)}, which is a fraction of a token. {ways}")
    if not tokens:
        raise fault
    return tokens


def _integer(value: object) -> int | None:
    """An integer of 0 to 10**9, also from a text of digits; otherwise ``None``."""
    number = whole_number(value)
    return number if number is not None and 0 <= number < 10**9 else None


def _decimal(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return float(value) if abs(value) < 10**9 else None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        return float(value)
    return None


def parse_utilization(value: object, name: str = "gpu_memory_utilization") -> float:
    """A share of the device's memory, above 0 and at most 1.

    Raises AscendError: anything else.
    """
    number = _decimal(value)
    if number is None or not 0 < number <= 1:
        raise AscendError(
            f"{name} is {shown(value)}; it is a share of the card's memory, above 0 and at most 1."
            " Write for example 0.95."
        )
    return number


def parse_card_memory(value: object, name: str = "card_memory_gb") -> float:
    """Nominal memory of one device in GB, above 0.

    Raises AscendError: anything else.
    """
    number = _decimal(value)
    if number is None or number <= 0:
        raise AscendError(
            f"{name} is {shown(value)}; it is the nominal memory of one card in GB."
            " Write for example 64."
        )
    return number


def parse_share(value: object, name: str = "share") -> bool:
    """Raises AscendError: it is neither true nor false."""
    if not isinstance(value, bool):
        raise AscendError(f"{name} is {shown(value)}; write true or false.")
    return value


def _size(value: object, name: str) -> int:
    size = _integer(value)
    if not size or size > _MOST_CARDS:
        raise AscendError(f"{name} is {shown(value)}; it is an integer of 1 to {_MOST_CARDS}.")
    return size


def _hub_id(value: object, name: str) -> str:
    if not isinstance(value, str) or re.search(r"\s", value):
        raise AscendError(f"{name} is {shown(value)}; it is an id such as Qwen/Qwen3-14B.")
    return value


def _recipe(value: object, name: str) -> str:
    if value not in PURPOSES:
        raise AscendError(f"{name} is {shown(value)}, which is none of {', '.join(PURPOSES)}.")
    return str(value)


def _optional(given: Mapping[str, Any], key: str, who: str, parse: Any) -> Any:
    value = given.get(key)
    return None if value is None else parse(value, f"{key} of {who}")


def _cards(value: object, model: str) -> tuple[int | None, tuple[int, ...] | None]:
    """The number of cards and, if they were named, the cards themselves."""
    if value is None:
        return None, None
    if isinstance(value, (list, tuple)):
        ids = [_integer(item) for item in value]
        if not ids or None in ids or len(set(ids)) != len(ids):
            raise AscendError(
                f"cards of {model} is {shown(value)}; a list of cards contains each card's number"
                " once, counted from 0. Write for example [4, 5], or a number of cards."
            )
        return len(ids), tuple(card for card in ids if card is not None)
    number = _integer(value)
    if not number or number > _MOST_CARDS:
        raise AscendError(
            f"cards of {model} is {shown(value)}; it is a number of cards, 1 to {_MOST_CARDS}, or a list"
            " of the cards themselves. Write for example 2, or [4, 5]."
        )
    return number, None


def _args(args: object, model: str) -> Mapping[str, Any]:
    if args is None:
        return {}
    if not isinstance(args, dict):
        raise AscendError(
            f"args of {model} is {shown(args)}; it is a mapping of vLLM's options."
            " Write for example {enable-prefix-caching: true}."
        )
    for key in args:
        if not isinstance(key, str):
            raise AscendError(
                f"args of {model} has the key {shown(key)}, which is not text. Write the names of"
                " vLLM's options."
            )
        instead = _KEYS_OF_OPTIONS.get(dashed(key))
        if instead:
            raise AscendError(
                f"args of {model} sets {key}, which the tables limit. Write {instead} beside args,"
                " as a key of the request."
            )
    return args
