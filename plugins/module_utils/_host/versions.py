# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions of driver, firmware, CANN and the engine, from files of a host below `root`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Mapping

from .files import below, field, read


def _directory(root: Path, package: str) -> Path:
    """Where the package Driver or Firmware is: below /usr/local/Ascend, its default, unless
    /etc/ascend_install.info names another path."""
    key = package + "_Install_Path_Param"
    path = field(read(root / "etc/ascend_install.info"), key) or "/usr/local/Ascend"
    return below(root, path) / package.lower()


def driver_directory(root: Path) -> Path:
    return _directory(root, "Driver")


def cann_version(root: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """The version of the CANN toolkit, such as `8.5.0` or `8.3.RC2`.

    environ: where ASCEND_HOME_PATH or ASCEND_TOOLKIT_HOME name the toolkit, default this process'.
    Read is the first of these that is there, below the variables' directory, then
    /usr/local/Ascend/cann (8.5 and later), /usr/local/Ascend/ascend-toolkit/latest (before):
    ARCH-linux/ascend_toolkit_install.info (`version=`), version.cfg
    (`toolkit_running_version=[INTERNAL:VERSION]`). Last comes the runtime-only package nnae.

    Source: CANN installation guides 8.0 and 8.5, "File Paths"
    (hiascend.com/document/detail/en/canncommercial/800/softwareinst/instg/instg_0044.html and
    .../850/...).
    """
    env = os.environ if environ is None else environ
    homes = [env.get(name, "") for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")]
    homes += ["/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit/latest"]
    for home in homes:
        version = _toolkit_version(root, home) if home else None
        if version:
            return version
    nnae = below(root, "/usr/local/Ascend/nnae/latest/ascend_nnae_install.info")
    return field(read(nnae), "version")


def _toolkit_version(root: Path, home: str) -> str | None:
    directory = below(root, home)
    for info in sorted(directory.glob("*-linux/ascend_toolkit_install.info")):
        version = field(read(info), "version")
        if version:
            return version
    running = field(read(directory / "version.cfg"), "toolkit_running_version")
    found = re.match(r"\[[^:\]]*:([^:\]]+)\]", running or "")
    return found.group(1) if found else None


def cann_beside(root: Path, script: str) -> str | None:
    """The version of the CANN toolkit that a set_env.sh belongs to; None where that is not told.

    The script lies in the toolkit (/usr/local/Ascend/cann, 8.5 and later) or beside its directory
    `latest` (/usr/local/Ascend/ascend-toolkit). That of NNAL has no toolkit beside it.
    """
    directory = script.rpartition("/")[0]
    return _toolkit_version(root, directory + "/latest") or _toolkit_version(root, directory)


def versions(root: Path) -> dict[str, str | None]:
    """driver_version (`24.1.rc3`), firmware_version (`7.5.0.1.129`) and cann_version.

    The first two are `Version=` of a version.info; what has no file is None.
    """
    driver, firmware = (
        field(read(_directory(root, package) / "version.info"), "Version")
        for package in ("Driver", "Firmware")
    )
    return {
        "driver_version": driver,
        "firmware_version": firmware,
        "cann_version": cann_version(root),
    }


def driver(root: Path) -> dict[str, Any]:
    """The driver's records: {version_info, version_info_exists, install_status}.

    install_status: Driver_Install_Status of /etc/ascend_install.info, `complete` where all is well.
    """
    info = driver_directory(root) / "version.info"
    text = read(root / "etc/ascend_install.info")
    return {
        "version_info": "/" + str(info.relative_to(root)),
        "version_info_exists": info.is_file(),
        "install_info_exists": text is not None,
        "install_status": field(text, "Driver_Install_Status"),
    }


def engine(root: Path, executable: str) -> dict[str, str | None]:
    """Versions in the virtual environment of `executable`: {vllm, vllm_ascend, torch_npu, python}.

    From the names of its *.dist-info directories and its pyvenv.cfg; nothing is imported.
    """
    found: dict[str, str | None] = dict.fromkeys(("vllm", "vllm_ascend", "torch_npu", "python"))
    top = below(root, executable).parent.parent
    for directory in sorted(top.glob("lib*/python3*/site-packages/*.dist-info")):
        name, version = (directory.name[: -len(".dist-info")].split("-", 1) + [""])[:2]
        key = name.lower().replace("-", "_")
        if key in found:
            found[key] = version
    match = re.search(r"^version(?:_info)?\s*=\s*(\S+)", read(top / "pyvenv.cfg") or "", re.M)
    found["python"] = match.group(1) if match else None
    return found
