# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory in memory, and what the plan reads in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jinja2
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import (
    Catalogue,
    load_catalogue,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.hosts import Hardware
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import (
    Problems,
    TaggedValue,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.requests import (
    RequestReader,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.services import (
    Service,
    services_of,
)

A2 = {"ascend_host_profile": "atlas-800i-a2-64g"}


class Hosts:
    """An inventory in memory, with Jinja's own templates and shell patterns."""

    def __init__(self, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        self.hosts = hosts
        self.rendered: list[tuple[str, str]] = []

    def variables(self, host: str) -> Mapping[str, Any]:
        return self.hosts[host]

    def render(self, host: str, text: str) -> object:
        self.rendered.append((host, text))
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
        try:
            return environment.from_string(text).render(self.hosts[host])
        except jinja2.TemplateError as error:
            raise AscendError(f"{text} cannot be rendered: {error}") from error

    def tagged_value(self, value: object) -> TaggedValue | None:
        return value if isinstance(value, TaggedValue) else None

    def matching(self, pattern: str) -> frozenset[str]:
        return frozenset(host for host in self.hosts if fnmatchcase(host, pattern))

    def catalogue(self, tables: Sequence[str]) -> Catalogue:
        return load_catalogue(list(tables))


def read(
    hosts: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Service], dict[str, Hardware], list[str], Hosts]:
    inventory, problems = Hosts(hosts), Problems()
    reader = RequestReader(inventory, problems)
    found, ask = reader.hardware(hosts, {})
    assert not ask
    services = services_of(reader.lists(found), found, inventory, problems)
    return services, found, problems.lines(), inventory


def group(requests: Any, count: int = 2, **variables: Any) -> dict[str, dict[str, Any]]:
    """Hosts of a group, which share one list as Ansible hands it to them."""
    return {
        f"npu-{number:02}": {**A2, "vllm_plan_services": requests, **variables}
        for number in range(1, count + 1)
    }


def problems(requests: Any, **variables: Any) -> str:
    return "\n".join(read(group(requests, **variables))[2])
