# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of driver, access to the cards, CANN and the engine, and of their versions."""

from __future__ import annotations

import re

from .._model import versions
from .._model.options import missing_list
from .checks import HostChecks


def check_driver(checks: HostChecks) -> None:
    driver = checks.facts["driver"]
    if not driver["version_info_exists"]:
        checks.error(
            "driver",
            driver["version_info"],
            "the file is missing: the driver is not installed, or somewhere else.",
            "Install the driver's package. /etc/ascend_install.info names its directory"
            " (Driver_Install_Path_Param).",
        )
    if not driver["install_info_exists"]:
        checks.warning(
            "driver",
            "/etc/ascend_install.info",
            "the file is missing, so it is not known whether the driver is complete.",
            "The driver's installer writes it. In a container, pass it in.",
        )
    elif driver["install_status"] != "complete":
        status = driver["install_status"]
        checks.error(
            "driver",
            "/etc/ascend_install.info",
            f"Driver_Install_Status is {status}, not complete."
            if status
            else "Driver_Install_Status=complete is not in it.",
            "An installation was broken off: install the driver again with --full and reboot.",
        )


def check_access(checks: HostChecks) -> None:
    known, user = set(checks.facts["groups"]), checks.facts["user"]
    for group in checks.settings.groups:
        if group not in known:
            checks.error(
                "access",
                f"group {group}",
                "there is no such group on this host.",
                "The driver's installation makes it, and the device nodes belong to it."
                " Install the driver, or name the right groups in vllm_service_groups.",
            )
        elif user["exists"] and group not in user["groups"]:
            checks.warning(
                "access",
                f"user {user['name']}",
                f"the user is not in the group {group}: npu-smi answers -8005 to it.",
                f"The role vllm_service adds it; by hand, `usermod -aG {group} {user['name']}`.",
            )
    closed: dict[str, list[str]] = {}
    for path, device in checks.facts["devices"].items():
        mode = int(device["mode"] or "0", 8)
        open_to_group = device["group"] in checks.settings.groups and mode & 0o060 == 0o060
        if checks.settings.groups and not open_to_group and mode & 0o006 != 0o006:
            who = f"{device['mode']}, group {device['group'] or device['gid']}"
            closed.setdefault(who, []).append(path)
    for who, nodes in closed.items():
        checks.error(
            "access",
            ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""),
            f"the groups {', '.join(checks.settings.groups)} may not open them ({who}).",
            "Set vllm_service_groups to the group of the nodes, or fix the driver's udev rule.",
        )


def check_cann(checks: HostChecks) -> None:
    for path in checks.settings.checked_scripts:
        if not checks.facts["files"].get(path, {}).get("exists"):
            checks.error(
                "cann",
                path,
                "the script is missing; the engine would not find libascend_hal.so, libhccl.so"
                " or libatb.so.",
                "Install the CANN toolkit and NNAL, or set vllm_service_cann_scripts to where"
                " they are.",
            )


def check_engine(checks: HostChecks) -> None:
    path = checks.settings.checked_executable
    if path is None or not checks.started:
        return
    state = checks.facts["files"].get(path, {})
    if not state.get("executable"):
        checks.error(
            "engine",
            path,
            "there is no such program." if not state.get("exists") else "it is not a program.",
            "Install vLLM and vllm-ascend, or set vllm_service_executable to where it is.",
        )


_OTHER_LIST = "vllm_runtime_row can name another list (options: 0.23.0)."


def check_versions(checks: HostChecks) -> None:
    """Engine, CANN and Python against one row of the version matrix."""
    version = checks.settings.options_version
    missing = missing_list(version) if version else None
    wanted = checks.settings.checked_version
    row = checks.version_row
    if row is None and wanted is not None:
        row = versions.row_of(wanted)
        if row is None:
            checks.warning(
                "versions",
                f"vLLM {wanted}",
                f"the version matrix has no row for it (it has {versions.known_versions()})."
                + (f" {missing}." if missing else ""),
                "Which CANN it needs is in the release notes of vllm-ascend."
                + (f" {_OTHER_LIST}" if missing else ""),
            )
            return
    if missing:
        checks.warning("versions", "options", f"{missing}.", _OTHER_LIST)
    if wanted is None or row is None:
        return
    if row.cann is not None:
        _check_cann(checks, row.title, row.cann)
    _check_engine(checks, wanted, row)


def _check_cann(checks: HostChecks, vllm: str, cann: str) -> None:
    facts, sourced_scripts = checks.facts, checks.settings.checked_scripts
    driver = facts["npu"]["driver_version"] or "of unknown version"
    unit = f"vLLM {vllm} goes with CANN {cann}"
    # What counts is the CANN that services source, not the one where it usually is.
    scripts = {path: facts["cann"].get(path) for path in sourced_scripts}
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
