# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parts of a start and the known failures, from ``vars/``, as the host's module takes them.

The shipped files are checked against their schemas by the tests, not at run time.
"""

from __future__ import annotations

from typing import Any

from .._base.data import vars_file

# The files of vars/failures/ in their order.
SUBJECTS = (
    "group",
    "unit",
    "environment",
    "cards",
    "options",
    "weights",
    "memory",
    "ranks",
    "cann",
    "end",
)


def _read(name: str, key: str, *kept: str) -> list[dict[str, Any]]:
    return [{k: each[k] for k in kept if k in each} for each in vars_file(name)[key]]


def phases() -> list[dict[str, Any]]:
    """The phases of a start in order: {name, lines (patterns)}."""
    return _read("start_phases.yml", "phases", "name", "lines")


def phase_texts() -> dict[str, str]:
    """What people read of each phase, by its name."""
    return {each["name"]: each["text"] for each in vars_file("start_phases.yml")["phases"]}


def failures() -> list[dict[str, Any]]:
    """The failures in order: {id, lines, results?, statuses?, telling?, besides?, cause, advice, retry,
    source}."""
    texts = ("cause", "advice", "retry", "source")
    kept = ("id", "lines", "results", "statuses", "telling", "besides", *texts)
    return [each for name in SUBJECTS for each in _read(f"failures/{name}.yml", "failures", *kept)]
