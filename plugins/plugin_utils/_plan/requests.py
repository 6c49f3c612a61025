# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts of an inventory ask for, as hosts and services for the planner of a fleet.

A variable reaches this module as its host's inventory has it, templates and all. Only what the
planner needs is rendered; the rest is passed on as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import MANAGED
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import (
    kind_of,
    shown,
    whole_number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import listed
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import Catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    tensor_parallel_fault,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.request import unread_key
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.host_cards import card_ids
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.names import service_name
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.ports import PORT_MAX, PORT_MIN
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    STATES,
    ExistingPlacement,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
    FleetHost,
    FleetService,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.hosts import (
    Hardware,
    Inventory,
    Problems,
    Reader,
    TaggedValue,
    holds_template,
    is_template,
    place_on,
    some,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import check_args

SERVICES = "vllm_plan_services"
INSTANCES = "vllm_service_instances"

# Keys of a request that the planner reads, and which are rendered for that.
PLAN_KEYS = ("replicas", "hosts", "spread", "priority")
READ_KEYS = frozenset(
    (
        *PLAN_KEYS,
        "model",
        "name",
        "cards",
        "port",
        "max_model_len",
        "gpu_memory_utilization",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "args",
        "kind",
        "huggingface",
        "modelscope",
        "card_memory_gb",
        "state",
    )
)
# What the plan settles for each host, and therefore writes itself.
SETTLED_KEYS = frozenset(
    (
        *PLAN_KEYS,
        "name",
        "model",
        "cards",
        "port",
        "max_model_len",
        "tensor_parallel_size",
        "pipeline_parallel_size",
    )
)
# Keys of what the lookup, the placement and the plan return.
RESULT_KEYS = (
    "cluster",
    "devices",
    "hccl_ports",
    "min_cards",
    "native_context",
    "pinned_cards",
    "provenance",
    "warnings",
)
# A variable, or several joined by +: what it stands for can be read as it was written.
_NAMES = re.compile(r"\{\{-?\s*([A-Za-z_]\w*(?:\s*\+\s*[A-Za-z_]\w*)*)\s*-?\}\}", re.ASCII)
_SECRET_ENV = frozenset(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY"))
_LEVELS = 10  # of variables that name variables


# -- requests --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServiceRequest:
    """One request for a service.

    request: what is resolved, rendered. passed: the other keys as they were written. replicas: None
    for one on each candidate. hosts: a pattern that narrows them.
    """

    name: str
    values: Mapping[str, Any]
    passed: Mapping[str, Any]
    replicas: int | None
    hosts: str | None
    spread_required: bool
    priority: int

    def same(self, other: ServiceRequest) -> bool:
        """Whether both ask for the same; args may well render to other values on other hosts."""
        return self._asked() == other._asked()

    def _asked(self) -> dict[str, Any]:
        plan = {"replicas": self.replicas, "hosts": self.hosts, "priority": self.priority}
        values = {key: value for key, value in self.values.items() if key not in self.passed}
        rendered = {
            f"{key} rendered": value
            for key, value in self.values.items()
            if key in self.passed and key != "args"
        }
        return {**self.passed, **values, **rendered, **plan, "spread": self.spread_required}


def _pattern(value: object) -> str | None:
    if value is None:
        return None
    items = [value] if isinstance(value, str) else value
    if (
        not isinstance(items, list)
        or not items
        or not all(isinstance(item, str) and item.strip() for item in items)
    ):
        raise AscendError(
            f"hosts is {shown(value)}; a pattern of Ansible's is needed, such as npu-0*, or a list"
            " of patterns."
        )
    return ",".join(item.strip() for item in items)


def _replicas(value: object) -> int | None:
    if value is None:
        return 1
    if isinstance(value, str) and value.strip() == "all":
        return None
    number = whole_number(value)
    if number is None or number < 1:
        raise AscendError(
            f"replicas is {shown(value)}; a number from 1 is needed, or all for one on each host."
        )
    return number


def _spread(value: object) -> bool:
    if value not in (None, "preferred", "required"):
        raise AscendError(f"spread is {shown(value)}; write preferred or required.")
    return value == "required"


def _priority(value: object) -> int:
    if value is None:
        return 0
    text = value.strip() if isinstance(value, str) else value
    negative = isinstance(text, str) and text.startswith("-")
    number = whole_number(text[1:] if negative else text)  # type: ignore[index]  # a text there
    if number is None:
        raise AscendError(f"priority is {shown(value)}; a whole number is needed.")
    return -number if negative else number


def _port(value: object) -> int | None:
    if value is None:
        return None
    number = whole_number(value)
    if number is None or not PORT_MIN <= number <= PORT_MAX:
        raise AscendError(
            f"port is {shown(value)}; a number of {PORT_MIN} to {PORT_MAX} is needed."
        )
    return number


def _hidden(value: object) -> bool:
    """Whether a value tells nothing to those who read it: a template, or encrypted."""
    return value.tag == "!vault" if isinstance(value, TaggedValue) else is_template(value)


def _has_password(address: str) -> bool:
    try:
        return bool(urlsplit(address).password)
    except ValueError:  # no address; the weights say so where they are read
        return False


def _check_secrets(passed: Mapping[str, Any], args: object) -> Iterable[str]:
    """What would stand in the plan for all to read."""
    named: dict[str, Any] = {"api_key": passed.get("api_key")}
    secret = passed.get("secret_env")
    if isinstance(secret, dict):
        named.update((f"secret_env, {key}", value) for key, value in secret.items())
    elif secret is not None and not _hidden(secret):
        yield f"secret_env is {kind_of(secret)}; a mapping of names to texts is needed."
    weights = passed.get("weights")
    location = weights.get("location") if isinstance(weights, dict) else None
    if isinstance(location, str) and _has_password(location):
        named["the password in weights, location,"] = location
    open_ones = [name for name, value in named.items() if value is not None and not _hidden(value)]
    for name in open_ones:
        yield (
            f"{name} stands there in plain text, and the plan is a file that others read. Put the"
            " value into a variable of a vaulted file and name it here, as in"
            ' api_key: "{{ vault_chat_key }}", or encrypt it in place (ansible-vault'
            " encrypt_string)."
        )
    environment = passed.get("env")
    if not (environment is None or isinstance(environment, dict) or _hidden(environment)):
        yield f"env is {kind_of(environment)}; a mapping of names to texts is needed."
    for key in environment if isinstance(environment, dict) else ():
        if key in _SECRET_ENV or key in MANAGED:
            way = MANAGED.get(str(key)) or "secret_env"
            yield f"env sets {key}, which does not belong there. It comes from {way}."
    for key in args if isinstance(args, dict) else ():
        if str(key).replace("_", "-").lower() in ("api-key", "hf-token"):
            yield f"args sets {key}, a secret. Write api_key or secret_env beside args."


@dataclass
class RequestList:
    """A list of requests that several hosts share, read once."""

    items: list[Any]
    hosts: list[str] = field(default_factory=list)
    requests: dict[str, ServiceRequest] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Requests(Reader):
    """Reads hosts and their requests."""

    def __init__(self, inventory: Inventory, problems: Problems) -> None:
        super().__init__(inventory, problems)
        self._templated: dict[int, tuple[list[Any], bool]] = {}

    # Requests

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
            what = "encrypted as a whole" if isinstance(value, TaggedValue) else kind_of(value)
            raise AscendError(
                f"{where} is {what}; a list of services is needed, such as"
                " [{model: Qwen3-14B, replicas: 2}]."
            )
        return [value]

    def _is_templated(self, part: list[Any]) -> bool:
        """Whether a host's variables decide what is asked for."""
        known = self._templated.get(id(part))
        if known is None:
            # What stands in args is the host's own affair; the planner reads those of one host.
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
        faults = []
        for key in item:
            fault = _key_fault(key, label)
            if fault:
                faults.append(fault)
        rendered: dict[str, Any] = {}
        for key in item:
            if key in READ_KEYS:
                try:
                    rendered[key] = self.rendered(host, item[key], str(key))
                    if isinstance(rendered[key], TaggedValue):
                        faults.append(f"{key} is encrypted, and the plan has to read it.")
                        rendered[key] = None
                except AscendError as error:
                    faults.append(str(error))
                    rendered[key] = None
        passed = {key: item[key] for key in item if key not in SETTLED_KEYS}
        faults += _check_secrets(passed, item.get("args"))
        read: dict[str, Any] = {}
        for key, parse in _PARSERS.items():
            try:
                read[key] = parse(rendered.get(key))
            except AscendError as error:
                faults.append(str(error))
        values = {key: value for key, value in rendered.items() if key not in PLAN_KEYS}
        name = ""
        try:
            name = self._name(values, hardware)
        except AscendError as error:
            faults.append(str(error))
        if faults:
            raise AscendError(f"{where}: {' '.join(faults)}")
        if values.get("state") == "absent":
            return None
        for key in item:
            if key not in READ_KEYS:
                values[key] = None  # only that it is there counts
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
        # Resolves nothing, but judges the names and finds the model.
        absent = resolve({**bare, "state": "absent"}, catalogue, Options()).as_dict()
        if state != "absent" and catalogue.find(str(absent.get("model"))) is None:
            resolve(bare, catalogue, Options())  # raises, with the closest names
        return service_name(absent)


def _key_fault(key: object, model: str) -> str | None:
    """What is wrong with a key of a request for a plan."""
    if not isinstance(key, str):
        return f"it has the key {shown(key)}, which is no text."
    if key in RESULT_KEYS:
        return f"the key {key} is the plan's or the placement's to say. Leave it out."
    if key in READ_KEYS or key in _OTHER_KEYS:
        return None
    try:
        return unread_key(key, model or "it")
    except AscendError as error:
        return str(error)


_OTHER_KEYS = frozenset(("served_model_name", "path", "env", "api_key", "secret_env", "weights"))
_PARSERS: Mapping[str, Callable[[object], Any]] = {
    "replicas": _replicas,
    "hosts": _pattern,
    "spread": _spread,
    "priority": _priority,
    "port": _port,
}


# -- services --------------------------------------------------------------------------------------


@dataclass
class Service:
    """A service of the fleet.

    hosts: candidates, sorted. specs: what the lookup says, by kind of host; for one that spans hosts
    its cards are those of each host. totals: its cards by kind. refused: reasons by kind.
    """

    request: ServiceRequest
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
        )


def services_of(
    lists: Iterable[RequestList],
    hosts: Mapping[str, Hardware],
    inventory: Inventory,
    problems: Problems,
) -> dict[str, Service]:
    """The services that all lists ask for, by name, resolved for every kind of candidate host."""
    asked: dict[str, list[tuple[ServiceRequest, RequestList]]] = {}
    for each in lists:
        for name, request in each.requests.items():
            asked.setdefault(name, []).append((request, each))
    candidates: dict[object, tuple[str, ...]] = {}
    kinds: dict[int, dict[str, Hardware]] = {}
    matched: dict[str, frozenset[str]] = {}
    services: dict[str, Service] = {}
    for name in sorted(asked):
        request, first = asked[name][0]
        for other, each in asked[name][1:]:
            if not other.same(request):
                problems.add(_difference(name, request, first.hosts[0], other, each.hosts[0]))
                break
        lists_of_it = [each[1] for each in asked[name]]
        key = (tuple(map(id, lists_of_it)), request.hosts)
        if key not in candidates:
            names = {host for each in lists_of_it for host in each.hosts}
            if request.hosts is not None:
                if request.hosts not in matched:
                    matched[request.hosts] = inventory.matching(request.hosts)
                names &= matched[request.hosts]
            candidates[key] = tuple(sorted(names))
        service = services[name] = Service(request, candidates[key])
        if not service.hosts:
            problems.add(
                f"service {name}: its hosts, {request.hosts}, match none of the hosts that list it."
                f" These are {some(sorted({host for each in lists_of_it for host in each.hosts}))}."
            )
            continue
        if id(service.hosts) not in kinds:
            kinds[id(service.hosts)] = {hosts[host].kind: hosts[host] for host in service.hosts}
        sizes = kinds[id(service.hosts)]
        for kind in sorted(sizes):
            try:
                spec, total = _resolved(
                    request, sizes[kind], inventory.catalogue(sizes[kind].tables)
                )
                _check_args(spec, name, sizes[kind])
                service.specs[kind], service.totals[kind] = spec, total
            except AscendError as error:
                service.refused[kind] = str(error)
    return services


def _difference(
    name: str, one: ServiceRequest, host: str, other: ServiceRequest, other_host: str
) -> str:
    """Two hosts that do not mean the same by a name."""

    a, b = one._asked(), other._asked()
    keys = sorted({str(key).split()[0] for key in {*a, *b} if a.get(key) != b.get(key)})
    return (
        f"service {name}: {host} and {other_host} ask for it with other values of"
        f" {', '.join(keys)}. Write it alike for both, in the variables of a group, or give one of"
        " them another name."
    )


def _check_args(spec: Mapping[str, Any], name: str, hardware: Hardware) -> None:
    """Refuse options that the engine of these hosts does not read. Raises AscendError."""
    args = spec.get("args")
    if isinstance(args, dict):
        # Of what is encrypted only the name is judged.
        args = {key: None if _is_tagged(value) else value for key, value in args.items()}
    check_args({**spec, "name": name, "args": args}, hardware.engine_version)


def _is_tagged(value: object) -> bool:
    if isinstance(value, dict):
        return any(_is_tagged(item) for item in value.values())
    if isinstance(value, list):
        return any(_is_tagged(item) for item in value)
    return isinstance(value, TaggedValue)


def _resolved(
    request: ServiceRequest, hardware: Hardware, catalogue: Catalogue
) -> tuple[dict[str, Any], int]:
    """(the spec on hosts of this kind, how many cards in all). Raises AscendError."""
    size = len(hardware.cards)
    sizes = ("tensor_parallel_size", "pipeline_parallel_size")
    settled = any(request.values.get(key) is not None for key in sizes)
    try:
        spec = resolve(request.values, catalogue, hardware.options).as_dict()
    except AscendError:
        # Perhaps the heads do not divide by as many cards as several hosts have.
        if settled:
            raise
        one = {**request.values, "tensor_parallel_size": 1}
        spec = resolve(one, catalogue, hardware.options).as_dict()
        if int(spec["cards"]) <= size:
            raise
    total = int(spec["cards"])
    if total <= size:
        return spec, total
    if isinstance(request.values.get("cards"), list):
        raise AscendError(
            f"{spec['model']} names {total} cards, and the host has {size}: cards"
            f" {listed(list(hardware.cards))}."
        )
    count = -(-total // size)
    members = [str(number) for number in range(count)]
    values = {
        **request.values,
        "cards": size,
        "cluster": {"leader": members[0], "rank": 0, "hosts": members},
    }
    if not settled:
        match = catalogue.find(str(spec["model"]))
        facts = catalogue.facts(match.model) if match else None
        tensor = next(
            number
            for number in range(size, 0, -1)
            if size % number == 0
            and (facts is None or tensor_parallel_fault(facts, number) is None)
        )
        values["tensor_parallel_size"] = tensor
        values["pipeline_parallel_size"] = size * count // tensor
    elif total % size:
        raise AscendError(
            f"{spec['model']} is to be split over {spec['tensor_parallel_size']} x"
            f" {spec['pipeline_parallel_size']} = {total} cards, which is no whole number of hosts"
            f" of {size}. Leave the sizes out, or make the product {size * count}."
        )
    else:
        values.update((key, spec[key]) for key in sizes)
    return resolve(values, catalogue, hardware.options).as_dict(), size * count


# -- what was written by hand ----------------------------------------------------------------------


def given_services(
    reader: Requests, host: str, raw: object, hardware: Hardware, where: str
) -> list[dict[str, Any]]:
    """The placed services of a host whose vllm_service_instances was written by hand.

    Raises AscendError where the role would refuse them.
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
            _check_args(spec, service_name(spec), hardware)
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


# -- entries ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A service on a host, ready to be written.

    settled: the keys that the plan settles, in order. passed: the others as the user wrote them.
    spec: what the lookup says of it there.
    """

    name: str
    settled: dict[str, Any]
    service: Service
    spec: Mapping[str, Any]

    @property
    def passed(self) -> Mapping[str, Any]:
        return self.service.request.passed

    @property
    def state(self) -> str:
        return str(self.service.request.values.get("state") or "started")


class PortAllocator:
    """Gives ports to the services of hosts; hosts that are alike are placed once."""

    def __init__(self) -> None:
        self._known: dict[object, list[int]] = {}

    def ports(
        self,
        hardware: Hardware,
        assignments: Sequence[Assignment],
        requested: Sequence[int | None],
        existing: Mapping[str, int],
    ) -> list[int]:
        """A port for each spot of a host: the one asked for, else the standing one, else the next.

        Raises AscendError where there is none, or where one is wanted twice.
        """
        kept = [existing.get(assignment.name) for assignment in assignments]
        key = (
            id(hardware),
            tuple((s.cards, w, k) for s, w, k in zip(assignments, requested, kept, strict=True)),
        )
        known = self._known.get(key)
        if known is None:
            specs = [
                {
                    "name": assignment.name,
                    "cards": len(assignment.cards),
                    "pinned_cards": list(assignment.cards),
                    "port": port,
                }
                for assignment, port in zip(assignments, requested, strict=True)
            ]
            existing_placements = {
                assignment.name: ExistingPlacement(assignment.cards, port)
                for assignment, port in zip(assignments, kept, strict=True)
                if port is not None
            }
            known = self._known[key] = [
                int(each["port"]) for each in place_on(specs, hardware, existing_placements)
            ]
        return known


def entries(
    hardware: Hardware,
    assignments: Sequence[Assignment],
    services: Mapping[str, Service],
    existing: Mapping[str, int],
    allocator: PortAllocator,
) -> list[Entry]:
    """The entries of one host, by name. Raises AscendError where ports do not work out."""
    assignments = sorted(assignments, key=lambda assignment: assignment.name)
    requested = [
        _port(services[assignment.service].request.values.get("port")) for assignment in assignments
    ]
    made = []
    for assignment, port in zip(
        assignments, allocator.ports(hardware, assignments, requested, existing), strict=True
    ):
        service = services[assignment.service]
        spec = service.specs[hardware.kind]
        settled: dict[str, Any] = {
            "name": assignment.name,
            "model": _model(service, spec),
            "cards": list(assignment.cards),
            "port": port,
            "max_model_len": spec["max_model_len"],
            "tensor_parallel_size": spec["tensor_parallel_size"],
        }
        if spec["pipeline_parallel_size"] != 1:
            settled["pipeline_parallel_size"] = spec["pipeline_parallel_size"]
        if assignment.hosts:
            settled["cluster"] = {
                "leader": assignment.leader,
                "rank": assignment.rank,
                "hosts": list(assignment.hosts),
            }
        made.append(Entry(assignment.name, settled, service, spec))
    return made


def _model(service: Service, spec: Mapping[str, Any]) -> str:
    """The model's name, or the hub id that was asked for: different ids are different weights."""
    asked = str(service.request.values["model"]).strip()
    return str(spec["model"]) if asked.lower() == str(spec["model"]).lower() else asked


def source_line(entry: Entry) -> str:
    """Where the figures of an entry come from, as a line for people."""
    source = entry.spec["provenance"]
    if source["table"] is None:
        text = "figures: estimated from the model's size, never run"
    else:
        text = f"figures: table {source['table']}, row {source['row']}"
        text += f", {source['updated']}" if source["updated"] else ""
        text += f", {source['basis']}"
    if entry.service.request.values.get("max_model_len") is not None:
        text = f"max_model_len as asked for; {text}"
    return "".join(char if char.isprintable() else "?" for char in text)


def view(
    entry: Mapping[str, Any], spec: Mapping[str, Any], service: str, *, given: bool
) -> dict[str, Any]:
    """A service as the views want it.

    entry: name, cards, port, and cluster if it spans hosts. service: the name without a number for
    a second replica.
    """
    source = spec.get("provenance") or {}
    row = source.get("row")
    return {
        "name": entry["name"],
        "service": service,
        "model": spec.get("model"),
        "kind": spec.get("kind"),
        "cards": list(entry["cards"]),
        "port": entry.get("port"),
        "max_model_len": spec.get("max_model_len"),
        "basis": source.get("basis"),
        "table": source.get("table"),
        "row": None if row is None else str(row),
        "state": "stopped" if spec.get("state") == "stopped" else "started",
        "given": given,
        "cluster": entry.get("cluster"),
    }
