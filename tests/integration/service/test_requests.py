# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that are rejected before a host is changed, or contacted."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ..hosts import environment
from .role import Host

pytestmark = pytest.mark.hosts


@pytest.mark.parametrize(
    ("instances", "words"),
    [
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
    ],
)
def test_a_refused_wish_never_reaches_the_host(host: Host, instances: Any, words: str) -> None:
    """The address is nobody's: a run that tried to connect would say unreachable."""
    run = host.deploy(
        instances, ansible_host="192.0.2.1", ansible_ssh_common_args="-o ConnectTimeout=1"
    )
    assert run.status == 2, run.output
    assert words in run.output
    assert "UNREACHABLE" not in run.output


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
            "is not known",
            "an absolute path is needed",
        )
    )
    assert host.snapshot() == before


def test_a_host_without_the_variable_is_an_error_and_not_an_empty_list(host: Host) -> None:
    done = subprocess.run(
        host.command(), capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 2
    assert "vllm_service_instances" in done.stdout + done.stderr
