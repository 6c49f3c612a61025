# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of engine, CANN and Python against one row of the version matrix."""

from __future__ import annotations

import re

from .._model import versions
from .._model.options import missing_list
from .checks import HostChecks


def check_versions(checks: HostChecks) -> None:
    _check_options(checks)
    wanted = checks.options.engine_version
    if wanted is None:
        return
    row = checks.options.version_row
    if row is None:
        row = versions.row_of(wanted)
    if row is None:
        checks.warning(
            "versions",
            f"vLLM {wanted}",
            f"the version matrix has no row for it (it has {versions.known_versions()}).",
            "Which CANN it needs is in the release notes of vllm-ascend.",
        )
        return
    if row.cann is not None:
        _check_cann(checks, row.title, row.cann)
    _check_engine(checks, wanted, row)


def _check_options(checks: HostChecks) -> None:
    version = checks.options.options_version
    missing = missing_list(version) if version else None
    if missing:
        checks.warning(
            "versions",
            "options",
            f"{missing}.",
            "vllm_runtime_row can name another list (options: 0.23.0).",
        )


def _check_cann(checks: HostChecks, vllm: str, cann: str) -> None:
    facts, options = checks.facts, checks.options
    driver = facts["npu"]["driver_version"] or "of unknown version"
    unit = f"vLLM {vllm} goes with CANN {cann}"
    # What counts is the CANN that services source, not the one where it usually is.
    scripts = {path: facts["cann"].get(path) for path in options.scripts}
    sourced = {path: version for path, version in scripts.items() if version is not None}
    if not scripts and facts["npu"]["cann_version"] is not None:
        sourced = {"CANN": facts["npu"]["cann_version"]}
    if not sourced:
        checks.warning(
            "versions",
            "CANN",
            f"its version cannot be read; {unit} (driver {driver}).",
            f"Searched for it next to {', '.join(scripts) or '/usr/local/Ascend'}.",
        )
    for path, installed in sourced.items():
        if str(installed).lower() == cann.lower():
            continue
        fitting = [each for each in versions.rows() if each.cann == installed]
        final = [each for each in fitting if not each.candidate] or fitting
        others = " or ".join(dict.fromkeys(each.title for each in final))
        instead = f" CANN {installed} goes with vLLM {others}." if others else ""
        checks.error(
            "versions",
            "CANN",
            f"CANN {installed} is installed{'' if path == 'CANN' else f' at {path}'}; {unit}"
            f" (driver {driver}).{instead}",
            f"Install CANN {cann}, or set vllm_service_engine_version to the engine that is"
            " installed.",
        )


def _check_engine(checks: HostChecks, wanted: str, row: versions.VersionRow) -> None:
    engine = checks.facts["engine"]
    found = engine["vllm"]
    wanted = row.vllm if row.matches(wanted) else wanted
    if found is not None and _release(found) != _release(wanted):
        checks.error(
            "versions",
            "vLLM",
            f"vLLM {found} is installed, vllm_service_engine_version is {wanted}: options would"
            " be checked against the wrong version.",
            f"Set vllm_service_engine_version to {found}, or install {wanted}.",
        )
    for key, expected in (("vllm_ascend", row.vllm_ascend), ("torch_npu", row.torch_npu)):
        found = engine[key]
        if None not in (found, expected) and _release(found) != _release(expected):
            checks.error(
                "versions",
                key,
                f"{key} {found} is installed; vLLM {row.title} goes with {expected}.",
                "One row of the matrix is one unit: install all of it.",
            )
    python = engine["python"]
    if python is not None:
        number = [int(part) for part in str(python).split(".")[:2] if part.isdigit()]
        low, high = ([int(part) for part in each.split(".")] for each in row.python)
        if not low <= number <= high:
            checks.error(
                "versions",
                "Python",
                f"the engine has Python {python}; vLLM {row.vllm} needs {row.python[0]} to"
                f" {row.python[1]}.",
                "Create the engine's environment again with such a Python.",
            )


def _release(version: object) -> tuple[str, ...]:
    """The parts of a version as PyPI counts releases: without `+local` and `.postN`.

    `0.18.0rc1` and `0.18.0` differ, `2.9` and `2.9.0` do not.
    """
    text = str(version).strip().lower().partition("+")[0]
    parts = [part for part in re.split(r"[.\-_]", text) if not part.startswith("post")]
    while len(parts) > 1 and parts[-1] == "0":
        parts.pop()
    return tuple(parts)
