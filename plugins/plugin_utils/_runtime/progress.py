# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is reported of a rollout: its order before it begins, how far it is, and why it stopped."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence

from .waves import Member, single


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
