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
    FleetHost,
    FleetService,
    Spot,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.hosts import (
    Hardware,
    Inventory,
    Problems,
    Reader,
    Sealed,
    holds_template,
    is_template,
    put,
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
class Wish:
    """One request for a service.

    request: what is resolved, rendered. passed: the other keys as they were written. replicas: None
    for one on each candidate. hosts: a pattern that narrows them.
    """

    name: str
    request: Mapping[str, Any]
    passed: Mapping[str, Any]
    replicas: int | None
    hosts: str | None
    spread_required: bool
    priority: int

    def same(self, other: Wish) -> bool:
        """Whether both ask for the same; args may well render to other values on other hosts."""
        return self._asked() == other._asked()

    def _asked(self) -> dict[str, Any]:
        plan = {"replicas": self.replicas, "hosts": self.hosts, "priority": self.priority}
        request = {key: value for key, value in self.request.items() if key not in self.passed}
        rendered = {
            f"{key} rendered": value
            for key, value in self.request.items()
            if key in self.passed and key != "args"
        }
        return {**self.passed, **request, **rendered, **plan, "spread": self.spread_required}


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
    return value.tag == "!vault" if isinstance(value, Sealed) else is_template(value)


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
class _List:
    """A list of requests that several hosts share, read once."""

    items: list[Any]
    hosts: list[str] = field(default_factory=list)
    wishes: dict[str, Wish] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Requests(Reader):
    """Reads hosts and their requests."""

    def __init__(self, inventory: Inventory, problems: Problems) -> None:
        super().__init__(inventory, problems)
        self._templated: dict[int, tuple[list[Any], bool]] = {}

    # Requests

    def lists(self, hosts: Mapping[str, Hardware]) -> list[_List]:
        """The lists of requests, each with its hosts; a list without templates is read once."""
        shared: dict[object, _List] = {}
        found: list[_List] = []
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
            made = _List([item for part in parts for item in part], [host])
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
            what = "encrypted as a whole" if isinstance(value, Sealed) else kind_of(value)
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

    def _read(self, made: _List, host: str, hardware: Hardware) -> None:
        numbers: dict[str, int] = {}
        for number, item in enumerate(made.items, 1):
            where = f"{SERVICES}, service {number}"
            try:
                wish = self._wish(host, item, where, hardware)
            except AscendError as error:
                made.faults.append(str(error))
                continue
            if wish is None:
                continue
            if wish.name in made.wishes:
                made.faults.append(
                    f"{SERVICES}: services {numbers[wish.name]} and {number} are both named"
                    f" {wish.name}. Give one of them another name, or write one with replicas."
                )
            made.wishes[wish.name] = wish
            numbers[wish.name] = number

    def _wish(self, host: str, item: Any, where: str, hardware: Hardware) -> Wish | None:
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
            what = "encrypted" if isinstance(item, Sealed) else kind_of(item)
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
        values: dict[str, Any] = {}
        for key in item:
            if key in READ_KEYS:
                try:
                    values[key] = self.rendered(host, item[key], str(key))
                    if isinstance(values[key], Sealed):
                        faults.append(f"{key} is encrypted, and the plan has to read it.")
                        values[key] = None
                except AscendError as error:
                    faults.append(str(error))
                    values[key] = None
        passed = {key: item[key] for key in item if key not in SETTLED_KEYS}
        faults += _check_secrets(passed, item.get("args"))
        read: dict[str, Any] = {}
        for key, parse in _PARSERS.items():
            try:
                read[key] = parse(values.get(key))
            except AscendError as error:
                faults.append(str(error))
        request = {key: value for key, value in values.items() if key not in PLAN_KEYS}
        name = ""
        try:
            name = self._name(request, hardware)
        except AscendError as error:
            faults.append(str(error))
        if faults:
            raise AscendError(f"{where}: {' '.join(faults)}")
        if request.get("state") == "absent":
            return None
        for key in item:
            if key not in READ_KEYS:
                request[key] = None  # only that it is there counts
        return Wish(
            name=name,
            request=request,
            passed=passed,
            replicas=read["replicas"],
            hosts=read["hosts"],
            # Two of them on one host could not both listen on a port that is given.
            spread_required=read["spread"] or read["port"] is not None,
            priority=read["priority"],
        )

    def _name(self, request: Mapping[str, Any], hardware: Hardware) -> str:
        """The service's name. Raises AscendError where there is no such model."""
        state = request.get("state")
        if state is not None and state not in STATES:
            raise AscendError(f"state is {shown(state)}; write one of {', '.join(STATES)}.")
        catalogue = self.inventory.catalogue(hardware.tables)
        bare = {key: request[key] for key in ("model", "name") if request.get(key) is not None}
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

    wish: Wish
    hosts: tuple[str, ...]
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.wish.name

    def for_planner(self) -> FleetService:
        cards = self.wish.request.get("cards")
        pinned = tuple(sorted(card_ids(cards, "cards"))) if isinstance(cards, list) else None
        return FleetService(
            name=self.name,
            replicas=self.wish.replicas,
            cards=self.totals,
            hosts=self.hosts,
            spread_required=self.wish.spread_required,
            priority=self.wish.priority,
            pinned=pinned,
            refused=self.refused,
        )


def services_of(
    lists: Iterable[_List], hosts: Mapping[str, Hardware], inventory: Inventory, problems: Problems
) -> dict[str, Service]:
    """The services that all lists ask for, by name, resolved for every kind of candidate host."""
    asked: dict[str, list[tuple[Wish, _List]]] = {}
    for each in lists:
        for name, wish in each.wishes.items():
            asked.setdefault(name, []).append((wish, each))
    candidates: dict[object, tuple[str, ...]] = {}
    kinds: dict[int, dict[str, Hardware]] = {}
    matched: dict[str, frozenset[str]] = {}
    services: dict[str, Service] = {}
    for name in sorted(asked):
        wish, first = asked[name][0]
        for other, each in asked[name][1:]:
            if not other.same(wish):
                problems.add(_difference(name, wish, first.hosts[0], other, each.hosts[0]))
                break
        lists_of_it = [each[1] for each in asked[name]]
        key = (tuple(map(id, lists_of_it)), wish.hosts)
        if key not in candidates:
            names = {host for each in lists_of_it for host in each.hosts}
            if wish.hosts is not None:
                if wish.hosts not in matched:
                    matched[wish.hosts] = inventory.matching(wish.hosts)
                names &= matched[wish.hosts]
            candidates[key] = tuple(sorted(names))
        service = services[name] = Service(wish, candidates[key])
        if not service.hosts:
            problems.add(
                f"service {name}: its hosts, {wish.hosts}, match none of the hosts that list it."
                f" These are {some(sorted({host for each in lists_of_it for host in each.hosts}))}."
            )
            continue
        if id(service.hosts) not in kinds:
            kinds[id(service.hosts)] = {hosts[host].kind: hosts[host] for host in service.hosts}
        sizes = kinds[id(service.hosts)]
        for kind in sorted(sizes):
            try:
                spec, total = _resolved(wish, sizes[kind], inventory.catalogue(sizes[kind].tables))
                _check_args(spec, name, sizes[kind])
                service.specs[kind], service.totals[kind] = spec, total
            except AscendError as error:
                service.refused[kind] = str(error)
    return services


def _difference(name: str, one: Wish, host: str, other: Wish, other_host: str) -> str:
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
        args = {key: None if _sealed(value) else value for key, value in args.items()}
    check_args({**spec, "name": name, "args": args}, hardware.engine_version)


def _sealed(value: object) -> bool:
    if isinstance(value, dict):
        return any(_sealed(item) for item in value.values())
    if isinstance(value, list):
        return any(_sealed(item) for item in value)
    return isinstance(value, Sealed)


def _resolved(wish: Wish, hardware: Hardware, catalogue: Catalogue) -> tuple[dict[str, Any], int]:
    """(the spec on hosts of this kind, how many cards in all). Raises AscendError."""
    size = len(hardware.cards)
    sizes = ("tensor_parallel_size", "pipeline_parallel_size")
    settled = any(wish.request.get(key) is not None for key in sizes)
    try:
        spec = resolve(wish.request, catalogue, hardware.options).as_dict()
    except AscendError:
        # Perhaps the heads do not divide by as many cards as several hosts have.
        if settled:
            raise
        one = {**wish.request, "tensor_parallel_size": 1}
        spec = resolve(one, catalogue, hardware.options).as_dict()
        if int(spec["cards"]) <= size:
            raise
    total = int(spec["cards"])
    if total <= size:
        return spec, total
    if isinstance(wish.request.get("cards"), list):
        raise AscendError(
            f"{spec['model']} names {total} cards, and the host has {size}: cards"
            f" {listed(list(hardware.cards))}."
        )
    count = -(-total // size)
    members = [str(number) for number in range(count)]
    request = {
        **wish.request,
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
        request["tensor_parallel_size"] = tensor
        request["pipeline_parallel_size"] = size * count // tensor
    elif total % size:
        raise AscendError(
            f"{spec['model']} is to be split over {spec['tensor_parallel_size']} x"
            f" {spec['pipeline_parallel_size']} = {total} cards, which is no whole number of hosts"
            f" of {size}. Leave the sizes out, or make the product {size * count}."
        )
    else:
        request.update((key, spec[key]) for key in sizes)
    return resolve(request, catalogue, hardware.options).as_dict(), size * count


# -- what was written by hand ----------------------------------------------------------------------


def given_services(
    reader: Requests, host: str, raw: object, own: Hardware, where: str
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
    catalogue = reader.inventory.catalogue(own.tables)
    for number, item in enumerate(value, 1):
        label = f"{where}, service {number}"
        if is_template(item):
            item = reader.rendered(host, item, label)
        request = {"model": item} if isinstance(item, str) else item
        if isinstance(request, dict):
            read = {*READ_KEYS, "cluster"}
            request = {
                key: reader.rendered(host, held, f"{label}, {key}") if key in read else None
                for key, held in request.items()
            }
        spec = resolve(request, catalogue, own.options).as_dict()
        if spec.get("state") != "absent":
            _check_args(spec, service_name(spec), own)
        cluster = spec.pop("cluster", None)
        if cluster is not None:
            clusters[service_name(spec)] = cluster
        specs.append(spec)
    placed = put(specs, own)
    for service in placed:
        service["cluster"] = clusters.get(service["name"])
    return [service for service in placed if service.get("state") != "absent"]


def fleet_host(name: str, own: Hardware, *, by_hand: bool) -> FleetHost:
    return FleetHost(
        name=name,
        kind=own.kind,
        cards=own.cards,
        excluded=frozenset(own.excluded),
        unit=own.unit,
        open=not by_hand,
    )


def given_spots(host: str, services: Iterable[Mapping[str, Any]]) -> list[Spot]:
    """Services written by hand, as the planner counts them."""
    return [
        Spot(
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
        return self.service.wish.passed

    @property
    def state(self) -> str:
        return str(self.service.wish.request.get("state") or "started")


class Ported:
    """Gives ports to the services of hosts; hosts that are alike are placed once."""

    def __init__(self) -> None:
        self._known: dict[object, list[int]] = {}

    def ports(
        self,
        own: Hardware,
        spots: Sequence[Spot],
        wished: Sequence[int | None],
        standing: Mapping[str, int],
    ) -> list[int]:
        """A port for each spot of a host: the one asked for, else the standing one, else the next.

        Raises AscendError where there is none, or where one is wanted twice.
        """
        kept = [standing.get(spot.name) for spot in spots]
        key = (id(own), tuple((s.cards, w, k) for s, w, k in zip(spots, wished, kept, strict=True)))
        known = self._known.get(key)
        if known is None:
            specs = [
                {
                    "name": spot.name,
                    "cards": len(spot.cards),
                    "pinned_cards": list(spot.cards),
                    "port": port,
                }
                for spot, port in zip(spots, wished, strict=True)
            ]
            stands = {
                spot.name: ExistingPlacement(spot.cards, port)
                for spot, port in zip(spots, kept, strict=True)
                if port is not None
            }
            known = self._known[key] = [int(each["port"]) for each in put(specs, own, stands)]
        return known


def entries(
    own: Hardware,
    spots: Sequence[Spot],
    services: Mapping[str, Service],
    standing: Mapping[str, int],
    ported: Ported,
) -> list[Entry]:
    """The entries of one host, by name. Raises AscendError where ports do not work out."""
    spots = sorted(spots, key=lambda spot: spot.name)
    wished = [_port(services[spot.service].wish.request.get("port")) for spot in spots]
    made = []
    for spot, port in zip(spots, ported.ports(own, spots, wished, standing), strict=True):
        service = services[spot.service]
        spec = service.specs[own.kind]
        settled: dict[str, Any] = {
            "name": spot.name,
            "model": _model(service, spec),
            "cards": list(spot.cards),
            "port": port,
            "max_model_len": spec["max_model_len"],
            "tensor_parallel_size": spec["tensor_parallel_size"],
        }
        if spec["pipeline_parallel_size"] != 1:
            settled["pipeline_parallel_size"] = spec["pipeline_parallel_size"]
        if spot.hosts:
            settled["cluster"] = {
                "leader": spot.leader,
                "rank": spot.rank,
                "hosts": list(spot.hosts),
            }
        made.append(Entry(spot.name, settled, service, spec))
    return made


def _model(service: Service, spec: Mapping[str, Any]) -> str:
    """The model's name, or the hub id that was asked for: different ids are different weights."""
    asked = str(service.wish.request["model"]).strip()
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
    if entry.service.wish.request.get("max_model_len") is not None:
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
