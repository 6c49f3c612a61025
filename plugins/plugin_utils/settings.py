# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the variables of a host say, read once.

The defaults are those in `roles/*/defaults/main.yml`, which the roles themselves and the plan use.
A variable that is not set there (null) follows from another one; which one is written here alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ._base.errors import AscendError
from ._base.values import flat, kind_of, shown
from ._base.variables import Reader, Variables
from ._model.arguments import any_length
from ._model.hub import Hub, hub_of_host
from ._model.options import named_list
from ._model.profiles import Profile, profile
from ._model.request import parse_card_memory
from ._model.resolve import DEFAULT_CARD_MEMORY_GB, Options
from ._place.host_cards import card_ids
from ._place.names import account_name
from ._place.ports import EPHEMERAL_PORTS, PortSettings
from ._place.variables import PLACEMENT_VARIABLES, PORT_VARIABLES
from ._service.group import PORTS
from ._service.unit import PRIVATE, UnitSettings

# A deployment depends on it too; a plan reads the existing placement from its own file.
_EXISTING = "vllm_service_standing"


def _text(*names: str) -> cached_property[str]:
    return cached_property(lambda settings: settings._variables.text(*names))


def _texts(*names: str) -> cached_property[tuple[str, ...]]:
    return cached_property(lambda settings: settings._variables.texts(*names))


def _flag(name: str) -> cached_property[bool]:
    return cached_property(lambda settings: settings._variables.flag(name))


def _seconds(name: str) -> cached_property[float]:
    return cached_property(lambda settings: settings._variables.seconds(name))


def _choice(options: Sequence[str], *names: str) -> cached_property[str]:
    return cached_property(lambda settings: settings._variables.choice(options, *names))


def _error_of(read: Callable[[], object]) -> Iterator[AscendError]:
    try:
        read()
    except AscendError as error:
        yield error


