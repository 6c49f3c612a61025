# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A request, resolved against the tables: what the lookup ``inferops.ascend.model`` returns."""

from __future__ import annotations

import difflib
import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of, shown
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    Device,
    estimate,
    tensor_parallel_fault,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import (
    dashed,
    is_option,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.tables import (
    Catalogue,
    Facts,
    Match,
    Row,
    load_profiles,
    profile,
)

KINDS = ("generate", "multimodal", "embed", "rerank")
DEFAULT_CARD_MEMORY_GB = 64.0
# The engine's default up to vLLM 0.18.0; an estimate has no row that would say more.
ESTIMATE_UTILIZATION = 0.9

# The engine's options that follow from the request's own keys, and the key for each.
_KEYS_OF_OPTIONS = {
    "max-model-len": "max_model_len",
    "gpu-memory-utilization": "gpu_memory_utilization",
    "tensor-parallel-size": "tensor_parallel_size",
    "pipeline-parallel-size": "pipeline_parallel_size",
}
_LENGTH = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?([KM]?)", re.ASCII)
_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,18})?", re.ASCII)


@dataclass(frozen=True)
class Options:
    """The lookup's options.

    Attributes:
        card_memory_gb: nominal memory of one device, unless the request says otherwise.
        gpu_memory_utilization: in (0, 1], unless the request says otherwise; ``None``: the row's.
        estimate: estimate where no table has a row for this memory.
        allow_untested: turn the tables' limits into warnings.
        profile: a hardware profile, which makes an estimate sharper.
    """

    card_memory_gb: object = DEFAULT_CARD_MEMORY_GB
    gpu_memory_utilization: object = None
    estimate: bool = False
    allow_untested: bool = False
    profile: str | None = None


# What a request may hold and something reads: here, the placement, the role, the plan of a fleet.
# A resolved spec is a request too, so what it adds is among them. Other keys pass through.
REQUEST_KEYS = frozenset(
    [
        "model",
        "name",
        "cards",
        "port",
        "max_model_len",
        "gpu_memory_utilization",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "served_model_name",
        "path",
        "args",
        "env",
        "api_key",
        "secret_env",
        "weights",
        "state",
        "card_memory_gb",
        "kind",
        "pinned_cards",
        "native_context",
        "huggingface",
        "modelscope",
        "min_cards",
        "warnings",
        "provenance",
        "devices",
        "hccl_ports",
        "replicas",
        "hosts",
        "spread",
        "priority",
        "cluster",
    ]
)


# -- values ----------------------------------------------------------------------------------------


