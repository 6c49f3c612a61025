# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service of a host: as requested, as it is on the host now, and placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .._base.values import kind_of, whole_number
from .._base.words import listed
from .._model.request import parse_share, parse_utilization
from .._model.spec import Spec
from .host_cards import card_ids
from .kv_transfer import KvTransfer
from .names import service_name
from .ports import parse_port

STATES = ("started", "stopped", "absent")


@dataclass(frozen=True)
class ServiceRequest:
    """What a spec asks of the placement.

    count: cards on this host. pinned: cards asked for by number, sorted. hosts: how many it has.
    share: whether it may have its cards together with others; None: where it names the same cards.
    utilization: its part of the memory of each card, 1 if the spec does not say.
    """

    name: str
    state: str
    count: int = 0
    pinned: tuple[int, ...] | None = None
    port: int | None = None
    kv_transfer: KvTransfer | None = None
    hosts: int = 1
    share: bool | None = None
    utilization: float = 1.0

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> ServiceRequest:
        """spec: what the lookup returns, or `place`. Raises AscendError."""
        name = service_name(spec)
        state = spec.get("state", "started")
        if state not in STATES:
            raise AscendError(
                f"service {name}: state {state!r} is unknown, write one of {', '.join(STATES)}."
            )
        if state == "absent":
            return cls(name, state)
        count, pinned = _cards(name, spec)
        port, share = spec.get("port"), spec.get("share")
        part = spec.get("gpu_memory_utilization") or None
        if share and part is None:
            raise AscendError(
                f"service {name} has share: true and no gpu_memory_utilization, its part of the memory"
                " of each card. Write it, such as 0.3."
            )
        return cls(
            name,
            state,
            count,
            pinned,
            None if port is None else parse_port(port, name),
            KvTransfer.parse(spec, name),
            len((spec.get("cluster") or {}).get("hosts") or (name,)),
            None if share is None else parse_share(share, f"service {name}, share"),
            1.0 if part is None else parse_utilization(part, f"service {name}, utilization"),
        )


def _cards(name: str, spec: Mapping[str, Any]) -> tuple[int, tuple[int, ...] | None]:
    """(how many, which if they are pinned)."""
    cards, pinned = spec.get("cards"), spec.get("pinned_cards")
    if isinstance(cards, (list, tuple)):  # placed before, or as a request writes it
        cards, pinned = len(cards), cards
    if cards is None:
        raise AscendError(
            f"service {name} does not state how many cards it takes. Pass what the lookup"
            " inferops.ascend.model returns."
        )
    count = whole_number(cards)
    if count is None or count < 1:
        raise AscendError(
            f"service {name}: cards is {cards!r}; a number of cards from 1, or a list of card ids,"
            " is needed."
        )
    if pinned is None:
        return count, None
    ids = sorted(card_ids(pinned, f"service {name}, cards"))
    twice = sorted({card for card in ids if ids.count(card) > 1})
    if twice:
        raise AscendError(f"service {name} names card {listed(twice)} twice.")
    if len(ids) != count:
        raise AscendError(
            f"service {name} takes {count} cards and names {len(ids)}: {listed(ids)}. Name"
            f" {count}, or leave the list out."
        )
    return count, tuple(ids)


@dataclass(frozen=True)
class ExistingPlacement:
    """Where a service is on the host now. running: its process is on these cards.

    hccl_port: the first of its HCCL ports.
    """

    cards: tuple[int, ...]
    port: int | None = None
    running: bool = False
    hccl_port: int | None = None

    def as_dict(self) -> dict[str, Any]:
        known = {"cards": list(self.cards), "port": self.port, "runs": self.running}
        return known if self.hccl_port is None else {**known, "hccl_port": self.hccl_port}


def existing_placements(value: object) -> dict[str, ExistingPlacement]:
    """Read {name: {cards: [logic ids], port: N, runs: bool}}. Raises AscendError."""
    if not isinstance(value, Mapping):
        raise AscendError(
            f"standing: a mapping of service names to cards and ports is needed, not"
            f" {kind_of(value)}."
        )
    existing = {}
    for name, now in value.items():
        if not isinstance(now, Mapping):
            raise AscendError(
                f"standing, service {name}: a mapping with cards and port is needed, not"
                f" {kind_of(now)}."
            )
        cards = sorted(card_ids(now.get("cards") or [], f"standing, service {name}"))
        existing[str(name)] = ExistingPlacement(
            tuple(cards),
            whole_number(now.get("port")),
            bool(now.get("runs")),
            whole_number(now.get("hccl_port")),
        )
    return existing


@dataclass(frozen=True)
class Placement:
    """Cards (logic ids, ascending), device nodes and ports of a service; none if it is absent."""

    name: str
    cards: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    port: int | None = None
    hccl_ports: tuple[int, int] | None = None
    kv_ports: tuple[int, int] | None = None

    def with_spec(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The spec with `name` (a slug), `cards`, `devices`, `port`, `hccl_ports`, and `kv_ports`.

        The last one only for a service that passes its KV cache on.
        """
        placed = {key: item for key, item in spec.items() if key not in ("hccl_ports", "kv_ports")}
        placed.update(name=self.name, cards=list(self.cards), devices=list(self.devices))
        if self.hccl_ports is None:
            placed.pop("port", None)
        else:
            placed.update(port=self.port, hccl_ports=list(self.hccl_ports))
        if self.kv_ports is not None:
            placed["kv_ports"] = list(self.kv_ports)
        return placed


@dataclass(frozen=True)
class PlacedService:
    """A spec with its placement.

    user: the account of the host that its processes run as.
    """

    spec: Spec
    placement: Placement
    user: str = ""

    @property
    def name(self) -> str:
        return self.placement.name

    def as_dict(self) -> dict[str, Any]:
        return {**self.placement.with_spec(self.spec.as_dict()), "user": self.user}
