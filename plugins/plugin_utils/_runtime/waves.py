# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order hosts change their engine.

All of a host changes at once, and so do all hosts of a service that spans several: they are one unit. Two
units that carry a replica of the same service are never in one wave, so of each service at most one
replica is down at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .._base.errors import AscendError


@dataclass(frozen=True)
class Member:
    """A host of a rollout.

    services: those that it should serve. down: those of them that do not serve now.
    before, after: names of engines, before empty where there is none. back: the one to return to
    if `after` does not come up; empty where there is none.
    spans: by service that spans several hosts the names of these.
    """

    name: str
    services: tuple[str, ...] = ()
    down: frozenset[str] = frozenset()
    before: str = ""
    after: str = ""
    back: str = ""
    spans: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def switches(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True)
class Unit:
    """Hosts that change together: one, or all that services over several hosts connect."""

    members: tuple[Member, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for member in self.members for name in member.services))

    @property
    def down(self) -> frozenset[str]:
        """Services that do not serve on one of its hosts."""
        return frozenset(name for member in self.members for name in member.down)

    @property
    def spanning(self) -> tuple[str, ...]:
        """Services over several of its hosts."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.spans))

    @property
    def switches(self) -> bool:
        return any(member.switches for member in self.members)


def units(members: Iterable[Member]) -> list[Unit]:
    """The hosts in units, each at the place of its first host.

    Hosts that services span and that are not among the members are not in any.
    """
    found: list[list[Member]] = []
    for member in members:
        hosts = {member.name, *(host for each in member.spans.values() for host in each)}
        joined = [
            unit
            for unit in found
            if any(
                each.name in hosts or any(member.name in span for span in each.spans.values())
                for each in unit
            )
        ]
        found = [unit for unit in found if unit not in joined[1:]]
        if joined:
            joined[0].extend([each for unit in joined[1:] for each in unit] + [member])
        else:
            found.append([member])
    return [Unit(tuple(unit)) for unit in found]


def waves(members: Sequence[Member], at_once: int = 1) -> list[list[Member]]:
    """The hosts in waves of at most `at_once` units (0: as many as can go together), in order.

    Units on which a service does not serve come first: while its replica there is down, another one
    must not be taken down. Otherwise the given order stays. The first wave is one unit alone, so that
    a version that does not work is seen on one. A unit comes after all units before it in the order
    that share a service with it.

    Raises AscendError for `at_once` below 0.
    """
    if at_once < 0:
        raise AscendError(
            f"vllm_upgrade_hosts_at_once is {at_once}; it must be a number of hosts, or 0 for as many as"
            " can go together."
        )
    found: list[list[Unit]] = []
    last: dict[str, int] = {}  # the wave that a service was in last
    for unit in sorted(units(members), key=lambda each: not each.down):
        number = max((last.get(service, -1) + 1 for service in unit.services), default=0)
        while number < len(found) and (
            (number == 0 and found[0]) or (at_once and len(found[number]) >= at_once)
        ):
            number += 1
        while number >= len(found):
            found.append([])
        found[number].append(unit)
        last.update(dict.fromkeys(unit.services, number))
    return [[member for unit in group for member in unit.members] for group in found]


def single(
    members: Iterable[Member], elsewhere: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Unit]:
    """Services with one replica, and the unit that has it. `elsewhere`: names of services by other host."""
    carriers: dict[str, list[Unit]] = {}
    for unit in units(members):
        for service in unit.services:
            carriers.setdefault(service, []).append(unit)
    others = {service for services in (elsewhere or {}).values() for service in services}
    return {
        service: found[0]
        for service, found in sorted(carriers.items())
        if len(found) == 1 and service not in others
    }


def partners(
    members: Sequence[Member], elsewhere: Mapping[str, Sequence[str]] | None = None
) -> dict[str, dict[str, list[str]]]:
    """By host the others with replicas of services that it serves now: {host: {other: services}}.

    Those have to serve before this host goes down. What does not serve in its unit is not lost by it.
    `elsewhere`: names of services by host that is not among the members.
    """
    others = {**{member.name: member.services for member in members}, **(elsewhere or {})}
    found: dict[str, dict[str, list[str]]] = {}
    for unit in units(members):
        for member in unit.members:
            serving = [each for each in member.services if each not in unit.down]
            shared = {
                other: [each for each in serving if each in services]
                for other, services in others.items()
                if other not in unit.hosts
            }
            found[member.name] = {other: services for other, services in shared.items() if services}
    return found


def check_outage(
    members: Sequence[Member], elsewhere: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Raise AscendError where a service that serves would be down completely."""
    lost = [
        f"{service} on {', '.join(unit.hosts)}"
        for service, unit in single(members, elsewhere).items()
        if unit.switches and service not in unit.down
    ]
    if lost:
        raise AscendError(
            f"with vllm_upgrade_outage: false no service may be down, and {', '.join(lost)} has no other"
            " replica. No service was touched. Add a replica (vllm_plan_services, then plan and deploy),"
            " leave such hosts out with --limit, or allow it with -e vllm_upgrade_outage=true."
        )


def ways_back(members: Sequence[Member], versions: Mapping[str, str]) -> list[Member]:
    """The members, of which those of a unit return only if all of them can, to one version.

    versions: of vLLM by host, in the engine that it would return to.
    """
    kept = {
        host
        for unit in units(members)
        if all(member.back for member in unit.members)
        and len({versions.get(host) for host in unit.hosts}) == 1
        for host in unit.hosts
    }
    return [member if member.name in kept else replace(member, back="") for member in members]
