# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a placed service should look like from outside."""

from __future__ import annotations

from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import (
    expected_services,
    open_to_all,
    service_texts,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings


def test_what_is_expected_leaves_secrets_behind() -> None:
    placed = {
        "name": "chat",
        "model": "Qwen3-14B",
        "kind": "generate",
        "cards": [0],
        "port": 8000,
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.9,
        "tensor_parallel_size": 1,
        "huggingface": "Qwen/Qwen3-14B",
        "api_key": "opensesame",
        "secret_env": {"TOKEN": "opensesame"},
    }
    services = [placed, {"name": "old", "state": "absent"}]
    assert expected_services(services, Settings({}.get).unit) == [
        {
            "name": "chat",
            "model": "Qwen3-14B",
            "part": 0.9,
            "state": "started",
            "cards": [0],
            "port": 8000,
            "max_model_len": 4096,
            "aliases": ["Qwen3-14B", "chat"],
            "hosts": [],
            "rank": 0,
        }
    ]


def test_variables_of_a_recipe_are_under_those_of_the_user() -> None:
    placed = {
        "name": "chat",
        "model": "Qwen3-14B",
        "kind": "generate",
        "cards": [0],
        "port": 8000,
        "hccl_ports": [61000, 61015],
        "devices": ["/dev/davinci0"],
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.9,
        "tensor_parallel_size": 1,
        "huggingface": "Qwen/Qwen3-14B",
        "recipe_env": {"OMP_NUM_THREADS": "1", "TASK_QUEUE_ENABLE": "1", "HCCL_BUFFSIZE": "512"},
        "env": {"TASK_QUEUE_ENABLE": None},
    }
    settings = Settings({"vllm_service_env": {"OMP_NUM_THREADS": 10}}.get).unit
    words = " ".join(map(str, service_texts(placed, settings)["environment"]))
    assert "HCCL_BUFFSIZE" in words and "10" in words
    assert "TASK_QUEUE_ENABLE" not in words


def test_who_can_be_used_by_anybody_is_named_with_both_ways_out() -> None:
    services = [
        {"name": "open"},
        {"name": "keyed", "api_key": "opensesame"},
        {"name": "old", "state": "absent"},
    ]
    assert open_to_all(services, "0.0.0.0") == [
        "open listens on all addresses without a key: whoever reaches the port can use it. Set api_key for it,"
        " or vllm_service_host to an address that only clients reach."
    ]
    assert open_to_all(services, "10.0.0.1") == open_to_all(services[1:], "0.0.0.0") == []
