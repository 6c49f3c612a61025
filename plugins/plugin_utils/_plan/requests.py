# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests for services of a fleet: the lists that hosts have in vllm_plan_services, read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._base.errors import AscendError
from .._base.systemd import MANAGED
from .._base.values import kind_of, shown, whole_number
from .._model.identify import identify
from .._model.request import REQUEST_KEYS, Request, unread_key
from .._model.resolve import Options, resolve
from .._place.names import service_name
from .._place.ports import PORT_MAX, PORT_MIN
from .._place.service import STATES
from .hosts import Hardware, HostReader
from .inventory import Inventory, Problems, TaggedValue, holds_template, is_template

SERVICES = "vllm_plan_services"
# A variable, or several joined by +: its value can be read as it was written.
_NAMES = re.compile(r"\{\{-?\s*([A-Za-z_]\w*(?:\s*\+\s*[A-Za-z_]\w*)*)\s*-?\}\}", re.ASCII)
_LEVELS = 10  # of variables that name variables
# Keys of a request that the planner reads, and which are rendered for that.
# More than any fleet has cards.
_MOST_REPLICAS = 65536
PLAN_KEYS = ("replicas", "hosts", "spread", "priority")
# What the plan settles for each host, and therefore writes itself.
SETTLED_KEYS = frozenset(PLAN_KEYS).union(
    ("name", "model", "cards", "port", "max_model_len"),
    ("data_parallel_size", "tensor_parallel_size", "pipeline_parallel_size", "engine"),
)
# What is rendered, because the plan or the lookup reads it.
READ_KEYS = SETTLED_KEYS.union(
    ("gpu_memory_utilization", "args", "kind", "huggingface", "modelscope"),
    ("card_memory_gb", "state", "config", "path", "recipe", "share"),
)
# What the lookup, the placement and the plan return.
RESULT_KEYS = frozenset(
    ("cluster", "devices", "hccl_ports", "kv_ports", "min_cards", "native_context")
).union(("pinned_cards", "provenance", "recipe_env", "warnings"))
_SECRET_ENV = frozenset(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY"))


@dataclass(frozen=True)
class PlanRequest:
    """One request for a service.

    values: what is resolved, rendered. passed: the other keys as they were written. replicas: None
    for one on each candidate. hosts: a pattern that narrows them.
    """

    name: str
    values: Mapping[str, Any]
    passed: Mapping[str, Any]
    replicas: int | None
    hosts: str | None
    spread_required: bool
    priority: int
    port: int | None = None

    def compared(self) -> dict[str, Any]:
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
    if number is None or not 1 <= number <= _MOST_REPLICAS:
        raise AscendError(
            f"replicas is {shown(value)}; a number of 1 to {_MOST_REPLICAS} is needed, or all for one on each host."
        )
    return number


def _spread(value: object) -> bool:
    if value not in (None, "preferred", "required"):
        raise AscendError(f"spread is {shown(value)}; write preferred or required.")
    return value == "required"


def _priority(value: object) -> int:
    if value is None:
        return 0
    text = value.strip() if isinstance(value, str) else ""
    number = whole_number(text[1:] if text.startswith("-") else text or value)
    if number is None:
        raise AscendError(f"priority is {shown(value)}; an integer is needed.")
    return -number if text.startswith("-") else number


def _port(value: object) -> int | None:
    if value is None:
        return None
    number = whole_number(value)
    if number is None or not PORT_MIN <= number <= PORT_MAX:
        raise AscendError(
            f"port is {shown(value)}; a number of {PORT_MIN} to {PORT_MAX} is needed."
        )
    return number


PARSERS: Mapping[str, Callable[[object], Any]] = {
    "replicas": _replicas,
    "hosts": _pattern,
    "spread": _spread,
    "priority": _priority,
    "port": _port,
}


def _hidden(value: object) -> bool:
    """Whether a value tells nothing to those who read it: a template, or encrypted."""
    return value.tag == "!vault" if isinstance(value, TaggedValue) else is_template(value)


def _has_password(address: str) -> bool:
    try:
        return bool(urlsplit(address).password)
    except ValueError:  # no address; the weights say so where they are read
        return False


def secret_faults(passed: Mapping[str, Any], args: object) -> Iterable[str]:
    """What would be in the plan for all to read."""
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
            f"{name} is in plain text, and the plan is a file that others read. Put the"
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


def key_fault(key: object, model: str) -> str | None:
    """What is wrong with a key of a request for a plan."""
    if not isinstance(key, str):
        return f"it has the key {shown(key)}, which is not a text."
    if key in RESULT_KEYS:
        return f"the key {key} is set by the plan or the placement. Leave it out."
    if key in REQUEST_KEYS:
        return None
    try:
        return unread_key(key, model or "it")
    except AscendError as error:
        return str(error)


@dataclass(eq=False)
class RequestList:
    """A list of requests that several hosts share, read once."""

    items: list[Any]
    hosts: list[str] = field(default_factory=list)
    requests: dict[str, PlanRequest] = field(default_factory=dict)
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

    def _request(self, host: str, item: Any, where: str, hardware: Hardware) -> PlanRequest | None:
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
        return PlanRequest(
            name=name,
            values=values,
            passed=passed,
            replicas=read["replicas"],
            hosts=read["hosts"],
            # Two of them on one host could not both listen on a port that is given.
            spread_required=read["spread"] or read["port"] is not None,
            priority=read["priority"],
            port=read["port"],
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
        if state != "absent":
            options = hardware.options
            hub = options.hub if options.estimate else None
            identify(Request.parse(values), catalogue, hub)  # raises, with the closest names
        return service_name(absent)
