# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order hosts change their engine.

All of a host changes at once. Two hosts that carry a replica of the same service are never in one wave, so
of each service at most one replica is down at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._base.errors import AscendError


@dataclass(frozen=True)
class Member:
    """A host of a rollout.

    services: those that it should serve. down: those of them that do not serve now.
    before, after: names of engines, before empty where there is none. back: the one to return to
    if `after` does not come up; empty where there is none.
    """

    name: str
    services: tuple[str, ...] = ()
    down: frozenset[str] = frozenset()
    before: str = ""
    after: str = ""
    back: str = ""

    @property
    def switches(self) -> bool:
        return self.before != self.after


def waves(members: Sequence[Member], at_once: int = 1) -> list[list[Member]]:
    """The hosts in waves of at most `at_once` (0: as many as can go together), in order.

    Hosts on which a service does not serve come first: while its replica there is down, another one
    must not be taken down. Otherwise the given order stays. The first wave is one host alone, so that
    a version that does not work is seen on one. A host comes after all hosts before it in the order
    that share a service with it.

    Raises AscendError for `at_once` below 0.
    """
    if at_once < 0:
        raise AscendError(
            f"vllm_upgrade_hosts_at_once is {at_once}; it must be a number of hosts, or 0 for as many as"
            " can go together."
        )
    found: list[list[Member]] = []
    last: dict[str, int] = {}  # the wave that a service was in last
    for member in sorted(members, key=lambda each: not each.down):
        number = max((last.get(service, -1) + 1 for service in member.services), default=0)
        while number < len(found) and (
            (number == 0 and found[0]) or (at_once and len(found[number]) >= at_once)
        ):
            number += 1
        while number >= len(found):
            found.append([])
        found[number].append(member)
        last.update(dict.fromkeys(member.services, number))
    return found


def single(
    members: Iterable[Member], elsewhere: Mapping[str, Sequence[str]] | None = None
) -> dict[str, str]:
    """Services with one replica: {service: host}. `elsewhere`: names of services by other host."""
    carried = {member.name: member.services for member in members}
    hosts: dict[str, list[str]] = {}
    for host, services in [*carried.items(), *(elsewhere or {}).items()]:
        for service in services:
            hosts.setdefault(service, []).append(host)
    return {
        service: names[0]
        for service, names in sorted(hosts.items())
        if len(names) == 1 and names[0] in carried
    }


def partners(
    members: Sequence[Member], elsewhere: Mapping[str, Sequence[str]] | None = None
) -> dict[str, dict[str, list[str]]]:
    """By host the others with replicas of services that it serves now: {host: {other: services}}.

    Those have to serve before this host goes down. What does not serve on it is not lost by it.
    `elsewhere`: names of services by host that is not among the members.
    """
    others = {**{member.name: member.services for member in members}, **(elsewhere or {})}
    found: dict[str, dict[str, list[str]]] = {}
    for member in members:
        serving = [each for each in member.services if each not in member.down]
        shared = {
            other: [each for each in serving if each in services]
            for other, services in others.items()
            if other != member.name
        }
        found[member.name] = {other: services for other, services in shared.items() if services}
    return found


def check_outage(
    members: Sequence[Member], elsewhere: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Raise AscendError where a service that serves would be down completely."""
    moved = {member.name: member for member in members if member.switches}
    lost = [
        f"{service} on {host}"
        for service, host in single(members, elsewhere).items()
        if host in moved and service not in moved[host].down
    ]
    if lost:
        raise AscendError(
            f"with vllm_upgrade_outage: false no service may be down, and {', '.join(lost)} has no other"
            " replica. No service was touched. Add a replica (vllm_plan_services, then plan and deploy),"
            " leave such hosts out with --limit, or allow it with -e vllm_upgrade_outage=true."
        )
