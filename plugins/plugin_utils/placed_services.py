# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The placed services of any host of the inventory, for what is written about them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._base.errors import AscendError
from ._base.variables import Variables
from ._gateway import targets
from ._model.catalogue import Catalogue
from .deployment import public, services_to_render
from .host_variables import HostVariables
from .settings import Settings


@dataclass(frozen=True)
class PlacedHost:
    """A host with its placed services, without what is private unless that was asked for.

    address: at which Ansible reaches it. chip: what npu-smi calls its chips; empty where the host was not
    read. complete: every service that its variables list is placed.
    """

    name: str
    address: str
    chip: str
    settings: Settings
    variables: Variables
    catalogue: Catalogue
    services: tuple[dict[str, Any], ...]
    complete: bool


def placed_host(
    action: Any,
    host: str,
    hostvars: Any,
    catalogues: dict[tuple[str, ...], Catalogue],
    *,
    private: bool = False,
) -> PlacedHost:
    """A host as the action `deployment` found it in this run, else as its variables describe it.

    action: the plugin that asks (`ActionBase`). hostvars: Ansible's variable of that name. catalogues:
    those that were read for other hosts, by the paths of tables. private: with keys and environments of
    the services, which then all have to have room. Raises AscendError for variables that cannot be used.
    """
    raw: Mapping[str, Any] = {**hostvars.raw_get(host), "hostvars": hostvars}
    reader = HostVariables(action, raw)
    settings = reader.settings()
    if settings.tables not in catalogues:
        catalogues[settings.tables] = reader.catalogue(settings.tables)
    catalogue = catalogues[settings.tables]
    earlier = hostvars[host].get("ascend_host_deployment")
    earlier = earlier if isinstance(earlier, Mapping) and "services" in earlier else {}
    if settings.instances is None:
        found: list[dict[str, Any]] = []
    elif earlier and not earlier["fingerprint"] and not private:
        found = [dict(each) for each in earlier["services"]]  # some have no room on the real cards
    else:
        found = services_to_render(settings, lambda: catalogue, earlier)
    cards = ((earlier.get("host") or {}).get("npu") or {}).get("cards") or (
        (earlier.get("state") or {}).get("cards") or []
    )
    names = {card["name"] for card in cards if isinstance(card, Mapping) and card.get("name")}
    return PlacedHost(
        host,
        str(reader.read("ansible_host") or host),
        names.pop() if len(names) == 1 else "",
        settings,
        Variables(reader.read),
        catalogue,
        tuple(found if private else map(public, found)),
        bool(earlier.get("fingerprint", True)),
    )


def routed_services(
    action: Any,
    host: str,
    hostvars: Any,
    catalogues: dict[tuple[str, ...], Catalogue],
) -> list[targets.Target]:
    """The services of a host that a gateway routes to, with their keys; arguments of `placed_host`.

    Raises AscendError that names the host.
    """
    try:
        placed = placed_host(action, host, hostvars, catalogues, private=True)
        unit = placed.settings.unit
        found = [targets.of_service(each, unit, host, placed.address) for each in placed.services]
    except AscendError as error:
        raise AscendError(f"{host}: {error}") from error
    return [target for target in found if target is not None]
