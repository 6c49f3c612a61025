# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""To which engine a rollback takes the hosts, where nobody names it."""

from __future__ import annotations

from collections.abc import Mapping

from .._base.errors import AscendError
from .engines import Engines, State


def targets_back(hosts: Mapping[str, Engines], wanted: str = "") -> dict[str, str]:
    """The engine that a rollback takes each of these hosts to.

    `wanted`: its name, or its version of vLLM where one environment of a host has that; else it is the
    one that is current or was the one before on every host, and that none of them was rolled back from.
    Where no name fits all, their versions of vLLM are compared instead.
    So a rollback that was interrupted goes on to the same engine, and a second one changes nothing.

    Raises AscendError where hosts do not have it, where none or several fit.
    """
    name = wanted.strip()
    if name:
        found = {host: each.named(name) for host, each in hosts.items()}
        lacking = [host for host, target in found.items() if not target]
        if lacking:
            raise AscendError(
                f"{name} is not there on {', '.join(lacking)}, so nothing was changed anywhere. A"
                " rollback downloads nothing: name one that each host has in vllm_rollback_version,"
                f" or install it with the playbook upgrade.\n{_table(hosts)}"
            )
        return found
    chosen = _fitting(hosts)
    if len(chosen) == 1:
        return dict.fromkeys(hosts, chosen[0])
    # Hosts with other chips have other images, of one version all the same.
    versions = _fitting({host: each.by_version() for host, each in hosts.items()})
    if not chosen and len(versions) == 1:
        found = {host: each.named(versions[0]) for host, each in hosts.items()}
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
            or (candidate == each.previous and candidate in each.present)
            or (each.record.state is State.BEGUN and candidate == each.record.before)
            for each in hosts.values()
        ):
            fitting.append(candidate)
    moving = [n for n in fitting if any(each.current != n for each in hosts.values())]
    again = [
        n for n in fitting if any(each.record.after == n for each in hosts.values()) and left - {""}
    ]
    return moving or again


def _table(hosts: Mapping[str, Engines]) -> str:
    lines = []
    for host, each in hosts.items():
        others = [name for name in each.present if name != each.current]
        before = f", before {each.previous}" if each.previous else ""
        lines.append(
            f"  {host}: current {each.current or 'none'}{before}; also there:"
            f" {', '.join(others) or 'none'}"
        )
    return "\n".join(lines)
