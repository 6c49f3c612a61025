# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The services of a fleet: which hosts may run each, and what it takes on each kind of host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from .._base.errors import AscendError
from .._base.values import kind_of, whole_number
from .._base.words import listed
from .._model.catalogue import Catalogue
from .._model.resolve import resolve
from .._model.sharing import shared_positions
from .._place.host_cards import card_ids
from .._place.names import service_name
from .._service.engine import check_args
from .fleet import Assignment, FleetHost, FleetService
from .hosts import Hardware, place_on
from .inventory import Inventory, Problems, TaggedValue, is_template, some
from .requests import READ_KEYS, PlanRequest, RequestList, RequestReader


@dataclass
class Service:
    """A service of the fleet.

    hosts: candidates, sorted. specs: what the lookup says, by kind of host; for one that spans hosts
    its cards are those of each host. totals: its cards by kind. refused: reasons by kind.
    """

    request: PlanRequest
    hosts: tuple[str, ...]
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.request.name

    def for_planner(self) -> FleetService:
        cards = self.request.values.get("cards")
        pinned = tuple(sorted(card_ids(cards, "cards"))) if isinstance(cards, list) else None
        return FleetService(
            name=self.name,
            replicas=self.request.replicas,
            cards=self.totals,
            hosts=self.hosts,
            spread_required=self.request.spread_required,
            priority=self.request.priority,
            pinned=pinned,
            refused=self.refused,
            part=self.part,
        )

    @property
    def part(self) -> float:
        """Of the memory of its cards, where it may have them together with others; 0 where not."""
        parts = [
            each["gpu_memory_utilization"] for each in self.specs.values() if each.get("share")
        ]
        return max(parts, default=0.0)


def services_of(
    lists: Iterable[RequestList],
    hosts: Mapping[str, Hardware],
    inventory: Inventory,
    problems: Problems,
) -> dict[str, Service]:
    """The services that all lists ask for, by name, resolved for every kind of candidate host."""
    asked: dict[str, list[tuple[PlanRequest, RequestList]]] = {}
    for each in lists:
        for name, request in each.requests.items():
            asked.setdefault(name, []).append((request, each))

    @cache
    def candidates(
        lists: tuple[RequestList, ...], pattern: str | None
    ) -> tuple[tuple[str, ...], dict[str, Hardware]]:
        """(hosts by name, one of each kind)."""
        found = {host for each in lists for host in each.hosts}
        names = tuple(sorted(found if pattern is None else found & matching(pattern)))
        return names, dict(sorted({hosts[name].kind: hosts[name] for name in names}.items()))

    matching = cache(inventory.matching)
    services: dict[str, Service] = {}
    for name in sorted(asked):
        request, first = asked[name][0]
        for other, each in asked[name][1:]:
            # args may well render to other values on other hosts; they are compared as written.
            if other.compared() != request.compared():
                problems.add(
                    _difference(name, request, first.hosts[0], other, each.hosts[0]), service=name
                )
                break
        lists_of_it = tuple(each for _request, each in asked[name])
        names, kinds = candidates(lists_of_it, request.hosts)
        service = services[name] = Service(request, names)
        if not names:
            listing = sorted({host for each in lists_of_it for host in each.hosts})
            problems.add(
                f"service {name}: its hosts, {request.hosts}, match none of the hosts that list it."
                f" These are {some(listing)}.",
                service=name,
            )
        for kind, hardware in kinds.items():
            try:
                spec, total = _resolved(request, hardware, inventory.catalogue(hardware.tables))
                check_service_args(spec, name, hardware)
                service.specs[kind], service.totals[kind] = spec, total
            except AscendError as error:
                service.refused[kind] = str(error)
    return services


def _difference(name: str, one: PlanRequest, host: str, other: PlanRequest, other_host: str) -> str:
    """Two hosts that do not mean the same by a name."""

    a, b = one.compared(), other.compared()
    keys = sorted({str(key).split()[0] for key in {*a, *b} if a.get(key) != b.get(key)})
    return (
        f"service {name}: {host} and {other_host} ask for it with other values of"
        f" {', '.join(keys)}. Write it alike for both, in the variables of a group, or give one of"
        " them another name."
    )


