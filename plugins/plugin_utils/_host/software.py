# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of driver, access to the cards, CANN and the engine's program."""

from __future__ import annotations

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
    for group in checks.options.groups:
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
        open_to_group = device["group"] in checks.options.groups and mode & 0o060 == 0o060
        if checks.options.groups and not open_to_group and mode & 0o006 != 0o006:
            who = f"{device['mode']}, group {device['group'] or device['gid']}"
            closed.setdefault(who, []).append(path)
    for who, nodes in closed.items():
        checks.error(
            "access",
            ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""),
            f"the groups {', '.join(checks.options.groups)} may not open them ({who}).",
            "Set vllm_service_groups to the group of the nodes, or fix the driver's udev rule.",
        )


def check_cann(checks: HostChecks) -> None:
    for path in checks.options.scripts:
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
    path = checks.options.executable
    if path is None or not checks.started:
        return
    state = checks.facts["files"].get(path, {})
    if not state.get("executable"):
        checks.error(
            "engine",
            path,
            "there is no such program." if not state.get("exists") else "it is no program.",
            "Install vLLM and vllm-ascend, or set vllm_service_executable to where it is.",
        )
