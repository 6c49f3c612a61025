# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of driver, firmware, CANN and engine, from files below a temporary root."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._host import versions

from .hosts import put


def test_versions(tmp_path: Path) -> None:
    assert set(versions.versions(tmp_path).values()) == {None}
    put(tmp_path, "usr/local/Ascend/driver/version.info", "Version=24.1.rc3\nascendhal_version=7\n")
    put(tmp_path, "usr/local/Ascend/firmware/version.info", "Version=7.5.0.1.129\n")
    put(
        tmp_path,
        "usr/local/Ascend/ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info",
        "package_name=Ascend-cann-toolkit\nversion=8.3.RC2\ninnerversion=V100R001C23SPC002B210\n",
    )
    assert versions.versions(tmp_path) == {
        "driver_version": "24.1.rc3",
        "firmware_version": "7.5.0.1.129",
        "cann_version": "8.3.RC2",
    }


def test_driver_that_is_installed_elsewhere(tmp_path: Path) -> None:
    put(
        tmp_path, "etc/ascend_install.info", "UserName=HwHiAiUser\nDriver_Install_Path_Param=/opt\n"
    )
    put(tmp_path, "opt/driver/version.info", "Version=25.5.2\n")
    assert versions.versions(tmp_path)["driver_version"] == "25.5.2"


def test_cann_from_the_places_that_its_releases_use(tmp_path: Path) -> None:
    put(
        tmp_path,
        "usr/local/Ascend/nnae/latest/ascend_nnae_install.info",
        "package_name=Ascend-cann-nnae\nversion=8.0.RC1\n",
    )
    assert versions.cann_version(tmp_path, {}) == "8.0.RC1"
    put(
        tmp_path,
        "usr/local/Ascend/ascend-toolkit/latest/version.cfg",
        "# version: 1.0\ntoolkit_running_version=[7.6.0.1.220:8.0.0]\n",
    )
    assert versions.cann_version(tmp_path, {}) == "8.0.0"
    info = "x86_64-linux/ascend_toolkit_install.info"
    put(tmp_path, "usr/local/Ascend/cann/" + info, "version=8.5.0\n")
    assert versions.cann_version(tmp_path, {}) == "8.5.0"
    put(tmp_path, "home/me/cann/" + info, "version=9.1.0\n")
    assert versions.cann_version(tmp_path, {"ASCEND_HOME_PATH": "/home/me/cann"}) == "9.1.0"


def test_cann_of_the_script_that_is_sourced(tmp_path: Path) -> None:
    info = "aarch64-linux/ascend_toolkit_install.info"
    put(tmp_path, "opt/cann-8.3/latest/" + info, "version=8.3.RC2\n")
    put(tmp_path, "usr/local/Ascend/cann/" + info, "version=8.5.1\n")
    beside = [
        versions.cann_beside(tmp_path, path)
        for path in (
            "/opt/cann-8.3/set_env.sh",
            "/usr/local/Ascend/cann/set_env.sh",
            "/usr/local/Ascend/nnal/atb/set_env.sh",
        )
    ]
    assert beside == ["8.3.RC2", "8.5.1", None]


def test_the_drivers_records(tmp_path: Path) -> None:
    blank = versions.driver(tmp_path)
    assert not blank["version_info_exists"]
    assert not blank["install_info_exists"]
    put(tmp_path, "opt/A/driver/version.info", "Version=25.5.2\n")
    put(
        tmp_path,
        "etc/ascend_install.info",
        "Driver_Install_Path_Param=/opt/A\nDriver_Install_Status=complete\n",
    )
    assert versions.driver(tmp_path) == {
        "version_info": "/opt/A/driver/version.info",
        "version_info_exists": True,
        "install_info_exists": True,
        "install_status": "complete",
    }


def test_versions_of_the_engine_without_starting_it(tmp_path: Path) -> None:
    site = "opt/vllm/lib/python3.11/site-packages"
    for name in ("vllm-0.18.0+empty", "vllm_ascend-0.18.0", "torch_npu-2.9.0.post1", "torch-2.9"):
        (tmp_path / site / f"{name}.dist-info").mkdir(parents=True)
    put(tmp_path, "opt/vllm/pyvenv.cfg", "home = /usr/bin\nversion = 3.11.9\n")
    assert versions.engine(tmp_path, "/opt/vllm/bin/vllm") == {
        "vllm": "0.18.0+empty",
        "vllm_ascend": "0.18.0",
        "torch_npu": "2.9.0.post1",
        "python": "3.11.9",
    }
    assert set(versions.engine(tmp_path, "/nowhere/bin/vllm").values()) == {None}