def copied(value: Any) -> Any:
    """A deep copy in lists and dictionaries of Python's own; the leaves are the caller's own objects."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(item) for item in value]
    return value


def parse_length(value: object, name: str = "max_model_len") -> int:
    """Tokens of a length: a whole number, or a text such as ``16384``, ``16K``, ``0.5K``, ``1M``.

    K is 1024 tokens and M is 1024 K, as in the published table and in vLLM. The small letters are
    refused: vLLM reads ``16k`` as 16000.

    Raises:
        AscendError: anything else.
    """
    ways = "Write whole tokens (16384), or K or M of 1024 (16K, 0.5K, 1M)."
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 < value < 10**12:
            raise AscendError(f"{name} is {shown(value)}, which is no length. {ways}")
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"[0-9.]+[km]", text, re.ASCII):
            raise AscendError(
                f"{name} is {shown(text)}: to vLLM a small {text[-1]} is a power of 1000, to the"
                f" published table K is 1024. Write {text[:-1]}{text[-1].upper()}, or whole tokens."
            )
        match = _LENGTH.fullmatch(text)
        if match:
            whole, fraction, unit = match.groups()
            if fraction is not None and not unit:
                match = None
            else:
                scale = int("1" + "0" * len(fraction or ""))
                tokens, rest = divmod(int(whole + (fraction or "")) * _UNITS[unit], scale)
                if rest:
                    raise AscendError(
                        f"{name} is {shown(text)}, which is no whole number of tokens. {ways}"
                    )
                if tokens > 0:
                    return tokens
    raise AscendError(f"{name} is {shown(value)}, which is no length. {ways}")


def _whole(value: object) -> int | None:
    """A whole number of at least 0, also from a text of digits; otherwise ``None``."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value) if 0 <= value < 10**9 else None
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    return None


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

    Raises:
        AscendError: anything else.
    """
    number = _decimal(value)
    if number is None or not 0 < number <= 1:
        raise AscendError(
            f"{name} is {shown(value)}; it is a share of the card's memory, above 0 and at most 1."
            " Write for example 0.95."
        )
    return number


def parse_card_memory(value: object) -> float:
    """Nominal memory of one device in GB, above 0.

    Raises:
        AscendError: anything else.
    """
    number = _decimal(value)
    if number is None or number <= 0:
        raise AscendError(
            f"card_memory_gb is {shown(value)}; it is the nominal memory of one card in GB."
            " Write for example 64."
        )
    return number


def _cards(value: object, model: str) -> tuple[int | None, list[int] | None]:
    """The number of cards and, if they were named, the cards themselves."""
    if value is None:
        return None, None
    if isinstance(value, (list, tuple)):
        ids = [_whole(item) for item in value]
        if not ids or None in ids or len(set(ids)) != len(ids):
            raise AscendError(
                f"cards of {model} is {shown(value)}; a list of cards holds each card's number"
                " once, counted from 0. Write for example [4, 5], or a number of cards."
            )
        return len(ids), [card for card in ids if card is not None]
    number = _whole(value)
    if not number:
        raise AscendError(
            f"cards of {model} is {shown(value)}; it is a number of cards, at least 1, or a list"
            " of the cards themselves. Write for example 2, or [4, 5]."
        )
    return number, None


def _cluster_hosts(value: object, model: str) -> int:
    """Over how many hosts the service spans by its key ``cluster``, which the plan writes."""
    if value is None:
        return 1
    hosts = value.get("hosts") if isinstance(value, Mapping) else None
    names = list(hosts) if isinstance(hosts, (list, tuple)) else []
    rank = _whole(value.get("rank")) if isinstance(value, Mapping) else None
    if (
        not isinstance(value, Mapping)
        or len(names) < 2
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) != len(names)
        or value.get("leader") not in names
        or rank is None
        or rank >= len(names)
    ):
        raise AscendError(
            f"cluster of {model} is {shown(value)}; it names the hosts that the service spans, at"
            " least two, with the leader among them and this host's rank from 0, as the playbook"
            " plan writes it: {leader: npu-01, rank: 0, hosts: [npu-01, npu-02]}."
        )
    return len(names)


def _size(request: Mapping[str, Any], key: str, model: str) -> int | None:
    if request.get(key) is None:
        return None
    size = _whole(request[key])
    if not size:
        raise AscendError(
            f"{key} of {model} is {shown(request[key])}; it is a whole number, at least 1."
        )
    return size


# -- requests --------------------------------------------------------------------------------------


def resolve_terms(
    terms: Sequence[object], catalogue: Catalogue, options: Options
) -> list[dict[str, Any]]:
    """The specs of several terms, in order.

    A term is a name, a request, a list of those (flattened one level), or ``*``, which stands for
    every row for the memory.

    Raises:
        AscendError: a term cannot be resolved.
    """
    flat: list[object] = []
    for term in terms:
        flat.extend(term if isinstance(term, (list, tuple)) else [term])
    specs: list[dict[str, Any]] = []
    for term in flat:
        if isinstance(term, str) and term.strip() == "*":
            memory = parse_card_memory(options.card_memory_gb)
            rows = list(catalogue.every_row(memory))
            if not rows:
                raise AscendError(
                    f"No table speaks of cards of {memory:g} GB, so that * stands for nothing. The"
                    f" tables speak of {_memories(catalogue.memories())}."
                )
            specs.extend(resolve(row.model, catalogue, options) for row in rows)
        else:
            specs.append(resolve(term, catalogue, options))
    return specs


def resolve(request: object, catalogue: Catalogue, options: Options) -> dict[str, Any]:
    """The spec of one request.

    Args:
        request: a model's name or hub id, or a mapping with ``model`` and what else is wished.

    Returns:
        The keys of the request, and over them what the table gives: name, model, kind, cards,
        pinned_cards (if cards were named), tensor_parallel_size, pipeline_parallel_size,
        max_model_len (tokens), gpu_memory_utilization, native_context (tokens), huggingface,
        modelscope, min_cards, card_memory_gb, warnings, args, provenance. A request whose state is
        ``absent`` gives name, model, state and cards (0) alone. With ``cluster``, which the plan
        writes, cards are those on this host, and the sizes multiply to the cards of all its hosts.

    Raises:
        AscendError: the request is malformed, or beyond what the tables allow.
    """
    wish = _request(request)
    if wish.get("state") == "absent":
        return _absent(wish, catalogue)
    match = _find(wish["model"], catalogue)
    return _Resolution(wish, match, catalogue, options).spec()


def _request(request: object) -> dict[str, Any]:
    ways = "Write a model's name, or a mapping such as {model: Qwen3-14B, cards: 2}."
    if isinstance(request, str):
        if not request.strip():
            raise AscendError(f"A request is an empty text. {ways}")
        return {"model": request.strip()}
    if not isinstance(request, Mapping):
        what = kind_of(request) if isinstance(request, (list, tuple)) else shown(request)
        raise AscendError(f"A request is {what}, which names no model. {ways}")
    wish: dict[str, Any] = copied(request)
    for key in wish:
        if not isinstance(key, str):
            raise AscendError(f"A request has the key {shown(key)}, which is no text. {ways}")
    name = wish.get("name")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise AscendError(
            f"A request has the name {shown(name)}, which is no name for a service. Write a text,"
            " or leave it out: the model's name is the default."
        )
    model = wish.get("model")
    if model is None and wish.get("state") == "absent" and name:
        return wish
    if not isinstance(model, str) or not model.strip():
        problem = f"names the model {shown(model)}, which is no name" if model else "names no model"
        # Its keys, not its values: a key of the API may be among them.
        who = f"The request {shown(name)}" if name else "A request"
        keys = f" (its keys are {', '.join(sorted(wish))})" if wish else ""
        raise AscendError(f"{who} {problem}{keys}. {ways}")
    if model.strip() == "*":
        raise AscendError(
            "A request names the model *, which only stands alone, as a term of the lookup: every"
            " row for the memory. Write it as a text, or name one model."
        )
    return wish


def unread_key(key: str, model: str) -> str | None:
    """What to say of a key that nothing reads, where it looks like a slip of the pen.

    Raises:
        AscendError: it is a known key in another spelling, or an option of vLLM.
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
    close = difflib.get_close_matches(key.lower(), REQUEST_KEYS, n=1, cutoff=0.75)
    return f"nothing here reads the key {shown(key)}; is {close[0]} meant?" if close else None


