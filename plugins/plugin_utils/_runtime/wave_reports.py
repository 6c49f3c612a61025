# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is reported before, during and after a rollout."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .waves import Member, Unit, single, units


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
        for unit in units(group):
            for member in unit.members:
                if member.switches:
                    what = f"{member.before or 'nothing'} -> {member.after}"
                    what += f", restarts {', '.join(member.services)}" if member.services else ""
                else:
                    what = f"has {member.after} already, restarts only what differs"
                lines.append(f"wave {number}: {member.name}: {what}")
            lines += _unit_lines(unit)
    for service, unit in single(members, elsewhere).items():
        if unit.switches:
            many = len(unit.hosts) > 1
            lines.append(
                f"{service} has no other replica: it is down while {', '.join(unit.hosts)}"
                f" {'restart it and load' if many else 'restarts it and loads'}."
            )
    return [_short(line) for line in lines]


def _unit_lines(unit: Unit) -> list[str]:
    """What is to be known of hosts that change together."""
    names, many = ", ".join(unit.hosts), len(unit.hosts) > 1
    lines = []
    if many:
        lines.append(f"  {names} change together, because of {', '.join(unit.spanning)}.")
    if unit.down:
        hosts = "these hosts come" if many else "this host comes"
        lines.append(
            f"  {', '.join(sorted(unit.down))} does not serve there now, so {hosts} first."
        )
    if unit.switches and unit.services and not all(member.back for member in unit.members):
        after = " and ".join(dict.fromkeys(member.after for member in unit.members))
        why = (
            f"not each of them has an engine before {after}, of one version and made by this collection"
            if many
            else f"nothing before {after} was made by this collection"
        )
        lines.append(f"  There is no way back on {names}: {why}.")
    return lines


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


def apart(
    unit: Sequence[str], present: Container[str], reached: Mapping[str, Any], point: str
) -> str:
    """Why a host cannot go on together with the others of its unit; "" where all are at the point.

    unit: names of its hosts. present: hosts that are still reached. reached: by host the last point
    that it came to.
    """
    lost = [host for host in unit if host not in present]
    late = [host for host in unit if host in present and reached.get(host) != point]
    texts = [f"{', '.join(lost)} cannot be reached any more"] if lost else []
    texts += [f"it failed on {', '.join(late)}"] if late else []
    return " and ".join(texts) + ", and these hosts change together." if texts else ""


@dataclass(frozen=True)
class Outcome:
    """How a host of a wave ended, as far as it is still reached.

    cause: why it did not come up, "" where it did. returned: the engine that it serves from again, ""
    for none. stuck: why it could not return. gateways: which of them do not send it requests, and why.
    """

    cause: str = ""
    returned: str = ""
    stuck: str = ""
    gateways: str = ""


def stopped(groups: Sequence[Sequence[Member]], host: str, outcomes: Mapping[str, Outcome]) -> str:
    """What is reported on a host of the wave with which a rollout stops; "" where nothing is wrong.

    outcomes: by host of the wave that is still reached.
    """
    number = next(n for n, group in enumerate(groups) if any(m.name == host for m in group))
    wave = [member.name for member in groups[number]]
    unit = next(unit for unit in units(groups[number]) if host in unit.hosts)
    failed = [name for name in wave if name in outcomes and outcomes[name].cause]
    lost = [name for name in wave if name not in outcomes]
    left_out = outcomes[host].gateways if host in outcomes else ""
    if host not in failed and not lost and not left_out:
        return ""
    lines = []
    if host in failed:
        lines += _failed(unit, {name: outcomes[name] for name in unit.hosts if name in outcomes})
    if left_out:
        lines.append(
            f"Not all gateways send requests to {host} again, so the run stops: {left_out}"
        )
    if lost:
        lines.append(
            f"{', '.join(lost)} cannot be reached any more, so it is not known whether its services"
            " serve. The run stops here; the next one goes on."
        )
    others = [name for name in failed if name not in unit.hosts]
    if others:
        lines.append(f"Did not come up either: {', '.join(others)}.")
    came_up = [name for name in outcomes if name not in failed]
    return _short("\n".join([*lines, *state_lines(groups, number, came_up)]))


def _failed(unit: Unit, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Why the hosts of a unit did not come up, and what they serve from now."""
    names, many = ", ".join(unit.hosts), len(unit.hosts) > 1
    after = " and ".join(dict.fromkeys(member.after for member in unit.members))
    lines = [f"{names} did not come up with {after}:"]
    causes = {
        host: each.cause.strip().removeprefix(f"{host}: ")
        for host, each in outcomes.items()
        if each.cause
    }
    if many:
        lines += [f"  {host}: {cause}" for host, cause in causes.items()]
    else:
        lines[0] += " " + "".join(causes.values())
    stuck = {host: each.stuck for host, each in outcomes.items() if each.stuck}
    returned = dict.fromkeys(each.returned for each in outcomes.values() if each.returned)
    if stuck:
        reasons = [f"{host}: {text}" for host, text in stuck.items()] if many else stuck.values()
        lines.append(f"Going back failed as well, see to {names} by hand: {' '.join(reasons)}")
    elif len(outcomes) < len(unit.hosts):
        lines.append(
            f"{', '.join(outcomes)} did not go back, because what a host that is not reached serves from"
            " is not known."
        )
    elif returned:
        serves = "are back on {} and serve" if many else "is back on {} and serves"
        lines.append(f"{names} {serves.format(' and '.join(returned))}.")
    else:
        stays = "they stay as they are" if many else f"{names} stays as it is"
        lines.append(f"There was no version to go back to, so {stays}.")
    return lines


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
