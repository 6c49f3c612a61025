# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An option that the engine does not have shows before any host is asked for anything."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import role_default

from ..hosts import environment

SERVICE = {"model": "Qwen3-14B", "name": "chat", "args": {"swap_space": 4}}
REFUSED = "service chat: args have the option 'swap_space', which vLLM 0.18.0 does not have"


def play(book: str, folder: Path, hosts: dict[str, Any], **variables: Any) -> tuple[int, str]:
    """Run a playbook over hosts on which nothing listens."""
    nowhere = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory = folder / "inventory.yml"
    every = {"ascend_host_profile": "atlas-800i-a2-64g", **variables}
    named = {name: {**nowhere, **(more or {})} for name, more in hosts.items()}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": named, "vars": every}}))
    command = ["ansible-playbook", "-i", str(inventory), f"inferops.ascend.{book}"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment()
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("book", ["deploy", "site"])
def test_a_run_ends_before_contact(book: str, tmp_path: Path) -> None:
    status, output = play(book, tmp_path, {"h1": None}, vllm_service_instances=[SERVICE])
    assert status != 0
    assert REFUSED in output and "0.9.1, 0.11.0, 0.13.0 have it" in output, output
    assert "UNREACHABLE" not in output


def test_the_version_of_each_host_counts(tmp_path: Path) -> None:
    hosts = {"h1": {"vllm_service_engine_version": "0.13.0"}, "h2": None}
    _status, output = play("deploy", tmp_path, hosts, vllm_service_instances=[SERVICE])
    assert REFUSED in output
    assert "fatal: [h1]: UNREACHABLE!" in output, output
    assert "fatal: [h2]: FAILED!" in output


def test_the_plan_keeps_a_service_to_hosts_whose_engine_has_its_options(tmp_path: Path) -> None:
    hosts = {"h1": None, "h2": {"vllm_service_engine_version": "0.13.0"}}
    status, output = play("plan", tmp_path, hosts, vllm_plan_services=[SERVICE])
    assert status == 0, output
    assert "chat: not for hosts of atlas-800i-a2-64g" in output
    planned = tmp_path / "host_vars" / "h2" / "vllm_service_instances.yml"
    assert "swap_space" in planned.read_text()


def test_the_plan_refuses_where_no_engine_has_them(tmp_path: Path) -> None:
    status, output = play("plan", tmp_path, {"h1": None}, vllm_plan_services=[SERVICE])
    assert status != 0
    assert REFUSED in output and "nothing was written" in output, output
    assert not (tmp_path / "host_vars").exists()


def test_the_plan_refuses_them_in_what_was_written_by_hand(tmp_path: Path) -> None:
    lists = {"vllm_plan_services": [], "vllm_service_instances": [SERVICE]}
    status, output = play("plan", tmp_path, {"h1": None}, **lists)
    assert status != 0
    assert REFUSED in output, output


def test_the_roles_agree_on_the_version_that_is_meant_without_a_word(repository: Path) -> None:
    roles = repository / "roles"
    service = yaml.safe_load((roles / "vllm_service/defaults/main.yml").read_text())
    version = service["vllm_service_engine_version"]
    assert version == role_default("vllm_service_engine_version")
    assert role_default("vllm_runtime_version") == "{{ vllm_service_engine_version | default('') }}"
    assert f"which vLLM {version} does not have" in REFUSED