def check_service_args(spec: Mapping[str, Any], name: str, hardware: Hardware) -> None:
    """Reject options that the engine of these hosts does not read. Raises AscendError."""
    args = spec.get("args")
    if isinstance(args, dict):
        # Of what is encrypted only the name is checked.
        args = {key: None if _is_tagged(value) else value for key, value in args.items()}
    check_args({**spec, "name": name, "args": args}, hardware.engine_version)


def _is_tagged(value: object) -> bool:
    if isinstance(value, dict):
        return any(_is_tagged(item) for item in value.values())
    if isinstance(value, list):
        return any(_is_tagged(item) for item in value)
    return isinstance(value, TaggedValue)


_SIZES = ("data_parallel_size", "tensor_parallel_size", "pipeline_parallel_size")


def _resolved(
    request: PlanRequest, hardware: Hardware, catalogue: Catalogue
) -> tuple[dict[str, Any], int]:
    """(the spec on hosts of this kind, how many cards in all). Raises AscendError."""
    size, options = len(hardware.cards), hardware.options
    # How hosts are spanned is nothing to a service that one host has.
    values = {key: value for key, value in request.values.items() if key != "engine"}
    cards = values.get("cards")
    if isinstance(cards, list) and len(cards) > size:
        raise AscendError(
            f"{values['model']} names {len(cards)} cards, and the host has {size}: cards"
            f" {listed(hardware.cards)}."
        )
    try:
        spec = resolve(values, catalogue, options).as_dict()
        total = int(spec["cards"])
        if total <= size:
            return spec, total
    except AscendError:
        # Sizes may be those of each host, and heads need not divide by the cards of several.
        asked = whole_number(cards)
        if asked is None:
            free = {key: value for key, value in values.items() if key not in _SIZES}
            asked = int(resolve(free, catalogue, options).as_dict()["cards"])
        if asked <= size:
            raise
        total = asked
    count = -(-total // size)
    members = [str(number) for number in range(count)]
    spanning = {
        **request.values,
        "cards": size,
        "cluster": {"leader": members[0], "rank": 0, "hosts": members},
    }
    return resolve(spanning, catalogue, options).as_dict(), size * count


def given_services(
    reader: RequestReader, host: str, raw: object, hardware: Hardware, where: str
) -> list[dict[str, Any]]:
    """The placed services of a host whose vllm_service_instances was written by hand.

    Raises AscendError where the role would reject them.
    """
    value = reader.as_written(raw, where)
    value = reader.rendered(host, value, where) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise AscendError(f"{where} is {kind_of(value)}; a list of services is needed.")
    specs = []
    clusters: dict[str, Any] = {}
    catalogue = reader.inventory.catalogue(hardware.tables)
    sharing = shared_positions(value)
    for number, item in enumerate(value, 1):
        label = f"{where}, service {number}"
        if is_template(item):
            item = reader.rendered(host, item, label)
        values = {"model": item} if isinstance(item, str) else item
        if isinstance(values, dict):
            read = {*READ_KEYS, "cluster"}
            values = {
                key: reader.rendered(host, entry, f"{label}, {key}") if key in read else None
                for key, entry in values.items()
            }
        options = replace(hardware.options, shares_cards=number - 1 in sharing)
        spec = resolve(values, catalogue, options).as_dict()
        if spec.get("state") != "absent":
            check_service_args(spec, service_name(spec), hardware)
        cluster = spec.pop("cluster", None)
        if cluster is not None:
            clusters[service_name(spec)] = cluster
        specs.append(spec)
    placed = place_on(specs, hardware)
    for service in placed:
        service["cluster"] = clusters.get(service["name"])
    return [service for service in placed if service.get("state") != "absent"]


def fleet_host(name: str, hardware: Hardware, *, by_hand: bool) -> FleetHost:
    return FleetHost(
        name=name,
        kind=hardware.kind,
        cards=hardware.cards,
        excluded=frozenset(hardware.excluded),
        unit=hardware.unit,
        open=not by_hand,
    )


def given_assignments(host: str, services: Iterable[Mapping[str, Any]]) -> Iterator[Assignment]:
    """Services written by hand, as the planner counts them."""
    for service in services:
        cluster = service["cluster"] or {}
        yield Assignment(
            service["name"],
            host,
            tuple(service["cards"]),
            cluster.get("leader"),
            int(cluster.get("rank", 0)),
            tuple(cluster.get("hosts", ())),
        )
