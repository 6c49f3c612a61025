# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lists of requests that the hosts of an inventory have in vllm_plan_services."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._base.values import kind_of, shown
from .._model.resolve import Options, resolve
from .._place.names import service_name
from .._place.service import STATES
from .hosts import Hardware, HostReader
from .inventory import Inventory, Problems, TaggedValue, holds_template, is_template
from .requests import (
    PARSERS,
    PLAN_KEYS,
    READ_KEYS,
    SETTLED_KEYS,
    ServiceRequest,
    key_fault,
    secret_faults,
)

SERVICES = "vllm_plan_services"
# A variable, or several joined by +: what it stands for can be read as it was written.
_NAMES = re.compile(r"\{\{-?\s*([A-Za-z_]\w*(?:\s*\+\s*[A-Za-z_]\w*)*)\s*-?\}\}", re.ASCII)
_LEVELS = 10  # of variables that name variables


@dataclass(eq=False)
class RequestList:
    """A list of requests that several hosts share, read once."""

    items: list[Any]
    hosts: list[str] = field(default_factory=list)
    requests: dict[str, ServiceRequest] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class RequestReader(HostReader):
    """Reads hosts and their requests."""

    def __init__(self, inventory: Inventory, problems: Problems) -> None:
        super().__init__(inventory, problems)
        self._templated: dict[int, tuple[list[Any], bool]] = {}

    def lists(self, hosts: Mapping[str, Hardware]) -> list[RequestList]:
        """The lists of requests, each with its hosts; a list without templates is read once."""
        shared: dict[object, RequestList] = {}
        found: list[RequestList] = []
        for host in sorted(hosts):
            try:
                parts = self._parts(host, self.inventory.variables(host)[SERVICES], SERVICES)
            except AscendError as error:
                self.problems.add(str(error), host)
                continue
            templated = any(self._is_templated(part) for part in parts)
            key = (tuple(map(id, parts)), hosts[host].tables)
            if not templated and key in shared:
                shared[key].hosts.append(host)
                continue
            made = RequestList([item for part in parts for item in part], [host])
            self._read(made, host, hosts[host])
            found.append(made)
            if not templated:
                shared[key] = made
        for each in found:
            for fault in each.faults:
                for host in each.hosts:
                    self.problems.add(fault, host)
        if found and not any(each.items for each in found):
            self.problems.add(
                f"{SERVICES} is empty for all hosts, which would remove every service. Say what"
                " they are to serve; an empty list on one host takes its services elsewhere. To take"
                " services off the hosts, run the playbook inferops.ascend.remove."
            )
        return found

    def _parts(self, host: str, raw: object, where: str, level: int = 0) -> list[list[Any]]:
        """The list as it was written; several where a template joins them."""
        value = self.as_written(raw, where)
        if isinstance(value, str):
            match = _NAMES.fullmatch(value.strip())
            if match is None:
                raise AscendError(
                    f"{where} is {shown(value)}; a list is needed. A template may only name other"
                    ' lists, as in "{{ base_services + more_services }}", because the plan passes'
                    " on what is written, not what it renders to."
                )
            variables = self.inventory.variables(host)
            parts = []
            for name in re.split(r"\s*\+\s*", match[1]):
                if name not in variables or level >= _LEVELS:
                    raise AscendError(f"{where} names {name}, which is not defined for this host.")
                parts += self._parts(host, variables[name], name, level + 1)
            return parts
        if not isinstance(value, list):
            what = "encrypted completely" if isinstance(value, TaggedValue) else kind_of(value)
            raise AscendError(
                f"{where} is {what}; a list of services is needed, such as"
                " [{model: Qwen3-14B, replicas: 2}]."
            )
        return [value]

    def _is_templated(self, part: list[Any]) -> bool:
        """Whether a host's variables decide what is asked for."""
        known = self._templated.get(id(part))
        if known is None:
            # What is in args is the host's own affair; the planner reads those of one host.
            known = (
                part,
                any(
                    any(
                        key in READ_KEYS and key != "args" and holds_template(item[key])
                        for key in item
                    )
                    if isinstance(item, dict)
                    else is_template(item)
                    for item in part
                ),
            )
            self._templated[id(part)] = known
        return known[1]

    def _read(self, made: RequestList, host: str, hardware: Hardware) -> None:
        numbers: dict[str, int] = {}
        for number, item in enumerate(made.items, 1):
            where = f"{SERVICES}, service {number}"
            try:
                request = self._request(host, item, where, hardware)
            except AscendError as error:
                made.faults.append(str(error))
                continue
            if request is None:
                continue
            if request.name in made.requests:
                made.faults.append(
                    f"{SERVICES}: services {numbers[request.name]} and {number} are both named"
                    f" {request.name}. Give one of them another name, or write one with replicas."
                )
            made.requests[request.name] = request
            numbers[request.name] = number

    def _request(
        self, host: str, item: Any, where: str, hardware: Hardware
    ) -> ServiceRequest | None:
        """A request; None where it only says that the service is not to be."""
        if is_template(item):
            match = _NAMES.fullmatch(item.strip())
            variables = self.inventory.variables(host)
            if match and "+" not in match[1] and match[1] in variables:
                item = self.as_written(variables[match[1]], where)
            item = self.rendered(host, item, where) if isinstance(item, str) else item
            if not isinstance(item, (str, dict)):
                raise AscendError(f"{where} is {kind_of(item)}; a model's name is needed.")
        if isinstance(item, str):
            item = {"model": item}
        if not isinstance(item, dict):
            what = "encrypted" if isinstance(item, TaggedValue) else kind_of(item)
            raise AscendError(
                f"{where} is {what}; a model's name is needed, or a mapping such as"
                " {model: Qwen3-14B, replicas: 2}."
            )
        label = next((v for v in (item.get("name"), item.get("model")) if isinstance(v, str)), "")
        where += f" ({shown(label)[1:-1]})" if label else ""
        faults = [fault for key in item if (fault := key_fault(key, label))]

        def attempt(do: Callable[..., Any], *given: object) -> Any:
            try:
                return do(*given)
            except AscendError as error:
                faults.append(str(error))
                return None

        rendered = {
            key: attempt(self.readable, host, item[key], key) for key in item if key in READ_KEYS
        }
        passed = {key: item[key] for key in item if key not in SETTLED_KEYS}
        faults += secret_faults(passed, item.get("args"))
        read = {key: attempt(parse, rendered.get(key)) for key, parse in PARSERS.items()}
        values = {key: value for key, value in rendered.items() if key not in PLAN_KEYS}
        name = attempt(self._name, values, hardware)
        if faults:
            raise AscendError(f"{where}: {' '.join(faults)}")
        if values.get("state") == "absent":
            return None
        # Of other keys only that they are there counts.
        values.update(dict.fromkeys(key for key in item if key not in READ_KEYS))
        return ServiceRequest(
            name=name,
            values=values,
            passed=passed,
            replicas=read["replicas"],
            hosts=read["hosts"],
            # Two of them on one host could not both listen on a port that is given.
            spread_required=read["spread"] or read["port"] is not None,
            priority=read["priority"],
        )

    def _name(self, values: Mapping[str, Any], hardware: Hardware) -> str:
        """The service's name. Raises AscendError where there is no such model."""
        state = values.get("state")
        if state is not None and state not in STATES:
            raise AscendError(f"state is {shown(state)}; write one of {', '.join(STATES)}.")
        catalogue = self.inventory.catalogue(hardware.tables)
        bare = {key: values[key] for key in ("model", "name") if values.get(key) is not None}
        if state != "absent" and "model" not in bare:
            resolve(bare, catalogue, Options())  # raises
        # Resolves nothing, but checks the names and finds the model.
        absent = resolve({**bare, "state": "absent"}, catalogue, Options()).as_dict()
        if state != "absent" and catalogue.find(str(absent.get("model"))) is None:
            resolve(bare, catalogue, Options())  # raises, with the closest names
        return service_name(absent)
