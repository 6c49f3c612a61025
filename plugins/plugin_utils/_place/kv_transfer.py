# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`kv-transfer-config` in a service's args, by which one service prefills and another decodes.

Its keys are those of vLLM's KVTransferConfig (vllm/config/kv_transfer.py). What vllm-ascend's
connectors want of them is in vllm_ascend/distributed, read in 0.11.0, 0.13.0, 0.18.0 and 0.23.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json

from .._base.errors import AscendError
from .._base.values import whole_number

OPTION = "kv-transfer-config"
ROLES = ("kv_producer", "kv_consumer", "kv_both")
# These send from engine to engine; each rank of a service listens on kv_port plus its number.
_BETWEEN_ENGINES = (
    "MooncakeConnectorV1",
    "MooncakeHybridConnector",
    "MooncakeLayerwiseConnector",
    "SfaRemoteD2HConnector",
)
# These do not start without the sizes of both sides, and only with a prefill tensor parallel size
# of at least that of decode (MooncakeConnectorWorker.__init__, _get_prefill_decode_size).
_SIZED = ("MooncakeConnectorV1", "MooncakeHybridConnector")
_SIDES = {"kv_producer": "prefill", "kv_consumer": "decode"}
_PORT_MIN, _PORT_MAX = 1024, 65535


@dataclass(frozen=True)
class KvTransfer:
    """How a service passes its KV cache on.

    Attributes:
        port: kv_port, if it is written. engine_id: likewise.
        sizes: what kv_connector_extra_config says of prefill and decode.
        first_rank: of the service. It is not 0 for one of several that share a data-parallel size.
    """

    service: str
    model: str
    connector: str
    role: str
    port: int | None = None
    engine_id: str | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)
    first_rank: int = 0

    @property
    def listens(self) -> bool:
        """Whether it has ports of its own, from kv_port on."""
        return self.port is not None or self.connector in _BETWEEN_ENGINES

    @property
    def uses_mooncake(self) -> bool:
        """Whether Mooncake takes more ports, as it chooses itself."""
        return self.connector.startswith("Mooncake")

    @classmethod
    def parse(cls, spec: Mapping[str, Any], service: str) -> KvTransfer | None:
        """None for a service whose args have no such option, or one that the engine does not read.

        Raises AscendError for what the engine would fail on, only later and in other words.
        """
        config = _config(spec.get("args"))
        if not config:
            return None
        who = f"service {service}, args, {OPTION}"
        role = _role(config, who)
        peer = _between_engines(config)
        port = _port(peer.get("kv_port"), who)
        extra = peer.get("kv_connector_extra_config") or {}
        sizes = {
            side: extra[side]
            for side in _SIDES.values()
            if isinstance(extra, Mapping) and extra.get(side) is not None
        }
        engine_id = peer.get("engine_id", config.get("engine_id"))
        found = cls(
            service,
            str(spec.get("model")),
            str(peer.get("kv_connector")),
            role if peer is config else _role(peer, who),
            port,
            None if engine_id is None else str(engine_id),
            sizes,
            first_rank(spec),
        )
        _check_sizes(found, spec, who)
        return found


def first_rank(spec: Mapping[str, Any]) -> int:
    """How many ranks of the same data-parallel size come before this service's own, elsewhere.

    A rank listens on kv_port + data-parallel rank x tensor x pipeline parallel size + its number.
    """
    args = spec.get("args") or {}
    named = {str(key).replace("_", "-"): value for key, value in args.items()}
    before = 0
    for name in ("data-parallel-rank", "data-parallel-start-rank"):
        before = before or whole_number(named.get(name)) or 0
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        before *= whole_number(spec.get(name)) or 1
    return before * (whole_number(named.get("prefill-context-parallel-size")) or 1)


def with_port(text: str, spec: Mapping[str, Any]) -> str:
    """The option's JSON text, with a kv_port where it names none.

    text: as `KvTransfer.parse` accepted it. spec: the placed service, with kv_ports.
    """
    config = parse_json(text)
    peer = _between_engines(config)
    if peer.get("kv_port") is None:
        peer["kv_port"] = int(spec["kv_ports"][0]) - first_rank(spec)
    return json.dumps(config, separators=(",", ":"), sort_keys=True)


