# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backends of a gateway: each has the servers that answer to the same names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .names import backend_name
from .targets import Target


@dataclass(frozen=True)
class Backend:
    """Servers among which a request for any of some names is balanced.

    Attributes:
        names: of models, sorted.
        affinity: requests that begin with the same message go to the same server.
        api_key: which all servers want; empty for none.
        length: the smallest max_model_len of its servers, in tokens; None where none is known.
    """

    name: str
    names: tuple[str, ...]
    servers: tuple[Target, ...]
    affinity: bool = False
    api_key: str = field(default="", repr=False)

    @property
    def length(self) -> int | None:
        known = [server.length for server in self.servers if server.length is not None]
        return min(known, default=None)

    def as_dict(self) -> dict[str, Any]:
        """The public part."""
        servers = [{"name": each.name, "address": each.endpoint} for each in self.servers]
        return {"name": self.name, "names": list(self.names), "servers": servers}


def backends_of(targets: Iterable[Target], affinity: Collection[str]) -> list[Backend]:
    """The backends of some servers, in the order of their names.

    A name is served by all servers that answer to it; names with the same servers share a backend.
    affinity: names of models or services. Raises AscendError for one that nothing serves, for two
    servers of one name, and for servers of one name that want different keys.
    """
    servers = _by_name(targets)
    names_of: dict[tuple[str, ...], list[str]] = {}
    for model in sorted({name for each in servers.values() for name in each.names}):
        members = tuple(each.name for each in servers.values() if model in each.names)
        names_of.setdefault(members, []).append(model)
    known = {name for each in servers.values() for name in (each.service, *each.names)} - {""}
    unknown = [each for each in affinity if each not in known]
    if unknown:
        raise AscendError(
            f"vllm_gateway_affinity names {', '.join(unknown)}, which nothing serves. There are"
            f" {', '.join(sorted(known)) or 'none'}."
        )
    found = [
        _backend(names, [servers[each] for each in members], affinity)
        for members, names in names_of.items()
    ]
    return sorted(found, key=lambda backend: backend.name)


def _by_name(targets: Iterable[Target]) -> dict[str, Target]:
    servers: dict[str, Target] = {}
    for each in targets:
        if each.name in servers:
            raise AscendError(
                f"two servers have the name {each.name} in the gateway. Give one of their services"
                " another name."
            )
        servers[each.name] = each
    return {name: servers[name] for name in sorted(servers)}


def _backend(names: Sequence[str], servers: Sequence[Target], affinity: Collection[str]) -> Backend:
    keys = {server.api_key for server in servers}
    if len(keys) > 1:
        raise AscendError(
            f"{', '.join(server.name for server in servers)} answer to {names[0]} with different"
            " values of api_key, and the gateway has one for all. Give them the same, or different"
            " names (served_model_name)."
        )
    services = {server.service for server in servers}
    named = next((name for name in names if services == {name}), names[0])
    return Backend(
        backend_name(named),
        tuple(names),
        tuple(servers),
        any(each in affinity for each in (*names, *services)),
        keys.pop(),
    )


def warnings(backends: Iterable[Backend]) -> list[str]:
    """What is worth knowing about some backends, in sentences."""
    found = []
    for backend in backends:
        lengths = {server.length for server in backend.servers if server.length is not None}
        if len(lengths) > 1:
            each = ", ".join(f"{server.name} ({server.length})" for server in backend.servers)
            found.append(
                f"{', '.join(backend.names)}: a request may come to servers of different lengths:"
                f" {each}. Give the services different names (served_model_name) where that matters."
            )
    return found
