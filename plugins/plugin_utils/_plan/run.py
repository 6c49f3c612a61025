# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of the plan: inventory and existing files in, differences and a report out.

Nothing is written before `Run.apply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .._base.errors import AscendError
from .directory import (
    Directory,
    Places,
    adopted_path,
    beside,
    defined_where,
    place_fault,
    read_directory,
    write_problems,
)
from .entries import INSTANCES, Entry, PortAllocator, entries, host_view
from .files import Change
from .fleet import Assignment, FleetPlan
from .hosts import Hardware
from .inventory import Inventory, Problems, some
from .plan_file import PlanFile, Writer
from .planner import plan_fleet
from .requests import SERVICES, RequestReader
from .result import PlanRejected, PlanSettings, Run, notes, unplaced_groups, unplaced_problems
from .services import Service, fleet_host, given_assignments, given_services, services_of


class World(Inventory, Protocol):
    """What a run wants of Ansible besides variables."""

    @property
    def sources(self) -> Sequence[str]:
        """The sources of the inventory, as Ansible has them."""

    @property
    def known(self) -> frozenset[str]:
        """Names of all hosts of the inventory."""

    def load(self, path: Path) -> object:
        """A file of variables as Ansible loads it. Raises AscendError."""


def directories_of(sources: Iterable[str], output: str) -> list[Path]:
    """Every directory whose host_vars Ansible reads, and the output directory, sorted."""
    bases = {Path(directory) for directory in Places(sources, "").directories}
    if output:
        bases.add(Places(sources, output).output)
    return sorted(bases)


def existing_directories(sources: Iterable[str], output: str) -> dict[Path, Directory]:
    """What is in every directory whose host_vars Ansible reads, and in the output directory.

    Raises AscendError where one cannot be read.
    """
    return {base: read_directory(base) for base in directories_of(sources, output)}


@dataclass
class _Host:
    """A host of the plan.

    existing: its file of the plan, if it has one. before: that one or, where the host comes from
    another source now, the one in its old directory: what exists stays all the same.
    """

    name: str
    hardware: Hardware
    directory: Directory
    source: str
    existing: PlanFile | None
    before: PlanFile | None
    given: list[dict[str, Any]] | None = None  # services written by hand


class Planning:
    """A run. directories: what `existing_directories` gave, which the world's variables leave out."""

    def __init__(
        self, world: World, settings: PlanSettings, directories: dict[Path, Directory]
    ) -> None:
        self.world = world
        self.settings = settings
        self.directories = directories
        self.problems = Problems()
        self.places = Places(world.sources, settings.output)
        self.result = Run(settings, directories)
        self.reader = RequestReader(world, self.problems)
        self.elsewhere: dict[str, list[str]] = {}  # hosts outside this plan, by service on them

    def run(self, hosts: Iterable[str], seen: Mapping[str, Sequence[Mapping[str, Any]]]) -> Run:
        """Plan for hosts by name.

        seen: cards of hosts that were asked, as the module npu_info returns them.

        Raises PlanRejected with all that is wrong. A Run whose `ask` is not empty has no plan: these
        hosts do not say what cards they have.
        """
        names = sorted(set(hosts))
        members = [name for name in names if SERVICES in self.world.variables(name)]
        if not members:
            self.problems.add(
                f"{SERVICES} is not set for any host of this plan ({some(names) or 'it has none'}),"
                " so there is nothing to do. Set it in the variables of a group or host:"
                " [{model: Qwen3-14B, replicas: 2}]."
            )
            self._stop()
        found, self.result.ask = self.reader.hardware(members, seen)
        if self.result.ask:
            self._stop()
            return self.result
        planned = {name: host for name in members if (host := self._host(name, found.get(name)))}
        hardware = {name: host.hardware for name, host in planned.items()}
        lists = self.reader.lists(hardware)
        services = services_of(lists, hardware, self.world, self.problems)
        self._stop()
        leavers = list(self._leavers(planned, services))
        self._stop()
        fleet = self._place(planned, services, leavers)
        self._write(planned, services, fleet, leavers)
        self._stop()
        self.result.notes += notes(self.world, services, found, seen)
        return self.result

    def _stop(self) -> None:
        if self.problems:
            raise PlanRejected(self.problems.found())

    def _host(self, name: str, hardware: Hardware | None) -> _Host | None:
        raw = self.world.variables(name)
        try:
            base, source = self.places.of(raw.get("inventory_dir"), raw.get("inventory_file"))
        except AscendError as error:
            self.problems.add(str(error), name)
            return None
        if hardware is None:
            return None
        directory = self.directories.setdefault(base, Directory(base))
        existing = directory.plans.get(name)
        before = existing
        if existing is None and not self.settings.output:
            found = [each.plans[name] for each in self.directories.values() if name in each.plans]
            before = found[0] if found else None
        host = _Host(name, hardware, directory, source, existing, before)
        by_hand = directory.by_hand.get(name)
        # With variables loaded at the start (run_vars_plugins), the plan's own file shows here.
        ours = before is not None and before.describes(raw.get(INSTANCES))
        if (INSTANCES in raw and not ours) or by_hand is not None:
            self._take_as_given(host, raw, by_hand)
        if host.given is None:
            for text, about in write_problems(
                directory,
                name,
                self.world.known,
                self.settings.extensions,
                adopt=self.settings.adopt,
            ):
                self.problems.add(text, about)
        return host

    def _take_as_given(self, host: _Host, raw: Mapping[str, Any], by_hand: Path | None) -> None:
        where = by_hand
        if INSTANCES in raw and (where is None or self.settings.output):
            groups = raw.get("group_names") or []
            bases = [Path(base) for base in self.places.directories]
            playbook = raw.get("playbook_dir")
            bases += [Path(str(playbook))] if playbook else []
            where = defined_where(host.name, ["all", *groups], bases, self.marked_source()) or where
        location = str(where) if where else "the inventory or an extra variable"
        if host.existing is not None:
            self.problems.add(
                f"{INSTANCES} is written by hand in {location}, and by the plan in"
                f" {host.existing.path}; one of them hides the other. Delete the plan's file to"
                " keep what is written by hand, or take that out to have the host planned.",
                host.name,
            )
            return
        try:
            value = raw[INSTANCES] if INSTANCES in raw else self._loaded(by_hand)
            host.given = given_services(self.reader, host.name, value, host.hardware, INSTANCES)
        except AscendError as error:
            at = "" if location in str(error) else f" That is written by hand in {location}."
            self.problems.add(f"{error}{at}", host.name)
            host.given = []
            return
        self.result.notes.append(
            f"{host.name}: its services are written by hand in {location}; they are taken as they are,"
            " and nothing else is placed there."
        )

    def marked_source(self) -> set[Path]:
        return {
            each.path
            for directory in self.directories.values()
            for each in directory.plans.values()
        }

    def _loaded(self, path: Path | None) -> object:
        content = self.world.load(path) if path is not None else None
        if not isinstance(content, Mapping) or INSTANCES not in content:
            raise AscendError(
                f"{path} does not set {INSTANCES}, and has no mark of the plan's. Set it there, or"
                " delete the file to have the host planned."
            )
        return content[INSTANCES]

    def _leavers(
        self, hosts: Mapping[str, _Host], services: Mapping[str, Service]
    ) -> Iterable[tuple[Directory, str, PlanFile]]:
        """Files of the plan for hosts that are no longer planned here."""
        for base, directory in sorted(self.directories.items()):
            if self.settings.output and base != self.places.output:
                continue
            for name, existing in directory.plans.items():
                if name in hosts:
                    if hosts[name].directory is directory:
                        continue
                    # The host has moved to another source, and Ansible reads both directories.
                elif not self.places.speaks_for(base, existing.source):
                    continue  # another inventory's
                elif name in self.world.known and SERVICES in self.world.variables(name):
                    # Perhaps planned with another group.
                    for service in services.keys() & set(existing.names):
                        self.elsewhere.setdefault(service, []).append(name)
                    continue
                if existing.fault:
                    self.problems.add(existing.fault)
                    continue
                if not place_fault(directory, name):
                    yield directory, name, existing

    def _place(
        self,
        hosts: Mapping[str, _Host],
        services: Mapping[str, Service],
        leavers: Iterable[tuple[Directory, str, PlanFile]],
    ) -> FleetPlan:
        existing: list[Assignment] = []
        given: list[Assignment] = []
        for name, host in hosts.items():
            if host.given is not None:
                given += given_assignments(name, host.given)
            elif host.before is not None:
                existing += host.before.assignments
        for _directory, name, left in leavers:
            existing += () if name in hosts else left.assignments
        fleet = plan_fleet(
            [
                fleet_host(name, host.hardware, by_hand=host.given is not None)
                for name, host in hosts.items()
            ],
            [service.for_planner() for service in services.values()],
            existing,
            given,
            repack=self.settings.repack,
        )
        if fleet.unplaced:
            raise PlanRejected(unplaced_problems(fleet.unplaced), unplaced_groups(fleet.unplaced))
        added = {each.service for each in fleet.moved if each.before is None}
        for service in sorted(added & self.elsewhere.keys()):
            self.result.warnings.append(
                f"service {service} is added, and is also on {some(self.elsewhere[service])}, which"
                " this plan leaves out: these are not counted as its replicas. To have them counted,"
                " plan all hosts that list it at once."
            )
        return fleet

    def _write(
        self,
        hosts: Mapping[str, _Host],
        services: Mapping[str, Service],
        fleet: FleetPlan,
        leavers: Iterable[tuple[Directory, str, PlanFile]],
    ) -> None:
        assignments: dict[str, list[Assignment]] = {}
        for assignment in fleet.assignments:
            assignments.setdefault(assignment.host, []).append(assignment)
        writer, allocator = Writer(), PortAllocator()
        shown_hosts = []
        for name, host in hosts.items():
            made: list[Entry] = []
            if host.given is None:
                ports = host.before.ports if host.before else {}
                try:
                    made = entries(
                        host.hardware, assignments.get(name, ()), services, ports, allocator
                    )
                except AscendError as error:
                    self.problems.add(str(error), name)
                    continue
                self._change(host, writer.text(made, host.source))
                self._report_lost(host, made)
            shown_hosts.append(host_view(name, host.hardware, host.given, made))
        for directory, name, existing in leavers:
            change = Change(name, existing.path, existing.text, None)
            self.result.changes.setdefault(directory.base, []).append(change)
        self.result.plan = {
            "hosts": shown_hosts,
            "changes": [
                {
                    "service": each.service,
                    "before": _location(each.before),
                    "after": _location(each.after),
                }
                for each in fleet.moved
            ],
        }

    def _change(self, host: _Host, text: str) -> None:
        before = host.existing.text if host.existing else None
        files = beside(host.directory, host.name, self.settings.extensions)
        adopt = files[0] if files else None
        adopted = adopted_path(host.directory, host.name, adopt) if adopt else None
        change = Change(host.name, host.directory.target(host.name), before, text, adopt, adopted)
        if change.is_change:
            self.result.changes.setdefault(host.directory.base, []).append(change)
        if adopt:
            done = "would be moved" if self.settings.check else "is moved"
            self.result.notes.append(f"{host.name}: {adopt} {done} to {adopted}.")

    def _report_lost(self, host: _Host, made: Iterable[Entry]) -> None:
        """Name what somebody wrote into a file of the plan, and moves do not show."""
        names = {entry.name for entry in made}
        found = host.existing.unplaced_names if host.existing else ()
        lost = [name for name in found if name not in names]
        if lost:
            self.result.notes.append(
                f"{host.name}: {', '.join(lost)} in {host.directory.target(host.name)} was not written"
                f" by the plan, and is removed. What is to be served belongs into {SERVICES}."
            )


def _location(assignment: Assignment | None) -> dict[str, Any] | None:
    return (
        None if assignment is None else {"host": assignment.host, "cards": list(assignment.cards)}
    )
