# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A request for a service of a fleet, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .._base.errors import AscendError
from .._base.systemd import MANAGED
from .._base.values import kind_of, shown, whole_number
from .._model.request import REQUEST_KEYS, unread_key
from .._place.ports import PORT_MAX, PORT_MIN
from .inventory import TaggedValue, is_template

# Keys of a request that the planner reads, and which are rendered for that.
PLAN_KEYS = ("replicas", "hosts", "spread", "priority")
# What the plan settles for each host, and therefore writes itself.
SETTLED_KEYS = frozenset(PLAN_KEYS).union(
    ("name", "model", "cards", "port", "max_model_len"),
    ("tensor_parallel_size", "pipeline_parallel_size"),
)
# What is rendered, because the plan or the lookup reads it.
READ_KEYS = SETTLED_KEYS.union(
    ("gpu_memory_utilization", "args", "kind", "huggingface", "modelscope"),
    ("card_memory_gb", "state"),
)
# What the lookup, the placement and the plan return.
RESULT_KEYS = frozenset(
    ("cluster", "devices", "hccl_ports", "min_cards", "native_context", "pinned_cards")
).union(("provenance", "warnings"))
_SECRET_ENV = frozenset(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY"))


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
    text = value.strip() if isinstance(value, str) else ""
    number = whole_number(text[1:] if text.startswith("-") else text or value)
    if number is None:
        raise AscendError(f"priority is {shown(value)}; an integer is needed.")
    return -number if text.startswith("-") else number


def parse_port(value: object) -> int | None:
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
    "port": parse_port,
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
        return f"it has the key {shown(key)}, which is no text."
    if key in RESULT_KEYS:
        return f"the key {key} is set by the plan or the placement. Leave it out."
    if key in REQUEST_KEYS:
        return None
    try:
        return unread_key(key, model or "it")
    except AscendError as error:
        return str(error)
