# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that are rejected before a host is changed, or contacted."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from ..hosts import environment
from .role import Host

pytestmark = pytest.mark.hosts


REQUESTS: list[tuple[Any, str]] = [
    ([{"model": "Qwen3-14"}], "The closest are Qwen3-14B"),
    ([{"model": "Qwen2.5-72B", "cards": 2}], "it needs at least 4 of 64 GB"),
    ([{"model": "Qwen3-14B", "max_model_len": "64K"}], "the longest that was tested is 32768"),
    ([{"model": "Qwen3-235B-A22B"}], "needs 16 cards"),
    ([{"model": "Qwen3-0.6B", "cards": [9]}], "card 9"),
    ([{"model": "Qwen3-0.6B"}, {"model": "Qwen3-0.6B"}], "qwen3-0.6b"),
    ([{"model": "Qwen3-0.6B", "name": "a b"}], "a-b"),
    ([{"model": "Qwen3-0.6B", "args": {"no-such-option": 1}}], "no-such-option"),
    ([{"model": "Qwen3-0.6B", "env": {"ALARM": "\x07"}}], "ALARM has the character U+0007"),
    ([{"model": "Qwen3-0.6B", "state": "running"}], "state 'running' is unknown"),
    ([{"model": "Qwen3-0.6B", "api_key": ""}], "api_key is empty"),
    ([{"model": "Qwen3-0.6B", "max-model-len": "4K"}], "Write max_model_len"),
    ([{"model": "Qwen3-0.6B", "dtype": "float16"}], "Write it into args"),
    ("Qwen3-0.6B: 1", "No table lists the model 'Qwen3-0.6B: 1'"),
    ([None], "A request is None, which names no model"),
]


AWAY = {"ansible_host": "192.0.2.1", "ansible_ssh_common_args": "-o ConnectTimeout=1"}
WRONG_TYPES: dict[str, tuple[Any, str]] = {
    "ascend_host_checks": (["disk"], "is a list; a mapping is needed"),
    "ascend_host_irqbalance": ("never", "write auto, stop or keep"),
    "vllm_service_instances": (4, "is a number; a list of services is needed"),
    "vllm_service_port_base": ("high", "port_base"),
    "vllm_service_restart": ("later", "write now or deferred"),
    "vllm_service_free_timeout": ("soon", "a number is needed"),
    "vllm_service_restart_delay": ("long", "an integer is needed"),
    "vllm_service_wait": ("perhaps", "true or false is needed"),
    "vllm_service_groups": ({"a": 1}, "a list is needed"),
    "vllm_service_hardening": ({"ProtectSytem": "full"}, "The closest are ProtectSystem"),
}


def run_all(host: Host, cases: list[dict[str, Any]], playbook: str = "") -> tuple[list[str], str]:
    """Run the role, or a playbook of the collection, once for a host of each case; return the
    failure of each, and the output."""
    shared = yaml.safe_load(host.inventory.read_text())["all"]
    common = {**shared["vars"], **shared["hosts"][host.name], **host.variables}
    inventory = host.folder / "cases.yml"
    named = {f"case{number}": case for number, case in enumerate(cases)}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": named, "vars": common}}))
    command = [each for each in host.command() if each not in ("--limit", host.name)]
    command[command.index(str(host.inventory))] = str(inventory)
    if playbook:
        command[command.index(str(host.folder / "play.yml"))] = playbook
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment()
    )
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    # What the inventory alone shows comes in a line for each host.
    failed = r"^  (case\d+): (.*)$" if playbook else r"^fatal: \[(case\d+)\]: FAILED! => (.*)$"
    found = dict(re.findall(failed, output, re.M))
    assert found.keys() == named.keys(), output
    return [found[name] for name in named], output


def test_a_refused_request_never_reaches_the_host(host: Host) -> None:
    """The address is nobody's: a run that tried to connect would report unreachable."""
    cases = [{**AWAY, "vllm_service_instances": instances} for instances, _words in REQUESTS]
    failures, output = run_all(host, cases)
    for (_instances, words), failure in zip(REQUESTS, failures, strict=True):
        assert words in failure
    assert "UNREACHABLE" not in output


def test_a_value_of_a_wrong_type_never_reaches_the_host(host: Host) -> None:
    service = {"vllm_service_instances": [{"model": "Qwen3-0.6B"}]}
    cases = [{**AWAY, **service, name: value} for name, (value, _words) in WRONG_TYPES.items()]
    failures, output = run_all(host, cases, "inferops.ascend.deploy")
    for (name, (_value, words)), failure in zip(WRONG_TYPES.items(), failures, strict=True):
        assert name in failure and words in failure
    assert "UNREACHABLE" not in output


@pytest.mark.parametrize(
    "variables",
    [
        {"vllm_service_user": "root\nExecStartPre=/bin/touch /tmp/pwned"},
        {"vllm_service_executable": "/bin/sh; touch /tmp/pwned"},
        {"vllm_service_cann_scripts": ["/a'b"]},
        {"vllm_service_library_path": ["/lib %h"]},
        {"vllm_service_engine_version": "0.18.0\nport: 1"},
        {"vllm_service_weights_dir": "weights"},
    ],
)
def test_a_variable_cannot_add_to_a_unit(host: Host, variables: dict[str, Any]) -> None:
    before = host.snapshot()
    run = host.deploy([{"model": "Qwen3-0.6B"}], **variables)
    assert run.status == 2, run.output
    assert any(
        words in run.output
        for words in (
            "is not valid in a systemd unit",
            "is not a version",
            "an absolute path on the host is needed",
        )
    )
    assert host.snapshot() == before


def test_a_host_without_the_variable_is_an_error_and_not_an_empty_list(host: Host) -> None:
    done = subprocess.run(
        host.command(), capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 2
    assert "vllm_service_instances" in done.stdout + done.stderr
