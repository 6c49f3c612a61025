# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services of a host that were written by hand, which the plan takes as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._base.errors import AscendError
from .._base.values import kind_of
from .._model.resolve import resolve
from .._place.names import service_name
from .fleet import Assignment, FleetHost
from .hosts import Hardware, place_on
from .inventory import is_template
from .request_lists import RequestReader
from .requests import READ_KEYS
from .services import check_service_args


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
    for number, item in enumerate(value, 1):
        label = f"{where}, service {number}"
        if is_template(item):
            item = reader.rendered(host, item, label)
        values = {"model": item} if isinstance(item, str) else item
        if isinstance(values, dict):
            read = {*READ_KEYS, "cluster"}
            values = {
                key: reader.rendered(host, held, f"{label}, {key}") if key in read else None
                for key, held in values.items()
            }
        spec = resolve(values, catalogue, hardware.options).as_dict()
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


def given_assignments(host: str, services: Iterable[Mapping[str, Any]]) -> list[Assignment]:
    """Services written by hand, as the planner counts them."""
    return [
        Assignment(
            service["name"],
            host,
            tuple(service["cards"]),
            (service["cluster"] or {}).get("leader"),
            int((service["cluster"] or {}).get("rank", 0)),
            tuple((service["cluster"] or {}).get("hosts", ())),
        )
        for service in services
    ]
