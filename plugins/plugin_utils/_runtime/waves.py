# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order hosts change their engine, and what is reported of it.

All of a host changes at once. Two hosts that carry a replica of the same service are never in one wave, so
of each service at most one replica is down at a time.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


# -- what is reported ------------------------------------------------------------------------------


def _short(text: str) -> str:
    """A text for people, with as much of a digest as the container engines show."""
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", text)


def order_lines(
    groups: Sequence[Sequence[Member]],
    action: str,
    check: bool = False,
    elsewhere: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """What is reported before the first service is touched."""
    members = [member for group in groups for member in group]
    to = " and ".join(dict.fromkeys(member.after for member in members))
    count = "1 host" if len(members) == 1 else f"{len(members)} hosts"
    steps = "1 wave" if len(groups) == 1 else f"{len(groups)} waves"
    would = "This would be done, in this order. " if check else ""
    lines = [f"{would}{action.capitalize()} of {count} to {to} in {steps}:"]
    for number, group in enumerate(groups, 1):
        for member in group:
            if member.switches:
                what = f"{member.before or 'nothing'} -> {member.after}"
                what += f", restarts {', '.join(member.services)}" if member.services else ""
            else:
                what = f"has {member.after} already, restarts only what differs"
            lines.append(f"wave {number}: {member.name}: {what}")
            if member.down:
                lines.append(
                    f"  {', '.join(sorted(member.down))} does not serve there now, so this host comes"
                    " first."
                )
            if member.switches and member.services and not member.back:
                lines.append(
                    f"  There is no way back on {member.name}: nothing before {member.after} was made"
                    " by this collection."
                )
    moved = {member.name for member in members if member.switches}
    for service, host in single(members, elsewhere).items():
        if host in moved:
            lines.append(
                f"{service} has no other replica: it is down while {host} restarts it and loads."
            )
    return [_short(line) for line in lines]


def state_lines(
    groups: Sequence[Sequence[Member]], number: int, came_up: Container[str] = ()
) -> list[str]:
    """Which engine hosts have while wave `number` (from 0) is under way, by engine.

    came_up: hosts of that wave that have come up; of its others nothing is known.
    """
    done: dict[str, list[str]] = {}
    rest: dict[str, list[str]] = {}
    for place, group in enumerate(groups):
        for member in group:
            if place == number and member.name not in came_up:
                continue
            if place <= number or not member.switches:
                done.setdefault(member.after, []).append(member.name)
            else:
                rest.setdefault(member.before or "no engine", []).append(member.name)
    lines = [
        *(f"With {engine} already: {', '.join(names)}." for engine, names in done.items()),
        *(
            f"Not touched, still with {engine}: {', '.join(names)}."
            for engine, names in rest.items()
        ),
    ]
    return [_short(line) for line in lines]


def others_down(replies: Sequence[Mapping[str, Any]], host: str) -> str:
    """Why a host is not touched now; "" where all other replicas of its services serve.

    replies: of vllm_status about them, as Ansible registers a loop over hosts with their services.
    """
    down = [each for each in replies if each.get("not_serving")]
    down += [each for each in replies if each.get("unreachable")]
    if not down:
        return ""
    names = sorted({name for each in down for name in each["item"]["value"]})
    return (
        f"{', '.join(each['item']['key'] for each in down)} does not serve all of {', '.join(names)},"
        f" or cannot be reached, so {host} is not touched: two replicas would be down. See why with"
        " the playbook diagnose. A run begins with those of its hosts that do not serve; hosts that"
        " --limit leaves out are not asked with -e vllm_upgrade_elsewhere=false."
    )


def stopped(
    groups: Sequence[Sequence[Member]],
    host: str,
    causes: Mapping[str, str],
    returned: str = "",
    stuck: str = "",
) -> str:
    """What is reported on a host of the wave with which a rollout stops; "" where nothing is wrong.

    causes: by host of the wave that is still reached why it did not come up, "" where it did.
    returned: the engine that the host serves from again, "" for none. stuck: why it could not return.
    """
    number = next(n for n, group in enumerate(groups) if any(m.name == host for m in group))
    wave = {member.name: member for member in groups[number]}
    lost = [name for name in wave if name not in causes]
    cause = causes[host].strip().removeprefix(f"{host}: ")
    if not cause and not lost:
        return ""
    lines = []
    if cause:
        lines.append(f"{host} did not come up with {wave[host].after}: {cause}")
        if stuck:
            lines.append(f"Going back failed as well, see to {host} by hand: {stuck}")
        elif returned:
            lines.append(f"{host} is back on {returned} and serves.")
        else:
            lines.append(f"There was no version to go back to, so {host} stays as it is.")
    if lost:
        lines.append(
            f"{', '.join(lost)} cannot be reached any more, so it is not known whether its services"
            " serve. The run stops here; the next one goes on."
        )
    others = [name for name, reason in causes.items() if reason and name != host]
    if others:
        lines.append(f"Did not come up either: {', '.join(others)}.")
    came_up = [name for name, reason in causes.items() if not reason]
    return _short("\n".join([*lines, *state_lines(groups, number, came_up)]))


def by_host(groups: Sequence[Sequence[Member]]) -> dict[str, list[str]]:
    """What is reported when the wave of a host begins, by host."""
    return {
        member.name: [
            f"Wave {number} of {len(groups)}: {', '.join(each.name for each in group)}.",
            *state_lines(groups, number - 1),
        ]
        for number, group in enumerate(groups, 1)
        for member in group
    }
