# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters inferops.ascend.verdict, verdict_table, verdict_data and wanted_services, thin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift


def wanted_services(
    placed: Sequence[Mapping[str, Any]], version: object, weights_dir: str
) -> list[dict[str, Any]]:
    """`drift.wanted_services`, with Ansible's error."""
    try:
        return drift.wanted_services(placed, version, str(weights_dir))
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


def verdict(wanted: Sequence[Mapping[str, Any]], host: str, **options: Any) -> dict[str, Any]:
    """`drift.judge` as plain data."""
    return drift.as_data(drift.judge(str(host), wanted, **options))


def verdict_data(verdicts: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> dict[str, Any]:
    """The verdicts of all hosts and their sums, in the order of `hosts`."""
    found = [verdicts.get(host) or drift.missing(host) for host in hosts]
    return {**drift.summary(found), "results": found}


def verdict_table(data: Mapping[str, Any]) -> list[str]:
    """`drift.lines`."""
    return drift.lines(data["results"])


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {
            "wanted_services": wanted_services,
            "verdict": verdict,
            "verdict_data": verdict_data,
            "verdict_table": verdict_table,
        }
