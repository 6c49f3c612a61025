# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written for services that have a card together."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import (
    module_arguments,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

EMBED = {"model": "bge-m3", "name": "embed", "gpu_memory_utilization": 0.3}
RERANK = {"model": "bge-reranker-v2-m3", "name": "rerank", "gpu_memory_utilization": 0.3}


def written(*requests: Any, **variables: Any) -> dict[str, str]:
    """The texts of files, by path."""
    values = {
        "ascend_host_profile": "atlas-800i-a2-64g",
        "vllm_service_instances": list(requests),
        **{f"vllm_service_{name}": value for name, value in variables.items()},
    }
    settings = Settings(values.get)
    deployment = Deployment(settings, load_catalogue())
    deployment.check_declared()
    placed = [service.as_dict() for service in deployment.services]
    return dict(module_arguments(placed, settings.unit)["contents"])


def placement(files: dict[str, str], name: str) -> str:
    return files[f"/etc/systemd/system/vllm@{name}.service.d/placement.conf"]


@pytest.mark.parametrize("way", [{"share": True}, {"cards": [0]}])
def test_both_have_the_card_and_a_turn(way: dict[str, Any]) -> None:
    files = written({**EMBED, **way}, {**RERANK, **way})
    for name, port, hccl in (("embed", 8000, 61000), ("rerank", 8001, 61512)):
        text = placement(files, name)
        assert "Environment=ASCEND_RT_VISIBLE_DEVICES=0\n" in text
        assert "Environment=INFEROPS_SHARE=1\n" in text
        assert f"Environment=HCCL_IF_BASE_PORT={hccl}\n" in text
        assert text.count("DeviceAllow=/dev/davinci0 rw") == 1
        program = f"/usr/local/libexec/inferops/turn-{name}"
        guard = f"INFEROPS_GUARD=/usr/bin/python3 {program} 0 127.0.0.1 {port} 3600 --"
        assert f'Environment="{guard}"' in text
        assert "def main(" in files[program]
        assert "gpu-memory-utilization: 0.3\n" in files[f"/etc/vllm/{name}.yaml"]


def test_a_service_that_may_be_joined_later_is_not_restarted_for_it() -> None:
    alone = written({**EMBED, "share": True})
    joined = written({**EMBED, "share": True}, {**RERANK, "share": True})
    assert placement(alone, "embed") == placement(joined, "embed")


def test_others_have_no_turn() -> None:
    files = written({**EMBED, "gpu_memory_utilization": 0.95}, {**RERANK, "share": True})
    assert "INFEROPS_SHARE" not in placement(files, "embed")
    assert "/usr/local/libexec/inferops/turn-embed" not in files


def test_containers_take_turns_too() -> None:
    files = written(
        {**EMBED, "share": True},
        host="192.0.2.7",
        method="container",
        container_image="local/vllm:1",
        start_timeout=1800,
    )
    turn = "/usr/bin/python3 /usr/local/libexec/inferops/turn-embed 0 192.0.2.7 8000 1800"
    assert f" sh {turn} -- /bin/sh -c" in placement(files, "embed")
    assert "INFEROPS_GUARD" not in placement(files, "embed")
