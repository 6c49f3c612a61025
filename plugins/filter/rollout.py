# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters rollout_engines, rollout_targets, rollout_plan and rollout_stopped, thin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils import _rollout
from ansible_collections.inferops.ascend.plugins.plugin_utils._errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plain import plain


def rollout_engines(
    look: Mapping[str, Any], target: object = "", record: object = "", version: object = ""
) -> dict[str, Any]:
    """Where a host stands, and where it goes if it is to go to `target`."""
    data = plain(look, "what vllm_environment returned")
    engines = _rollout.engines_of(data, record)
    back = _rollout.way_back(engines, str(target))
    return {
        "look": {key: data.get(key) for key in ("current", "previous", "environments")},
        "record": str(record),
        "before": engines.current,
        "after": str(target),
        "version": engines.versions.get(str(target)) or str(version),
        "there": str(target) in engines.whole,
        "back": back,
        "back_version": engines.versions.get(back, ""),
        "interrupted": engines.record.state == _rollout.BEGUN
        and engines.record.after == str(target),
    }


def rollout_targets(hosts: Mapping[str, Mapping[str, Any]], wanted: object = "") -> dict[str, str]:
    """`_rollout.targets_back`, with Ansible's error."""
    found = {
        str(name): _rollout.engines_of(each["look"], each["record"])
        for name, each in plain(hosts, "the hosts").items()
    }
    try:
        return _rollout.targets_back(found, wanted)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


def rollout_plan(
    hosts: Sequence[Mapping[str, Any]], action: str, at_once: object = 1, check: bool = False
) -> dict[str, Any]:
    """The waves of a rollout, and what to say of them."""
    members = [
        _rollout.Member(
            name=each["name"],
            services=tuple(each["services"]),
            down=frozenset(each["down"]),
            before=each["before"],
            after=each["after"],
            back=each["back"],
        )
        for each in plain(list(hosts), "the hosts")
    ]
    try:
        number = int(str(at_once))
    except ValueError:
        number = -1
    try:
        groups = _rollout.waves(members, number)
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        "order": [member.name for group in groups for member in group],
        "sizes": [len(group) for group in groups],
        "waves": [[member.name for member in group] for group in groups],
        "partners": _rollout.partners(members),
        "lines": _rollout.lines(groups, action, check),
    }


def rollout_stopped(plan: Mapping[str, Any], host: str, after: str, why: str, back: str) -> str:
    """`_rollout.stopped` of what the filter rollout_plan returned."""
    return _rollout.stopped(plan["waves"], host, after, why, back)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {
            "rollout_engines": rollout_engines,
            "rollout_targets": rollout_targets,
            "rollout_plan": rollout_plan,
            "rollout_stopped": rollout_stopped,
        }
