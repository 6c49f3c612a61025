# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as people published them, with names and addresses replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import engine_config
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

ROW = "{model: GLM-5-w8a8, min_cards: 16, max_model_len_k: 64, kind: generate}"


def placed(tmp_path: Path, profile: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The services of a host, with a table of the user's."""
    table = tmp_path / "ours.yml"
    conditions = "{gpu_memory_utilization: 0.9, card_memory_gb: 64, k: 1024}"
    table.write_text(f"table: ours\nconditions: {conditions}\nrows:\n  - {ROW}\n", "utf-8")
    values = {"ascend_host_profile": profile, "vllm_service_instances": [request]}
    deployment = Deployment(Settings(values.get), load_catalogue([str(table)]))
    deployment.check_declared()
    return [service.as_dict() for service in deployment.services]


def test_two_ranks_of_eight_dies_on_an_a3(tmp_path: Path) -> None:
    """vllm-ascend issue 9071: data parallel 2 x tensor parallel 8 on 16 dies."""
    request = {
        "model": "GLM-5-w8a8",
        "path": "/data/GLM-5-w8a8",
        "served_model_name": "glm-5",
        "port": 8077,
        "max_model_len": 20480,
        "cards": 16,
        "tensor_parallel_size": 8,
        "args": {
            "data-parallel-size": 2,
            "enable-expert-parallel": True,
            "max-num-seqs": 48,
            "quantization": "ascend",
            "compilation-config": '{"cudagraph_mode": "FULL_DECODE_ONLY"}',
        },
    }
    service = placed(tmp_path, "atlas-800i-a3", request)[0]
    assert service["cards"] == list(range(16))
    config = engine_config(service, "0.18.0")
    assert config["data-parallel-size"] == 2
    assert config["tensor-parallel-size"] == 8
    assert "pipeline-parallel-size" not in config
    assert config["enable-expert-parallel"] is True


def test_one_tensor_parallel_group_over_two_hosts_by_hand(tmp_path: Path) -> None:
    """The engine's options for several hosts, as published: here the collection sets them."""
    request = {
        "model": "GLM-5-w8a8",
        "path": "/data/GLM",
        "cards": 8,
        "tensor_parallel_size": 16,
        "args": {
            "nnodes": 2,
            "node-rank": 1,
            "master-addr": "192.0.2.1",
            "master-port": 29500,
            "headless": True,
            "quantization": "ascend",
        },
    }
    with pytest.raises(AscendError) as caught:
        placed(tmp_path, "atlas-800i-a2-64g", request)
    said = str(caught.value)
    assert said.startswith(
        "args of GLM-5-w8a8 sets nnodes, node-rank, master-addr, master-port, headless, for one"
        " service over several hosts. A service over hosts has an entry on each of them with"
        " cluster: {leader, rank, hosts}"
    )
    assert "vllm_plan_services" in said
    assert said.endswith("Leave them out of args.")


@pytest.mark.parametrize("allow_untested", [True, False])
def test_two_small_models_on_one_card(allow_untested: bool) -> None:
    """vllm-ascend issues 4404, 5707 and 7308."""
    values = {
        "ascend_host_profile": "atlas-800i-a2-64g",
        "vllm_service_allow_untested": allow_untested,
        "vllm_service_instances": [
            {"model": model, "cards": [0], "gpu_memory_utilization": 0.3, "path": f"/data/{model}"}
            for model in ("bge-m3", "bge-reranker-v2-m3")
        ],
    }
    deployment = Deployment(Settings(values.get), load_catalogue([]))
    deployment.check_declared()
    services = [service.as_dict() for service in deployment.services]
    assert [each["cards"] for each in services] == [[0], [0]]
    assert [each["port"] for each in services] == [8000, 8001]
    for each in services:
        (warning,) = each["warnings"]
        assert warning.startswith("estimated, never run") and each["max_model_len"] == 8192
