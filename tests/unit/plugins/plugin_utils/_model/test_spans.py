# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a service that spans hosts is split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import load_options

from .resolving import rejection, spec


def member(model: str, cards: int = 8, hosts: int = 2, **more: Any) -> dict[str, Any]:
    names = [f"npu-{number}" for number in range(hosts)]
    cluster = {"leader": names[0], "rank": 0, "hosts": names}
    return {"model": model, "cards": cards, "cluster": cluster, **more}


def sizes(
    model: str, cards: int = 8, hosts: int = 2, version: str | None = None, **more: Any
) -> tuple[str, int, int, int]:
    got = spec(member(model, cards, hosts, **more), engine_version=version)
    return (
        got["engine"],
        got["data_parallel_size"],
        got["tensor_parallel_size"],
        got["pipeline_parallel_size"],
    )


def test_every_entry_is_well_formed_and_has_its_sources(repository: Path) -> None:
    data = yaml.safe_load((repository / "vars/spans.yml").read_text("utf-8"))
    schema = json.loads((repository / "vars/schemas/spans.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    named = {source for entry in data["spans"] for source in entry["sources"]}
    assert named == set(data["source_registry"])
    for entry in data["spans"]:
        for listed in (known for version, known in load_options().items() if version[0] != "_"):
            assert set(entry.get("args", {})) <= set(listed)


@pytest.mark.parametrize(
    ("model", "cards", "hosts", "expected"),
    [
        ("Qwen3-235B-A22B", 8, 2, (2, 8)),
        ("Qwen3-235B-A22B-Instruct-2507", 8, 2, (2, 8)),
        ("DeepSeek-V3.1-W8A8", 8, 2, (4, 4)),
        ("DeepSeek-V3.2-W8A8", 8, 2, (2, 8)),
        ("DeepSeek-V4-Pro-W4A8", 8, 4, (4, 8)),
        ("DeepSeek-V4-Pro-W4A8", 16, 2, (2, 16)),
        ("Kimi-K2.5-W4A8", 8, 2, (4, 4)),
        ("Kimi-K2-Thinking", 8, 4, (4, 8)),
        ("Kimi-K2-Thinking", 16, 2, (4, 8)),
        ("GLM-5", 8, 4, (4, 8)),
        ("GLM-5", 16, 2, (2, 16)),
        ("GLM-5.2-W4A8C8", 16, 2, (4, 8)),
        ("MiniMax-M3", 8, 2, (2, 8)),
    ],
)
def test_mixtures_of_experts_run_ranks_within_hosts_as_upstream_does(
    model: str, cards: int, hosts: int, expected: tuple[int, int]
) -> None:
    request = member(model, cards, hosts)
    got = spec(request)
    assert got["engine"] == "data_parallel"
    assert (got["data_parallel_size"], got["tensor_parallel_size"]) == expected
    assert got["cards"] == cards
    assert got["args"]["enable-expert-parallel"] is True
    assert "vllm-ascend" in got["provenance"]["split"][0]
    off = spec({**request, "args": {"enable-expert-parallel": False}})
    assert off["args"]["enable-expert-parallel"] is False


def test_a_split_that_nobody_ran_is_a_warning() -> None:
    got = spec(member("Qwen3-Coder-480B-A35B", 8, 4))
    assert any("its split is that of Qwen3-235B" in warning for warning in got["warnings"])
    assert not any("its split" in each for each in spec(member("Qwen3-235B-A22B"))["warnings"])


def test_dense_models_have_a_stage_on_each_host_by_what_the_version_has() -> None:
    assert sizes("Qwen2.5-72B") == ("native", 1, 8, 2)
    assert sizes("Qwen2.5-72B", version="0.13.0") == ("native", 1, 8, 2)
    assert sizes("Qwen2.5-72B", version="0.11.0") == ("ray", 1, 8, 2)
    # 28 heads do not divide by 8.
    assert sizes("Qwen2.5-7B") == ("native", 1, 4, 4)
    assert "from 0.13.0 on, and the version is 0.11.0" in rejection(
        member("Qwen2.5-72B", engine="native"), engine_version="0.11.0"
    )


def test_what_the_request_says_of_it_counts() -> None:
    assert sizes("Qwen3-235B-A22B", tensor_parallel_size=4) == ("data_parallel", 4, 4, 1)
    assert sizes("Qwen3-235B-A22B", data_parallel_size=4) == ("data_parallel", 4, 4, 1)
    assert sizes("Qwen3-235B-A22B", args={"data-parallel-size": 4}) == ("data_parallel", 4, 4, 1)
    assert sizes("Qwen3-235B-A22B", engine="ray") == ("ray", 1, 8, 2)
    # Stages, and tensor parallel over hosts, are not for ranks.
    stages = {"tensor_parallel_size": 8, "pipeline_parallel_size": 2}
    assert sizes("Qwen3-235B-A22B", **stages) == ("native", 1, 8, 2)
    assert sizes("Qwen3-235B-A22B", version="0.11.0", **stages) == ("ray", 1, 8, 2)
    assert sizes("Qwen3-235B-A22B", tensor_parallel_size=16) == ("native", 1, 16, 1)
    assert sizes("Qwen2.5-72B", engine="data_parallel") == ("data_parallel", 2, 8, 1)
    assert sizes("Qwen3-14B", cards=1, engine="native", tensor_parallel_size=2) == (
        "native",
        1,
        2,
        1,
    )


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            {"data_parallel_size": 1},
            ["every rank within a host", "data_parallel_size 2 and tensor_parallel_size 8"],
        ),
        ({"tensor_parallel_size": 16, "engine": "data_parallel"}, ["every rank within a host"]),
        (
            {"data_parallel_size": 3},
            ["16 cards on 2 hosts", "tensor_parallel_size 8 with data_parallel_size 2"],
        ),
        ({"data_parallel_size": 2, "engine": "native"}, ["takes no data-parallel ranks"]),
        ({"tensor_parallel_size": 4, "pipeline_parallel_size": 3}, ["16 cards on 2 hosts"]),
        ({"engine": "mpi"}, ["engine of Qwen3-235B-A22B is 'mpi'", "data_parallel, native, ray"]),
        ({"engine": "ray", "cluster": None}, ["no cluster"]),
        ({"cards": None}, ["how many cards it takes on this one"]),
        ({"args": {"nnodes": 2}}, ["sets nnodes", "from its cluster and engine"]),
        ({"args": {"data-parallel-rank": 0}}, ["data-parallel-rank, and it spans hosts"]),
        ({"args": {"data-parallel-size-local": 1}}, ["follow from data_parallel_size"]),
    ],
)
def test_what_cannot_be_spanned(request_: dict[str, Any], words: list[str]) -> None:
    said = rejection({**member("Qwen3-235B-A22B"), **request_})
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    "args",
    [
        {"nnodes": 1, "node-rank": 0},
        {"headless": False},
        {"distributed-executor-backend": "mp"},
        {"data-parallel-size": 2, "data-parallel-size-local": 2, "data-parallel-start-rank": 0},
        {
            "data-parallel-size": 2,
            "data-parallel-rank": 1,
            "data-parallel-address": "192.0.2.1",
            "data-parallel-rpc-port": 13389,
        },
        {
            "data-parallel-size": 4,
            "data-parallel-hybrid-lb": True,
            "data-parallel-size-local": 2,
            "data-parallel-start-rank": 2,
            "data-parallel-address": "192.0.2.1",
        },
    ],
)
def test_options_that_span_no_hosts_are_the_users(args: dict[str, Any]) -> None:
    got = spec({"model": "Qwen3-30B-A3B", "tensor_parallel_size": 2, "args": args})
    assert (
        got["args"].items() >= {k: v for k, v in args.items() if k != "data-parallel-size"}.items()
    )


@pytest.mark.parametrize(
    "args",
    [
        {"distributed-executor-backend": "ray"},
        {"data-parallel-backend": "ray"},
        {"data-parallel-address": "192.0.2.1"},
        {"data-parallel-start-rank": 1},
        {"data_parallel_rpc_port": 13389},
        {"headless": True},
    ],
)
def test_options_that_span_hosts_by_hand(args: dict[str, Any]) -> None:
    said = rejection({"model": "Qwen3-14B", "args": args})
    assert "for one service over several hosts" in said
    assert "cluster: {leader, rank, hosts}" in said