def _absent(wish: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    # The model need not be known any more: what runs must still be removable.
    spec: dict[str, Any] = {}
    model = wish.get("model")
    if model is not None:
        match = catalogue.find(model)
        model = match.model if match else model
    spec["name"] = model if wish.get("name") is None else wish["name"]
    if model is not None:
        spec["model"] = model
    return {**spec, "state": wish["state"], "cards": 0}


def _find(name: str, catalogue: Catalogue) -> Match:
    match = catalogue.find(name)
    if match:
        return match
    names = {known.lower(): known for known in catalogue.names}
    close = difflib.get_close_matches(name.strip().lower(), names, n=4, cutoff=0.6)
    hint = f" The closest are {', '.join(names[key] for key in close)}." if close else ""
    raise AscendError(
        f"No table lists the model {shown(name)}.{hint} A row for a model of your own goes into a"
        " table that ascend_model_tables names."
    )


def _provenance(row: Row) -> dict[str, Any]:
    return {
        "table": row.table,
        "row": row.number,
        "updated": row.updated,
        "basis": row.basis,
    }


def _memories(memories: Iterable[float]) -> str:
    return ", ".join(f"{memory:g}" for memory in memories) + " GB"


def _deep_merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            value = _deep_merge(merged[key], value)
        merged[key] = value
    return merged


def _holds_rope(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return any(
        str(key).startswith("rope_") or key == "max_position_embeddings" or _holds_rope(item)
        for key, item in value.items()
    )


class _Resolution:
    """One request against one model; collects warnings on the way."""

    def __init__(
        self, wish: dict[str, Any], match: Match, catalogue: Catalogue, options: Options
    ) -> None:
        self.wish = wish
        self.match = match
        self.model = match.model
        self.catalogue = catalogue
        self.options = options
        self.facts: Facts = catalogue.facts(match.model)
        unread = (unread_key(key, self.model) for key in wish if key not in REQUEST_KEYS)
        self.warnings = [warning for warning in unread if warning]
        self.memory = parse_card_memory(
            options.card_memory_gb if wish.get("card_memory_gb") is None else wish["card_memory_gb"]
        )
        self.cards, self.pinned = _cards(wish.get("cards"), self.model)
        self.spans = _cluster_hosts(wish.get("cluster"), self.model)
        self.length = (
            None
            if wish.get("max_model_len") is None
            else parse_length(wish["max_model_len"], f"max_model_len of {self.model}")
        )
        self.utilization = self._wished_utilization()
        self.tensor = _size(wish, "tensor_parallel_size", self.model)
        self.pipeline = _size(wish, "pipeline_parallel_size", self.model)
        self._settle_cluster()
        self._settle_wished_parallelism()
        self.args = self._wished_args()

    def _wished_utilization(self) -> float | None:
        if self.wish.get("gpu_memory_utilization") is not None:
            return parse_utilization(
                self.wish["gpu_memory_utilization"], f"gpu_memory_utilization of {self.model}"
            )
        if self.options.gpu_memory_utilization is not None:
            return parse_utilization(self.options.gpu_memory_utilization)
        return None

    def _settle_cluster(self) -> None:
        """Count the cards of all hosts; by default, layers are split within a host."""
        if self.spans == 1:
            return
        if self.cards is None:
            raise AscendError(
                f"{self.model} is to span {self.spans} hosts and does not say how many cards it"
                " takes on this one. Write cards, as the playbook plan does."
            )
        if self.tensor is None and self.pipeline is None:
            self.tensor, self.pipeline = self.cards, self.spans
        self.cards *= self.spans

    def _settle_wished_parallelism(self) -> None:
        tensor, pipeline = self.tensor, self.pipeline
        if self.cards is None:
            if tensor and pipeline:
                self.cards = tensor * pipeline
            return
        if tensor and not pipeline and self.cards % tensor == 0:
            self.pipeline = self.cards // tensor
        elif pipeline and not tensor and self.cards % pipeline == 0:
            self.tensor = self.cards // pipeline
        elif (tensor or pipeline) and (tensor or 1) * (pipeline or 1) != self.cards:
            raise AscendError(
                f"{self.model} is to have {self.cards} cards, tensor_parallel_size"
                f" {tensor or 1} and pipeline_parallel_size {pipeline or 1}; the product of the two"
                f" sizes is the number of cards. Leave the sizes out for tensor_parallel_size"
                f" {self.cards}, or make the product {self.cards}."
            )

    def _whole_groups(self, minimum: int) -> int:
        """The least number of cards from ``minimum`` on that the one size wished for divides."""
        group = self.tensor or self.pipeline or 1
        return -(-minimum // group) * group

    def _wished_args(self) -> dict[str, Any]:
        args = self.wish.get("args")
        if args is None:
            return {}
        if not isinstance(args, dict):
            raise AscendError(
                f"args of {self.model} is {shown(args)}; it is a mapping of vLLM's options."
                " Write for example {enable-prefix-caching: true}."
            )
        for key in args:
            own = _KEYS_OF_OPTIONS.get(dashed(key)) if isinstance(key, str) else None
            if not isinstance(key, str) or own:
                if own:
                    raise AscendError(
                        f"args of {self.model} sets {key}, which the tables limit. Write {own}"
                        " beside args, as a key of the request."
                    )
                raise AscendError(
                    f"args of {self.model} has the key {shown(key)}, which is no text. Write the"
                    " names of vLLM's options."
                )
        return args

    # -- the row ------------------------------------------------------------------------------

    def spec(self) -> dict[str, Any]:
        rows = self.catalogue.rows(self.model)
        here = [row for row in rows if row.card_memory_gb == self.memory]
        if here:
            return self._by_row(here[0], here[1:])
        if self.options.estimate:
            return self._by_estimate()
        supported = [row for row in rows if row.supported]
        if self.options.allow_untested and supported:
            return self._by_other_memory(supported)
        listed = sorted({row.card_memory_gb for row in supported})
        instead = (
            f"the tables list it for {_memories(listed)}" if listed else "the tables do not list it"
        )
        raise AscendError(
            f"No table speaks of {self.model} on cards of {self.memory:g} GB; {instead}. Add a row"
            " of your own (ascend_model_tables), set estimate for an estimate from the model's"
            " size, or set allow_untested to take the nearest row."
        )

    def _by_other_memory(self, rows: Sequence[Row]) -> dict[str, Any]:
        smaller = [row for row in rows if row.card_memory_gb < self.memory]
        nearest = (
            max(row.card_memory_gb for row in smaller)
            if smaller
            else min(row.card_memory_gb for row in rows)
        )
        row = next(row for row in rows if row.card_memory_gb == nearest)
        self.warnings.append(
            f"untested: no table speaks of {self.model} on cards of {self.memory:g} GB; its row for"
            f" {nearest:g} GB ({self._source(row)}) is used instead"
        )
        return self._by_row(row, [])

    def _by_row(self, row: Row, later: Sequence[Row]) -> dict[str, Any]:
        if row.min_cards is None or row.max_model_len is None:
            return self._unsupported(row, later)
        if self.utilization is not None and self.utilization < row.gpu_memory_utilization:
            self._limit(
                f"gpu_memory_utilization of {self.model} is {self.utilization:g}; its row"
                f" ({self._source(row)}) holds at {row.gpu_memory_utilization:g} and above",
                f"Set gpu_memory_utilization to {row.gpu_memory_utilization:g} or leave it out",
                row,
                later,
            )
        if self.cards is not None and self.cards < row.min_cards:
            self._limit(
                f"{self.model} is to have {self._count(self.cards)}; it needs at least"
                f" {row.min_cards} of {row.card_memory_gb:g} GB ({self._source(row)})",
                f"Give it {self._count(row.min_cards)}",
                row,
                later,
            )
        if self.length is not None and self.length > row.max_model_len:
            self._limit(
                f"max_model_len of {self.model} is {self.length}; the longest that was tested is"
                f" {row.max_model_len} ({self._source(row)})",
                f"Set max_model_len to {row.max_model_len} or less",
                row,
                later,
            )
        cards = self._whole_groups(row.min_cards) if self.cards is None else self.cards
        if row.warning and cards == row.min_cards:
            self.warnings.append(f"{row.warning} ({self._source(row)})")
        return self._assemble(
            cards,
            row.max_model_len if self.length is None else self.length,
            row.gpu_memory_utilization if self.utilization is None else self.utilization,
            row.min_cards,
            _provenance(row),
            row.args,
        )

    def _unsupported(self, row: Row, later: Sequence[Row]) -> dict[str, Any]:
        problem = (
            f"{self.model} is not supported on cards of {row.card_memory_gb:g} GB"
            f" ({self._source(row)})"
        )
        others = sorted({r.card_memory_gb for r in self.catalogue.rows(self.model) if r.supported})
        way = (
            f"Use cards of {_memories(others)}"
            if others
            else "Add a row of your own (ascend_model_tables)"
        )
        if not self.options.allow_untested or self.cards is None or self.length is None:
            raise AscendError(
                f"{problem}.{self._instead(row, later)} {way}, or set allow_untested and give both"
                " cards and max_model_len to try it."
            )
        self.warnings.append(f"untested: {problem}")
        utilization = self.utilization
        if utilization is None:
            utilization = row.gpu_memory_utilization
        return self._assemble(
            self.cards, self.length, utilization, None, _provenance(row), row.args
        )

    def _limit(self, problem: str, way: str, row: Row, later: Sequence[Row]) -> None:
        if self.options.allow_untested:
            self.warnings.append(f"untested: {problem}")
            return
        raise AscendError(
            f"{problem}. {way}, or set allow_untested to try it.{self._instead(row, later)}"
        )

    def _instead(self, row: Row, later: Sequence[Row]) -> str:
        """Where a later table has a row that allows the whole wish: which, and how to prefer it."""
        for other in later:
            if other.table == row.table or other.min_cards is None or other.max_model_len is None:
                continue
            if (
                (self.cards is None or self.cards >= other.min_cards)
                and (self.length is None or self.length <= other.max_model_len)
                and (self.utilization is None or self.utilization >= other.gpu_memory_utilization)
            ):
                file = other.file.rsplit("/", 1)[-1]
                return (
                    f" The table {other.table} allows it (row {other.number}:"
                    f" {other.max_model_len} tokens on {self._count(other.min_cards)} at"
                    f" {other.gpu_memory_utilization:g}); to prefer that table, name its file in"
                    f" ascend_model_tables: [{file}]."
                )
        return ""

    @staticmethod
    def _count(cards: int) -> str:
        return "1 card" if cards == 1 else f"{cards} cards"

    def _source(self, row: Row) -> str:
        source = f"table {row.table}, row {row.number}"
        if row.min_cards is None:
            return source
        return (
            f"{source}: {row.max_model_len} tokens on {self._count(row.min_cards)} at utilisation"
            f" {row.gpu_memory_utilization:g}"
        )

    # -- an estimate --------------------------------------------------------------------------

    def _by_estimate(self) -> dict[str, Any]:
        device = self._device()
        utilization = ESTIMATE_UTILIZATION if self.utilization is None else self.utilization
        if device is None:
            raise AscendError(
                f"{self.model} on cards of {self.memory:g} GB cannot be estimated: how much memory"
                " the framework sees of such a card is not known. Add a row of your own"
                " (ascend_model_tables)."
            )
        if self.cards is None and (self.tensor or self.pipeline):
            self.cards = self._whole_groups(1)
        split = None if self.cards is None else self._split(self.cards)
        try:
            figures = estimate(self.facts, device, utilization, split, self.length)
        except AscendError as error:
            raise AscendError(
                f"{self.model} on cards of {self.memory:g} GB cannot be estimated: {error}."
                " Add a row of your own (ascend_model_tables)."
            ) from error
        wished = self.length
        if figures.max_model_len == 0 or (wished is not None and wished > figures.max_model_len):
            problem = (
                f"{self.model} on {self._count(figures.cards)} of {self.memory:g} GB should carry"
                f" {figures.max_model_len} tokens at utilisation {utilization:g} by estimate"
                + ("" if wished is None else f"; max_model_len is {wished}")
            )
            if wished is None or not self.options.allow_untested:
                raise AscendError(
                    f"{problem}. Give it more cards or a shorter max_model_len"
                    + ("." if wished is None else ", or set allow_untested to try it.")
                )
            self.warnings.append(f"untested: {problem}")
        self.warnings.append(
            f"estimated, never run: cards and length of {self.model} on cards of"
            f" {self.memory:g} GB follow from its size and a cautious overhead"
        )
        provenance = {"table": None, "row": None, "updated": None, "basis": "estimated"}
        return self._assemble(
            figures.cards,
            figures.max_model_len if wished is None else wished,
            utilization,
            None if self.cards is not None else figures.cards,
            provenance,
            {},
        )

    def _device(self) -> Device | None:
        profiles = [p for p in load_profiles().values() if p.card_memory_gb == self.memory]
        named = [p for p in profiles if p.name == self.options.profile]
        profiles = named or profiles
        visible = [gib for p in profiles for gib in p.visible_memory_gib]
        if not visible:
            return None
        return Device(min(visible), any(c.startswith("310P") for p in profiles for c in p.chips))

    # -- the rest -----------------------------------------------------------------------------

    def _split(self, cards: int) -> tuple[int, int]:
        """Tensor- and pipeline-parallel size for ``cards``; what the heads forbid stays refused."""
        tensor = self.tensor or cards // (self.pipeline or 1)
        pipeline = self.pipeline or cards // tensor
        fault = tensor_parallel_fault(self.facts, tensor)
        if fault is None:
            return tensor, pipeline
        limit = max(2 * tensor, 8)
        sizes = [n for n in range(1, limit + 1) if tensor_parallel_fault(self.facts, n) is None]
        best = max((n for n in sizes if cards % n == 0), default=1)
        raise AscendError(
            f"{self.model} cannot be split over {tensor} cards: {fault}. The sizes up to {limit}"
            f" that work are {', '.join(map(str, sizes))}: set cards to one of them, or keep"
            f" {self._count(cards)} with tensor_parallel_size {best} and pipeline_parallel_size"
            f" {cards // best}."
        )

    def _assemble(
        self,
        cards: int,
        length: int,
        utilization: float,
        min_cards: int | None,
        provenance: dict[str, Any],
        row_args: Mapping[str, Any],
    ) -> dict[str, Any]:
        tensor, pipeline = self._split(cards)
        if self.facts.warning and not self._user_has("trust-remote-code"):
            self.warnings.append(self.facts.warning)
        needed = _deep_merge(copied(self.facts.args), copied(row_args))
        needed = _deep_merge(needed, self._chip_args())
        rope = self._rope(length, needed)
        args = self._merge_args(_deep_merge(needed, rope))
        kind = self.facts.kind if self.wish.get("kind") is None else self.wish["kind"]
        if kind is None:
            kind = "generate"
        if kind not in KINDS:
            raise AscendError(
                f"kind of {self.model} is {shown(kind)}, which is none of {', '.join(KINDS)}."
            )
        huggingface, modelscope = self._hub_ids()
        spec = dict(self.wish)
        spec.pop("pinned_cards", None)
        spec.update(
            name=self.model if self.wish.get("name") is None else self.wish["name"],
            model=self.model,
            kind=kind,
            cards=cards // self.spans,
            tensor_parallel_size=tensor,
            pipeline_parallel_size=pipeline,
            max_model_len=length,
            gpu_memory_utilization=utilization,
            native_context=self.facts.native_context,
            huggingface=huggingface,
            modelscope=modelscope,
            min_cards=min_cards,
            card_memory_gb=int(self.memory) if self.memory % 1 == 0 else self.memory,
            warnings=self.warnings,
            args=args,
            provenance=provenance,
        )
        if self.pinned is not None:
            spec["pinned_cards"] = self.pinned
        return spec

    def _chip_args(self) -> dict[str, Any]:
        """What the profile's chip needs, where the user did not write as much.

        Raises AscendError where the user wrote what the chip cannot do.
        """
        if self.options.profile is None:
            return {}
        kind = profile(self.options.profile)
        given = {dashed(key): value for key, value in self.args.items()}
        result: dict[str, Any] = {}
        for arg in kind.chip_args:
            start = f"args of {self.model} sets"
            end = f"on {kind.name}: {arg.reason}. Leave it out"
            instead = None
            if arg.unless:
                option, key, values = arg.unless
                parsed = _parsed(given.get(option))
                instead = parsed.get(key) if isinstance(parsed, Mapping) else None
                if instead is not None and str(instead).upper() not in values:
                    raise AscendError(
                        f"{start} {key} of {option} to {shown(instead)} {end}, or write"
                        f" {' or '.join(values)}."
                    )
            negative = f"no-{arg.option}"
            if arg.option in given or negative in given:
                value = given.get(arg.option)
                value = not given[negative] if negative in given else value
                if value not in arg.allowed and instead is None:
                    raise AscendError(
                        f"{start} {arg.option} to {shown(value)} {end}; it is set to"
                        f" {shown(arg.value)}."
                    )
            elif instead is None:
                result[arg.option] = arg.value
        return result

    def _hub_ids(self) -> tuple[object, object]:
        """The ids to fetch: the request's own, else the one asked for and its twin, else the first.

        Several ids of one model are different weights (base and instruct): whoever asks for one by
        its id must not get another.
        """

        def twin(hub_id: str) -> str:
            return hub_id.rsplit("/", 1)[-1].lower().replace("meta-", "")

        picked: list[object] = []
        asked = self.match.hub_id
        for hub, ids in (
            ("huggingface", self.facts.huggingface),
            ("modelscope", self.facts.modelscope),
        ):
            if self.wish.get(hub) is not None:
                picked.append(self.wish[hub])
            elif asked is None:
                picked.append(ids[0] if ids else None)
            else:
                same = [i for i in ids if i == asked] + [i for i in ids if twin(i) == twin(asked)]
                picked.append(same[0] if same else None)
        return picked[0], picked[1]

    def _user_has(self, option: str) -> bool:
        return any(dashed(key) == option for key in self.args)

    def _rope(self, length: int, needed: Mapping[str, Any]) -> dict[str, Any]:
        """What a length above the native context needs; warns of it."""
        native = self.facts.native_context
        if native is None or length <= native or _holds_rope(needed.get("hf-overrides")):
            return {}
        if self._user_has("rope-scaling"):
            return {}
        doubt = " (not verified)" if "native_context" in self.facts.unverified else ""
        above = f"max_model_len {length} is above the native context of {self.model}, {native}"
        above += f"{doubt} tokens"
        if self._user_has("hf-overrides"):
            given = next(v for k, v in self.args.items() if dashed(k) == "hf-overrides")
            if not _holds_rope(_parsed(given)):
                self.warnings.append(
                    f"{above}: the hf-overrides of the request say nothing of rope scaling, and"
                    " nothing is added to them; the engine refuses such a length without it"
                )
            return {}
        yarn = self.facts.yarn
        factor = length / yarn.original_max_position_embeddings if yarn else 0.0
        if yarn and factor <= yarn.max_factor:
            factor = math.ceil(factor * 100) / 100
            parameters = {
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": yarn.original_max_position_embeddings,
                "rope_theta": yarn.rope_theta,
            }
            self.warnings.append(
                f"{above}: it is served with YaRN, factor {factor:g} (hf-overrides, in args), as"
                " the model's documentation describes; the scaling is static and may cost quality"
                f" on short texts, so set max_model_len to {native} if that length suffices"
            )
            # Both names: which one counts depends on the versions, see vars/model_facts.yml.
            return {
                "hf-overrides": {
                    "rope_scaling": parameters,
                    "rope_parameters": dict(parameters),
                }
            }
        documented = (
            f"its documentation gives YaRN up to factor {yarn.max_factor:g} only"
            if yarn
            else "its documentation gives no rope scaling for that"
        )
        llama = " or serve a Llama 3.1 model instead," if self.model.startswith("Llama3-") else ""
        self.warnings.append(
            f"{above}, and {documented}: the engine refuses to start with such a length. Set"
            f" max_model_len to {native},{llama} or give the scaling that your weights were made"
            " for in args (hf-overrides: {rope_scaling: ...}; from vLLM 0.13 on rope_parameters)."
            " Do not lift the check with VLLM_ALLOW_LONG_MAX_MODEL_LEN: past its native context the"
            " model answers nonsense without an error"
        )
        return {}

    def _merge_args(self, needed: Mapping[str, Any]) -> dict[str, Any]:
        """The needed options under the user's; the same option in either spelling is one."""
        wished = {dashed(key) for key in self.args}
        merged = {key: value for key, value in needed.items() if dashed(key) not in wished}
        for key, value in self.args.items():
            under = next((v for k, v in needed.items() if dashed(k) == dashed(key)), None)
            if dashed(key) == "hf-overrides" and isinstance(under, Mapping):
                parsed = _parsed(value)
                if isinstance(parsed, Mapping):
                    value = _deep_merge(under, parsed)
            merged[key] = value
        return merged


def _parsed(value: object) -> object:
    """A mapping that may have been written as JSON, as on vLLM's command line."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def with_profile(options: Options, memory: object, name: str | None) -> Options:
    """Options whose card memory is the one given, else the profile's, else 64 GB.

    Raises:
        AscendError: there is no such profile.
    """
    if memory is not None:
        return replace(options, card_memory_gb=memory, profile=name)
    if name is None:
        return options
    return replace(options, card_memory_gb=profile(name).card_memory_gb, profile=name)
