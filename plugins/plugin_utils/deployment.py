# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host serves: requests resolved, placed, and checked against the host.

`check_declared` computes it from variables alone, before any contact; `check` once more from what
the host is. Preflight reports it, the services' files are rendered from it, readiness waits for it,
verify compares with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ._base.data import role_defaults, vars_file
from ._base.errors import AscendError
from ._base.values import flat
from ._host.addresses import group_address
from ._host.checks import HostChecks, name_of
from ._host.preflight import check_host
from ._host.services import check_services
from ._model import needs, recipes, versions
from ._model.catalogue import Catalogue, load_catalogue
from ._model.identify import OnHost
from ._model.profiles import load_profiles
from ._model.resolve import Options
from ._model.sharing import shared_positions
from ._model.spec import Spec
from ._model.terms import resolve_terms
from ._place.host_cards import HostCards, host_devices
from ._place.host_state import HostState
from ._place.names import check_accounts
from ._place.placement import place
from ._place.service import PlacedService, ServiceRequest, existing_placements
from ._service import causes
from ._service.engine import check_args, weights_directory
from ._service.group_files import group_secrets
from ._service.removal import listed_names
from ._service.services import check_envs, template
from ._service.unit import FILES, PRIVATE
from .groups import check_ranks, is_awaited, requested, spans_hosts
from .settings import Settings

_Wanted = tuple[Spec, ServiceRequest]  # what is served, and what it asks of the placement


