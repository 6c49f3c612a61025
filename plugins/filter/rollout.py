# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters rollout_*, thin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._model import tables as _tables
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime import rollout
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import removal


def rollout_images(units: object, record: object = "", present: object = ()) -> dict[str, Any]:
    """`rollout.look_at_images`."""
    there = plain(present, "the images that are there")
    return rollout.look_at_images(str(units), rollout.read_record(record), list(there))


def rollout_names(requests: object, tables: object = None) -> list[str]:
    """Names of the services that a host's variables list, as far as they can be read."""
    try:
        catalogue = _tables.load_catalogue(tables or None)
        return removal.listed_names(plain(requests, "vllm_service_instances"), catalogue)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


def rollout_engines(
    look: Mapping[str, Any], target: object = "", record: object = "", version: object = ""
) -> dict[str, Any]:
    """Where a host stands, and where it goes if it is to go to `target`."""
    data = plain(look, "what vllm_environment returned")
    engines = rollout.engines_of(data, record)
    back = rollout.way_back(engines, str(target))
    return {
        "look": {key: data.get(key) for key in ("current", "previous", "environments")},
        "record": str(record),
        "before": engines.current,
        "after": str(target),
        "version": engines.versions.get(str(target)) or str(version),
        "there": str(target) in engines.whole,
        "back": back,
        "back_version": engines.versions.get(back, ""),
        "interrupted": engines.record.state == rollout.BEGUN,
    }


def rollout_targets(hosts: Mapping[str, Mapping[str, Any]], wanted: object = "") -> dict[str, str]:
    """`rollout.targets_back`, with Ansible's error."""
    found = {
        str(name): rollout.engines_of(each["look"], each["record"])
        for name, each in plain(hosts, "the hosts").items()
    }
    try:
        return rollout.targets_back(found, wanted)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


def rollout_plan(
    hosts: Sequence[Mapping[str, Any]],
    action: str,
    at_once: object = 1,
    check: bool = False,
    elsewhere: Mapping[str, Sequence[str]] | None = None,
    outage: bool = True,
) -> dict[str, Any]:
    """The waves of a rollout, and what to say of them."""
    members = _members(hosts)
    others = plain(elsewhere or {}, "services elsewhere")
    try:
        number = int(str(at_once))
    except ValueError:
        number = -1
    try:
        groups = rollout.waves(members, number)
        if not outage:
            rollout.refuse_outage(members, others)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error
    count = len(groups)
    return {
        "hosts": [{**asdict(m), "down": sorted(m.down)} for m in members],
        "order": [member.name for group in groups for member in group],
        "sizes": [len(group) for group in groups],
        "waves": [[member.name for member in group] for group in groups],
        "partners": rollout.partners(members, others),
        "lines": rollout.lines(groups, action, check, others),
        "standing": {
            member.name: [
                f"Wave {place + 1} of {count}: {', '.join(each.name for each in group)}.",
                *rollout.standing(groups, place),
            ]
            for place, group in enumerate(groups)
            for member in group
        },
    }


def _members(hosts: Sequence[Mapping[str, Any]]) -> list[rollout.Member]:
    return [
        rollout.Member(
            name=each["name"],
            services=tuple(each["services"]),
            down=frozenset(each["down"]),
            before=each["before"],
            after=each["after"],
            back=each["back"],
        )
        for each in plain(list(hosts), "the hosts")
    ]


def rollout_stopped(plan: Mapping[str, Any], host: str, whys: Mapping[str, str], back: str) -> str:
    """`rollout.stopped` of what the filter rollout_plan returned."""
    data = plain(plan, "the plan")
    members = {member.name: member for member in _members(data["hosts"])}
    groups = [[members[name] for name in group] for group in data["waves"]]
    return rollout.stopped(groups, str(host), plain(whys, "the causes"), str(back))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {
            "rollout_engines": rollout_engines,
            "rollout_images": rollout_images,
            "rollout_names": rollout_names,
            "rollout_targets": rollout_targets,
            "rollout_plan": rollout_plan,
            "rollout_stopped": rollout_stopped,
        }