class Settings:
    """The settings of one host; each is read and checked when it is first needed.

    Every attribute raises AscendError, which names the variable, where its value cannot be used.
    """

    def __init__(self, read: Reader, scratch: Path | None = None) -> None:
        """scratch: a directory of this run on the controller, if there is one."""
        self._variables = Variables(read)
        self._scratch = scratch

    def check(self) -> None:
        """Read all settings. Raises AscendError for the first that cannot be used."""
        for problem in self.problems():
            raise problem

    def problems(self) -> Iterator[AscendError]:
        """What is wrong with each setting that cannot be used; some settings follow from others."""
        for name, kind in vars(type(self)).items():
            if isinstance(kind, (property, cached_property)):
                yield from _error_of(partial(getattr, self, name))
        for read in (self.ports, self._check_kernel):
            yield from _error_of(read)

    # -- what the host is ---------------------------------------------------------------------

    @cached_property
    def profile(self) -> Profile | None:
        """The declared hardware profile."""
        name = self._variables.text("ascend_host_profile")
        return profile(name) if name else None

    @cached_property
    def named_cards(self) -> object:
        """vllm_service_cards: a number, logic ids or npu_info's records; None if not set."""
        cards = self._variables.value("vllm_service_cards")
        return None if cards == "" else cards

    @cached_property
    def declared_cards(self) -> object:
        """The cards that variables declare, by name or by the profile; None if they do not."""
        if self.named_cards is None and self.profile is not None:
            return self.profile.cards
        return self.named_cards

    @cached_property
    def card_memory_gb(self) -> float | None:
        """Nominal memory of one card in GB; None if undeclared."""
        name = "vllm_service_card_memory_gb"
        memory = self._variables.value(name)
        if memory is not None:
            return parse_card_memory(memory, name)
        return self.profile.card_memory_gb if self.profile else None

    @property
    def cards_per_board(self) -> int:
        """Devices on one card as it is built in; a power of two."""
        return self.cards_per_board_of(self.profile)

    def cards_per_board_of(self, kind: Profile | None) -> int:
        """The same for a host of a kind that was found by its cards."""
        number = self._variables.number("vllm_service_cards_per_board")
        if number is None:
            number = kind.cards_per_board if kind else 1
        if not 1 <= number <= 64 or number & (number - 1):
            raise AscendError(
                f"vllm_service_cards_per_board is {number}; a power of two up to 64 is needed."
            )
        return number

    @cached_property
    def excluded_cards(self) -> tuple[int, ...]:
        """Logic ids that no service may use."""
        name = "vllm_service_excluded_cards"
        if self._variables.value(name) is None:
            name = "ascend_host_excluded_cards"
        return tuple(card_ids(self._variables.value(name) or [], name))

    @cached_property
    def unavailable_cards(self) -> dict[int, str] | None:
        """Reasons by logic id, where the user gives them; None leaves it to what the host shows."""
        name = "vllm_service_unavailable_cards"
        value = self._variables.mapping(name)
        if value is None:
            return None
        return dict(zip(card_ids(list(value), name), map(str, value.values()), strict=True))

    @cached_property
    def existing(self) -> dict[str, Any] | None:
        """Cards and port by service, where the user gives them (vllm_service_standing)."""
        return self._variables.mapping(_EXISTING)

    def ports(self, ephemeral: Sequence[int] = EPHEMERAL_PORTS) -> PortSettings:
        """Where ports are taken from. ephemeral: the host's range, where no variable gives one."""
        given = self._variables.value("vllm_service_ephemeral_ports")
        away = list(ephemeral) if given is None else given
        api, hccl, count, kv, group = (self._variables.value(name) for name in PORT_VARIABLES)
        try:
            return PortSettings.parse(api, hccl, count, kv, group, PORTS, away)
        except AscendError as error:
            raise AscendError(f"vllm_service_{error}") from error

    # -- what it serves -----------------------------------------------------------------------

    @cached_property
    def services(self) -> list[Any] | None:
        """The requests that count, as written; None where no variable lists any."""
        given = self._list_of_services("ascend_host_services")
        return self.instances if given is None else given

    @cached_property
    def instances(self) -> list[Any] | None:
        """What vllm_service_instances lists, also where the host is checked for other services."""
        return self._list_of_services("vllm_service_instances")

    def _list_of_services(self, name: str) -> list[Any] | None:
        value = self._variables.value(name)
        if value is None or isinstance(value, list):
            return value
        if isinstance(value, (str, dict)):
            return [value]
        raise AscendError(
            f"{name} is {kind_of(value)}; a list of services is needed, such as"
            " [{model: Qwen3-14B}], or [] for none."
        )

    def require_services(self) -> None:
        """Raises AscendError where no variable lists the services."""
        if self.services is None:
            raise AscendError(
                "vllm_service_instances is not defined for this host. List what it serves, or [] where"
                " it serves nothing."
            )

    @cached_property
    def requests(self) -> list[Any]:
        """The requests in one flat list; empty where no variable lists any."""
        return flat(self.services or [])

    @cached_property
    def fingerprint(self) -> str:
        """Equal where requests, without what is private, and the variables of placement are."""
        requests = [
            {key: item for key, item in request.items() if key not in PRIVATE}
            if isinstance(request, dict)
            else request
            for request in self.requests
        ]
        names = (*PLACEMENT_VARIABLES, _EXISTING)
        read = [requests, *(self._variables.value(name) for name in names)]
        return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:32]

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Paths of the user's model tables, as written."""
        name = "vllm_service_model_tables"
        if self._variables.value(name) is None:
            name = "ascend_model_tables"
        return self._variables.texts(name)

    @cached_property
    def lookup(self) -> Options:
        """How requests are resolved."""
        return Options(
            card_memory_gb=DEFAULT_CARD_MEMORY_GB
            if self.card_memory_gb is None
            else self.card_memory_gb,
            estimate=self._variables.flag("vllm_service_estimate"),
            allow_untested=self._variables.flag("vllm_service_allow_untested"),
            profile=self.profile.name if self.profile else None,
            engine_version=self.engine_version,
            any_length=any_length(self.env),
            hub=self.hub,
        )

    @cached_property
    def hub(self) -> Hub | None:
        """Where an estimate finds the configuration of a model of which nothing is known."""
        return hub_of_host(self._variables, self._scratch)

    # -- how it serves ------------------------------------------------------------------------

    # The version of vLLM that configuration is written for.
    engine_version = _text("vllm_service_engine_version")

    @cached_property
    def version_row(self) -> dict[str, Any]:
        """A row of the version matrix of the user's own (vllm_runtime_row)."""
        return self._variables.mapping("vllm_runtime_row") or {}

    @cached_property
    def options_version(self) -> str:
        """The version whose options count: what vllm_runtime_row names, else the engine's."""
        return named_list(self.version_row.get("options"), self.engine_version)

    method = _choice(
        ("venv", "container", "external"), "vllm_service_method", "vllm_runtime_method"
    )

    @property
    def in_containers(self) -> bool:
        return self.method == "container"

    container_engine = _choice(
        ("podman", "docker"), "vllm_service_container_engine", "vllm_runtime_container_engine"
    )
    container_image = _text("vllm_service_container_image", "vllm_runtime_image")
    executable = _text("vllm_service_executable")
    weights_dir = _text("ascend_host_weights_dir", "vllm_service_weights_dir")
    user = _text("ascend_host_user", "vllm_service_user")
    groups = _texts("ascend_host_groups", "vllm_service_groups")
    cann_scripts = _texts("ascend_host_cann_scripts", "vllm_service_cann_scripts")

    def user_of(self, service: str) -> str:
        """The account of the host as which a service's processes run."""
        return self.user or account_name(service)

    @cached_property
    def env(self) -> dict[str, Any]:
        """Environment variables of every service."""
        return self._variables.mapping("vllm_service_env") or {}

    @cached_property
    def unit(self) -> UnitSettings:
        """How the files of services are written."""
        resolved = ("options_version", "method", "container_engine", "container_image")
        values: dict[str, object] = {}
        for each in fields(UnitSettings):
            name = f"vllm_service_{each.name}"
            known = each.name in resolved
            values[name] = getattr(self, each.name) if known else self._variables.value(name)
        return UnitSettings.of(values)

    # Of services over several hosts.
    cluster_address = _text("vllm_service_cluster_address")
    cluster_interface = _text("vllm_service_cluster_interface")

    @property
    def cluster_port_base(self) -> int:
        """The first port of the first card."""
        return self.ports().group_base

    lock_timeout = _seconds("vllm_service_lock_timeout")

    @cached_property
    def converge(self) -> dict[str, Any]:
        """Options of systemd_instances that say how a run goes about it."""
        found: dict[str, Any] = {
            "restart": self._variables.choice(("now", "deferred"), "vllm_service_restart"),
            "free_timeout": self._variables.seconds("vllm_service_free_timeout"),
            "adopt": self._variables.flag("vllm_service_adopt"),
            "lock_timeout": self.lock_timeout,
        }
        npu_smi = self._variables.text("vllm_service_npu_smi", "ascend_host_npu_smi")
        return {**found, **({"npu_smi": npu_smi} if npu_smi else {})}

    @cached_property
    def ready(self) -> dict[str, Any]:
        """Whether a deploy waits until the services serve, how long, and how often it asks."""
        names = ("timeout", "interval", "unreachable_timeout")
        found = {name: self._variables.seconds(f"vllm_service_ready_{name}") for name in names}
        return {**found, "wait": self._variables.flag("vllm_service_wait")}

    # -- what is checked ----------------------------------------------------------------------

    @cached_property
    def checked_version(self) -> str | None:
        """The version that the host's engine is compared with; None for none, as in containers."""
        return self._of_the_host("ascend_host_engine_version", self.engine_version)

    @cached_property
    def checked_executable(self) -> str | None:
        return self._of_the_host("ascend_host_executable", self.executable)

    @cached_property
    def checked_scripts(self) -> tuple[str, ...]:
        if self._variables.value("ascend_host_cann_scripts") is None and self.in_containers:
            return ()
        return self.cann_scripts

    @cached_property
    def checks(self) -> dict[str, str]:
        """Severities by check, where the user sets them."""
        found = self._variables.mapping("ascend_host_checks") or {}
        return {str(code): str(severity) for code, severity in found.items()}

    accepted_health = _texts("ascend_host_accepted_health")
    put_back = _flag("vllm_service_put_back")
    stop_on_error = _flag("ascend_host_stop_on_error")
    prepare = _flag("ascend_host_prepare")

    @cached_property
    def tuning(self) -> str:
        """What happens to the kernel's settings: present, absent or none."""
        value = self._variables.value("ascend_host_tuning")
        if value in (None, ""):
            return "none"
        try:
            return "present" if self._variables.flag("ascend_host_tuning") else "absent"
        except AscendError as error:
            raise AscendError(
                f"ascend_host_tuning is {shown(value)}. Write true to tune the host, false to take the"
                " tuning back, or leave it empty."
            ) from error

    def _check_kernel(self) -> None:
        """What a host is tuned to is read by the role's tasks alone, after contact."""
        self._variables.mapping("ascend_host_sysctl")
        self._variables.text("ascend_host_governor")
        self._variables.choice(("auto", "stop", "keep"), "ascend_host_irqbalance")

    npu_smi = _text("ascend_host_npu_smi")

    @cached_property
    def timeout(self) -> float:
        """Seconds that one call of npu-smi may take."""
        seconds = self._variables.seconds("ascend_host_timeout")
        if not seconds:
            raise AscendError("ascend_host_timeout is 0; a number of seconds above 0 is needed.")
        return seconds

    def _of_the_host(self, name: str, otherwise: str) -> str | None:
        value = self._variables.value(name)
        if value is None:
            return None if self.in_containers else otherwise
        return self._variables.text(name) or None
