# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container of a service over hosts by Ray runs."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import service_texts

from .test_group import service, settings


def script(rank: int) -> str:
    """The script in the command of a member, as the shell in its container gets it."""
    contained = settings(
        vllm_service_method="container",
        vllm_service_container_image="quay.io/ascend/vllm-ascend@sha256:" + "0" * 64,
        vllm_service_container_engine="podman",
        vllm_service_cann_scripts=[],
    )
    command = service_texts(service("ray", rank), contained)["command"]
    return shlex.split(command)[-1].replace("$$", "$").replace("%%", "%")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """`ray` and `vllm` that write down how they were called and when they were told to end."""
    for name in ("ray", "vllm"):
        path = tmp_path / name
        path.write_text(
            f"""#!/bin/bash
trap 'echo told >> {tmp_path}/{name}.out; exit 3' TERM
printf '%s\\n' "$@" > {tmp_path}/{name}.out
while [ ! -e {tmp_path}/{name}.end ]; do sleep 0.05; done
exit 5
""",
            encoding="utf-8",
        )
        path.chmod(0o755)
    return tmp_path


def start(programs: Path, rank: int) -> subprocess.Popen[bytes]:
    path = f"{programs}:/usr/bin:/bin"
    return subprocess.Popen(["/bin/bash", "-c", script(rank)], env={"PATH": path})


def output(programs: Path, name: str) -> list[str]:
    path = programs / f"{name}.out"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def wait_for(programs: Path, *names: str) -> None:
    deadline = time.monotonic() + 60
    while not all(output(programs, name) for name in names):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("first", ["ray", "vllm"])
def test_the_leader_s_ends_with_the_first_of_ray_and_the_engine(programs: Path, first: str) -> None:
    ran = start(programs, 0)
    wait_for(programs, "ray", "vllm")
    assert "--head" in output(programs, "ray")
    assert '--resources={"NPU":8}' in output(programs, "ray")
    assert output(programs, "vllm") == ["serve", "--config", "/etc/vllm/big.yaml"]
    (programs / f"{first}.end").touch()
    assert ran.wait(60) == 5
    (programs / "ray.end").touch()
    (programs / "vllm.end").touch()


def test_a_stop_of_the_leader_is_for_the_engine(programs: Path) -> None:
    ran = start(programs, 0)
    wait_for(programs, "ray", "vllm")
    ran.send_signal(signal.SIGTERM)
    ran.wait(60)
    assert output(programs, "vllm")[-1] == "told"
    assert "told" not in output(programs, "ray")
    (programs / "ray.end").touch()


def test_the_others_lend_their_cards_and_run_no_engine(programs: Path) -> None:
    ran = start(programs, 1)
    wait_for(programs, "ray")
    assert "--head" not in output(programs, "ray")
    ran.send_signal(signal.SIGTERM)
    assert ran.wait(60) == 3
    assert output(programs, "vllm") == []