def check_pairs(transfers: Sequence[KvTransfer]) -> None:
    """Raises AscendError where services of a host cannot exchange their KV caches."""
    for one, other in combinations(transfers, 2):
        both = f"services {one.service} and {other.service}"
        if one.engine_id is not None and one.engine_id == other.engine_id:
            raise AscendError(
                f"{both} both have engine_id {one.engine_id!r} in {OPTION}, and an engine refuses one"
                " that has its id. Give each another, or leave it out: vLLM then makes one."
            )
        if one.model != other.model or {one.role, other.role} != set(_SIDES):
            continue
        if not (one.listens and other.listens):
            continue
        if one.connector != other.connector:
            raise AscendError(
                f"{both} are producer and consumer of {one.model}, and {one.service} has the"
                f" kv_connector {one.connector}, {other.service} has {other.connector}. Both need the"
                " same."
            )
        for side in _SIDES.values():
            mine, theirs = one.sizes.get(side), other.sizes.get(side)
            if mine != theirs and mine is not None and theirs is not None:
                raise AscendError(
                    f"{both} are producer and consumer of {one.model}, and their"
                    f" kv_connector_extra_config differs: {side} is {mine} in {one.service} and"
                    f" {theirs} in {other.service}. Write the sizes that the {side} side really has,"
                    " equal in both."
                )


def _config(args: object) -> dict[str, Any] | None:
    for key, value in args.items() if isinstance(args, Mapping) else ():
        if str(key).replace("_", "-") == OPTION:
            if isinstance(value, str):
                with suppress(ValueError):
                    value = parse_json(value)
            return dict(value) if isinstance(value, Mapping) else None
    return None


def _role(config: Mapping[str, Any], who: str) -> str:
    role, connector = config.get("kv_role"), config.get("kv_connector")
    if not isinstance(connector, str) or not connector:
        raise AscendError(f"{who} names no kv_connector, such as MooncakeConnectorV1.")
    if role not in ROLES:
        what = "is missing" if role is None else f"is {role!r}"
        raise AscendError(f"{who}: kv_role of {connector} {what}; write one of {', '.join(ROLES)}.")
    return str(role)


def _between_engines(config: dict[str, Any]) -> dict[str, Any]:
    """The part that is about another engine: the option itself, or one of several connectors."""
    extra = config.get("kv_connector_extra_config")
    several = extra.get("connectors") if isinstance(extra, dict) else None
    if config.get("kv_connector") == "MultiConnector" and isinstance(several, list):
        for each in several:
            if isinstance(each, dict) and each.get("kv_connector") in _BETWEEN_ENGINES:
                return each
    return config


def _port(value: object, who: str) -> int | None:
    if value is None:
        return None
    port = whole_number(value)
    if port is None or not _PORT_MIN <= port <= _PORT_MAX:
        raise AscendError(
            f"{who}: kv_port is {value!r}; a port of {_PORT_MIN} to {_PORT_MAX} is needed, or leave"
            " it out."
        )
    return port


def _check_sizes(found: KvTransfer, spec: Mapping[str, Any], who: str) -> None:
    numbers: dict[str, int] = {}
    for side in _SIDES.values():
        size = found.sizes.get(side)
        for name in ("tp_size", "dp_size"):
            number = whole_number(size.get(name)) if isinstance(size, Mapping) else None
            if found.connector in _SIZED and not number:
                raise AscendError(
                    f"{who}: {found.connector} needs kv_connector_extra_config: {{prefill: {{dp_size:"
                    f" N, tp_size: N}}, decode: {{dp_size: N, tp_size: N}}}}; {name} of {side} is"
                    " missing or is not a number from 1."
                )
            if number:
                numbers[f"{side} {name}"] = number
    mine = _SIDES.get(found.role, "")
    wanted = numbers.get(f"{mine} tp_size")
    real = whole_number(spec.get("tensor_parallel_size"))
    if wanted and real and wanted != real:
        raise AscendError(
            f"{who}: the service is {found.role} and has the tensor parallel size {real}, and tp_size"
            f" of {mine} is {wanted}. Write tp_size: {real}, or tensor_parallel_size: {wanted} in the"
            " request."
        )
    if found.connector in _SIZED and numbers["prefill tp_size"] < numbers["decode tp_size"]:
        raise AscendError(
            f"{who}: tp_size of prefill is {numbers['prefill tp_size']}, less than that of decode,"
            f" {numbers['decode tp_size']}, which {found.connector} does not support. Give prefill as"
            " many, or decode fewer."
        )
