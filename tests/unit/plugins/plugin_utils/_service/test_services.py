# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a placed service should look like from outside."""

from __future__ import annotations

from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import (
    expected_services,
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
            "state": "started",
            "cards": [0],
            "port": 8000,
            "max_model_len": 4096,
            "aliases": ["Qwen3-14B", "chat"],
        }
    ]
