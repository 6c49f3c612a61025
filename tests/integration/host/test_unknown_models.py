# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models of which nothing is known, deployed by their weights on a host or by what a hub has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

from ..hosts import started
from .site import SCENARIO, Site, a2

pytestmark = pytest.mark.hosts

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
INDEX = {"metadata": {"total_size": 141 * 10**9}, "weight_map": {}}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    flags = ["--host", "a2:a2-64g", "--host", "other:a2-64g"]
    with started(SCENARIO, tmp_path / "hosts.yml", *flags) as inventory:
        yield Site(inventory, tmp_path)


def test_its_cards_and_length_follow_from_them(site: Site) -> None:
    """On the host that has them; another one is rejected, and left as it was."""
    site.sh(
        "a2",
        "mkdir -p /srv/ours && cd /srv/ours && touch model-00001-of-00001.safetensors"
        f" && echo '{json.dumps(CONFIG)}' >config.json"
        f" && echo '{json.dumps(INDEX)}' >model.safetensors.index.json",
    )
    wanted = a2("Qwen3-8B", {"model": "Ours-70B", "path": "/srv/ours"}, vllm_service_estimate=True)
    before = site.snapshot("other")
    run = site.play("deploy", {"a2": wanted, "other": wanted})
    text = run.refusal("other")
    assert text.startswith("Preflight of other: 1 error. Nothing was changed on this host.")
    assert "ERROR configuration, service ours-70b: No table lists the model 'Ours-70B', and" in text
    assert "/srv/ours on the host has no config.json that can be read. Fetch the weights" in text
    assert site.snapshot("other") == before

    assert run.recap("a2", "failed") == 0, run.output
    warnings = re.findall(r"\[WARNING\]: (.*Ours-70B.*)", " ".join(run.output.split()))
    assert len(warnings) == 1, run.output
    assert (
        "ours-70b: estimated, never run: Ours-70B on cards of 64 GB follows from the config.json"
        in (warnings[0])
    )
    placed = site.sh("a2", "cat /etc/systemd/system/vllm@ours-70b.service.d/placement.conf")
    assert re.findall(r"DEVICES=\S+", placed) == ["DEVICES=4,5,6,7"]
    config = yaml.safe_load(site.sh("a2", "cat /etc/vllm/ours-70b.yaml"))
    assert (config["model"], config["max-model-len"]) == ("/srv/ours", 131072)
    assert config["tensor-parallel-size"] == 4
    # The deployment waited until it serves.
    assert "Ours-70B" in site.sh("a2", "curl -sf localhost:8001/v1/models")

    for book in ("deploy", "verify"):
        run = site.play(book, {"a2": wanted})
        assert run.status == 0, run.output
        assert run.recap("a2", "changed") == 0, run.output


def test_a_hub_is_asked_once_for_all_hosts(site: Site) -> None:
    hub = hubs.Hub(models={"us/Ours-14B": hubs.model()})
    with hubs.serving(hub) as address:
        wanted = a2(
            "us/Ours-14B",
            vllm_service_estimate=True,
            vllm_service_estimate_hub="modelscope",
            vllm_weights_endpoints={"modelscope": address},
        )
        run = site.play("deploy", {"a2": wanted, "other": wanted})
    assert run.status == 0, run.output
    assert len(hub.asked) == 2, [each.path for each in hub.asked]  # a listing and config.json
    for host in ("a2", "other"):
        assert "us/Ours-14B" in site.sh(host, "curl -sf localhost:8000/v1/models")
    run = site.play("deploy", {"a2": wanted, "other": wanted})
    assert run.recap("other", "ok") == 0, (
        "this needs no contact; what the variables show is checked once, for all"
    )
    assert f"{address} cannot be asked for us/Ours-14B: [Errno 111]" in run.refusal("a2")