class Deployment:
    """The services of one host: resolved when it is made, placed as soon as its cards are known.

    What only its weights on the host tell of is resolved when their configuration was read.

    Attributes:
        specs: the resolved requests, in the order written.
        services: the placed services; those that could not be placed are missing.
        state: what they were placed on; None before.
        group_address: {address, interface, port_base} at which the other hosts of a service reach this one;
            None before, or where no service spans hosts.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        """Resolve the requests. Raises AscendError for one that cannot be resolved."""
        self.settings = settings
        self.catalogue = catalogue
        self.services: list[PlacedService] = []
        self.state: HostState | None = None
        self.group_address: dict[str, Any] | None = None
        if settings.services and settings.card_memory_gb is None:
            raise AscendError(
                "ascend_host_profile is not set, so nothing tells what cards the host has. Set it to"
                f" one of {', '.join(load_profiles())}, or set vllm_service_cards and"
                " vllm_service_card_memory_gb."
            )
        # By the position of their requests.
        self._on_host = [OnHost() for each in settings.requests]
        self._sharing = shared_positions(settings.requests)
        self._resolved = [self._resolve(n, settings.lookup) for n in range(len(self._on_host))]
        self._take()

    def _resolve(self, position: int, options: Options) -> list[Spec]:
        """The specs of a request. Raises AscendError."""
        request, on_host = self.settings.requests[position], self._on_host[position]
        options = replace(options, shares_cards=position in self._sharing)
        found = resolve_terms([request], self.catalogue, replace(options, on_host=on_host))
        if any(spec.waits and self._weights(spec) is None for spec in found):
            return resolve_terms([request], self.catalogue, options)  # raises
        return found

    def _weights(self, spec: Spec) -> str | None:
        return weights_directory(spec.as_dict(), self.settings.weights_dir)

    def _take(self) -> None:
        """Set what follows from the resolved requests. Raises AscendError."""
        self.specs = [spec for found in self._resolved for spec in found]
        self._wanted: list[_Wanted] = [
            (spec, ServiceRequest.parse(spec.as_dict())) for spec in self.specs if not spec.waits
        ]

    def read(self, configurations: Mapping[str, Any]) -> list[tuple[Spec, AscendError]]:
        """Resolve what waits for its weights; return what cannot be resolved, and why.

        configurations: by directory, as host_info returns them.
        """
        faults = []
        for position, found in enumerate(self._resolved):
            for spec in [each for each in found if each.waits]:
                directory = str(self._weights(spec))
                try:
                    if directory not in configurations:
                        raise AscendError(
                            f"What {spec.model} takes follows from its weights in {directory} on the"
                            " host, which were not read. The role ascend_host reads them: run it"
                            " before vllm_service, as the playbook deploy does."
                        )
                    self._on_host[position] = OnHost(directory, configurations[directory])
                    self._resolved[position] = self._resolve(position, self.settings.lookup)
                except AscendError as error:
                    faults.append((spec, error))
        self._take()
        return faults

    # -- before contact -----------------------------------------------------------------------

    def check_declared(self) -> None:
        """Check what can be checked without the host.

        Raises AscendError for services that the declared cards cannot carry, for options in `args`
        that the version of the engine does not read, for variables that are not meant literally, and for
        services over several hosts without a secret.
        """
        requests = list(self.settings.requests)
        if self.settings.services is not self.settings.instances:
            # They are not what this host is checked for, but are deployed in the same play.
            requests += flat(self.settings.instances or [])
        for request in requests:
            if isinstance(request, Mapping):
                check_args(request, self.settings.options_version)
                check_envs(request, self.settings.unit)
        for each in requested(requests, lambda: self.catalogue):
            group_secrets(self.settings.unit, each["name"])
        cards = self.settings.declared_cards
        if cards is not None:
            # The host's own range of ephemeral ports is not known yet.
            self.place(HostState(cards, ephemeral_ports=()))

    def place(self, state: HostState) -> None:
        """Place all services. Raises AscendError for what has no room."""
        self.state = state
        self.services = self._placed(self._wanted, state)

    # -- with what the host shows -------------------------------------------------------------

    def check(self, facts: Mapping[str, Any]) -> HostChecks:
        """Place on the real cards, and report all that is wrong with the host and its services.

        facts: what the module host_info returns.
        """
        configurations = facts.get("configurations") or {}
        faults = self.read(configurations)
        checks = check_host(facts, self.settings, self.specs)
        for spec, error in faults:
            checks.error("configuration", f"service {name_of(spec)}", str(error), "")
        self._check_requests(checks)
        read = [each.directory for each in self._on_host if each.directory in configurations]
        self.state = state = HostState(
            checks.cards,
            checks.unavailable,
            checks.existing,
            checks.ephemeral_ports,
            {directory: configurations[directory] for directory in read},
        )
        # Services are never placed on cards that nobody has seen.
        self.services = self._place_what_fits(checks, state) if checks.cards else []
        check_services(checks, self.services)
        self._find_group_address(checks)
        return checks

    def _find_group_address(self, checks: HostChecks) -> None:
        if not any(spans_hosts(spec.as_dict()) for spec in self.specs):
            return
        settings = self.settings
        try:
            address, interface = group_address(
                checks.facts["addresses"], settings.cluster_address, settings.cluster_interface
            )
            self.group_address = {
                "address": address,
                "interface": interface,
                "port_base": settings.cluster_port_base,
            }
        except AscendError as error:
            checks.error("cluster", "services over several hosts", str(error), "")

    def _check_requests(self, checks: HostChecks) -> None:
        """What the requests come to on the memory that is really there, if it is another."""
        if checks.real_profile is None:
            return
        options = replace(
            self.settings.lookup,
            card_memory_gb=checks.real_profile.card_memory_gb,
            profile=checks.real_profile.name,
        )
        for position, request in enumerate(self.settings.requests):
            try:
                self._resolve(position, options)
            except AscendError as error:
                name = request.get("model") if isinstance(request, Mapping) else request
                subject = f"{name} on {checks.real_profile.name}"
                checks.error("model", subject, str(error), "")

    def _place_what_fits(self, checks: HostChecks, state: HostState) -> list[PlacedService]:
        """The services that have room together; each other one is a finding of its own."""
        try:
            return self._placed(self._wanted, state)
        except AscendError:
            pass  # raised again below for the service that it is about
        together: list[_Wanted] = []
        placed: list[PlacedService] = []
        for wanted in self._wanted:
            try:
                self._placed([wanted], state)
                placed = self._placed([*together, wanted], state)
                together.append(wanted)
            except AscendError as error:
                checks.error("placement", f"service {wanted[1].name}", str(error), "")
        return placed

    def _placed(self, wanted: Sequence[_Wanted], state: HostState) -> list[PlacedService]:
        settings = self.settings
        unavailable = settings.unavailable_cards
        existing = settings.existing
        if not settings.user:
            check_accounts(request.name for _spec, request in wanted)
        placed = place(
            [request for _spec, request in wanted],
            HostCards.parse(
                self._cards(state.cards),
                settings.excluded_cards,
                state.unavailable if unavailable is None else unavailable,
                settings.cards_per_board,
            ),
            settings.ports(state.ephemeral_ports),
            state.existing if existing is None else existing_placements(existing),
        )
        return [
            PlacedService(spec, each, settings.user_of(each.name))
            for (spec, _request), each in zip(wanted, placed, strict=True)
        ]

    def _cards(self, real: object) -> object:
        """The cards that services may use: of the real ones those that vllm_service_cards names."""
        named = self.settings.named_cards
        if named is None or named == real:
            return real
        if not isinstance(real, list) or not real:
            return named
        wanted = host_devices(named)
        return [card for card in real if card["logic_id"] in wanted]

    # -- results ------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        return len(self.services) == len(self.specs)

    def as_dict(self) -> dict[str, Any]:
        """What later tasks use, in plain types and without what is private.

        services: the placed services. started: the names of those that should run. origins: for
        each service, the position of its request in `settings.requests`. fingerprint: of the
        variables that this was computed from. state: what the services were placed on.
        group_address: as the attribute. spans_hosts: whether a service that should run does.
        """
        origins = {id(spec): n for n, found in enumerate(self._resolved) for spec in found}
        return {
            "services": [public(service.as_dict()) for service in self.services],
            "started": [
                service.name for service in self.services if service.spec.state == "started"
            ],
            "origins": [origins[id(service.spec)] for service in self.services],
            # Without one, nobody takes a part of the services for all of them.
            "fingerprint": self.settings.fingerprint if self.is_complete else "",
            "state": self.state.as_dict() if self.state else None,
            "group_address": self.group_address,
            "spans_hosts": any(
                service.spec.state == "started" and spans_hosts(service.spec.as_dict())
                for service in self.services
            ),
        }


def declared(settings: Settings, catalogue: Callable[[], Catalogue], host: str) -> Deployment:
    """The services of a host by its variables alone, checked as far as that goes.

    host: its name in the inventory. Raises AscendError.
    """
    settings.check()
    deployment = Deployment(settings, catalogue())
    deployment.check_declared()
    check_ranks([spec.as_dict() for spec in deployment.specs], host)
    return deployment


def services_to_render(
    settings: Settings, catalogue: Callable[[], Catalogue], earlier: object
) -> list[dict[str, Any]]:
    """The placed services with their private keys.

    earlier: what `as_dict` returned in an earlier task, if there was one. It is used as it is where
    the variables are still the same; else what it knows of the host is.

    Raises AscendError.
    """
    settings.require_services()
    known = earlier if isinstance(earlier, Mapping) else {}
    if _is_of(known, settings):
        pairs = zip(known["services"], known["origins"], strict=True)
        return [{**service, **_private(settings.requests[place])} for service, place in pairs]
    deployment = Deployment(settings, catalogue())
    given = known.get("state")
    state = HostState.from_dict(given) if given else HostState(settings.declared_cards)
    for _spec, error in deployment.read(state.configurations):
        raise error
    deployment.place(state)
    return [service.as_dict() for service in deployment.services]


def names_of_awaited(
    settings: Settings, catalogue: Callable[[], Catalogue], earlier: object, hosts: Sequence[str]
) -> list[str]:
    """Names of the services that should serve here, without resolving or placing them.

    earlier: as in `services_to_render`. hosts: of the run. Raises AscendError where no variable lists
    the services.
    """
    settings.require_services()
    known = earlier if isinstance(earlier, Mapping) else {}
    if _is_of(known, settings):
        others = {each["name"] for each in known["services"] if not is_awaited(each, hosts)}
        return [name for name in known["started"] if name not in others]
    requests = [
        request
        for request in settings.requests
        if not isinstance(request, Mapping) or request.get("state", "started") == "started"
        if is_awaited(request, hosts)
    ]
    return listed_names(requests, catalogue())


def _is_of(earlier: Mapping[str, Any], settings: Settings) -> bool:
    return bool(earlier.get("fingerprint") == settings.fingerprint)


def preload() -> None:
    """Read the shipped data, which is then in the memory of every process that is forked."""
    load_catalogue()
    load_profiles()
    vars_file("vllm_options.json")
    vars_file("named_files.yml")
    versions.rows()
    needs.load_needs()
    recipes.load_recipes()
    causes.phase_texts()
    for each in (*FILES["files"], *FILES["instance_files"]):
        template(each["src"])
    for role in ("ascend_host", "vllm_service", "vllm_runtime"):
        role_defaults(role)


def public(service: Mapping[str, Any]) -> dict[str, Any]:
    """A service without its private keys."""
    return {key: value for key, value in service.items() if key not in PRIVATE}


def _private(request: object) -> dict[str, Any]:
    given = request if isinstance(request, Mapping) else {}
    return {key: given[key] for key in PRIVATE if given.get(key) is not None}
