# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data-parallel ranks by the engine's options, counted as the engine counts them."""

from __future__ import annotations

from typing import Any

import pytest

from .resolving import rejection, spec

MODEL = "Qwen3-235B-A22B"


def counted(**args: Any) -> tuple[int, int, int]:
    named = {f"data-parallel-{key.replace('_', '-')}": value for key, value in args.items()}
    got = spec({"model": MODEL, "tensor_parallel_size": 8, "args": named})
    return got["data_parallel_size"], got["tensor_parallel_size"], got["cards"]


def test_the_option_is_the_key() -> None:
    assert counted(size=2) == (2, 8, 16)
    assert counted(size="2") == (2, 8, 16)
    for name in ("data-parallel-size", "data_parallel_size"):
        got = spec({"model": MODEL, "data_parallel_size": 2, "args": {name: 2, "seed": 1}})
        assert (got["data_parallel_size"], got["cards"]) == (2, 16)
        assert got["args"]["seed"] == 1
        assert name not in got["args"]
    assert rejection(
        {"model": MODEL, "data_parallel_size": 2, "args": {"data-parallel-size": 4}}
    ) == (
        f"{MODEL} has data_parallel_size 2, and data-parallel-size 4 in args. Leave one of them out."
    )


def test_one_service_runs_one_rank_behind_an_external_load_balancer() -> None:
    assert counted(size=2, rank=1) == (2, 8, 8)
    assert counted(size=4, rank=0, external_lb=True, size_local=1) == (4, 8, 8)


def test_one_service_runs_the_ranks_of_its_host_behind_a_hybrid_load_balancer() -> None:
    assert counted(size=4, hybrid_lb=True, size_local=2) == (4, 8, 16)
    assert counted(size=4, hybrid_lb=False) == (4, 8, 32)
    # As the tutorials write it for one host.
    assert counted(size=2, size_local=2, start_rank=0) == (2, 8, 16)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"size": 2, "rank": 2}, ["from 0 to 1", "data-parallel-rank is 2"]),
        ({"size": 2, "external_lb": True}, ["data-parallel-rank is missing"]),
        ({"size": 2, "rank": 0, "size_local": 2}, ["data-parallel-size-local 2"]),
        ({"size": 2, "rank": 0, "hybrid_lb": True}, ["both data-parallel-rank and"]),
        ({"size": 2, "hybrid_lb": True}, ["needs data-parallel-size-local"]),
        ({"size": 2, "size_local": 4}, ["number of all data-parallel ranks is 2"]),
        ({"size_local": 2}, ["number of all data-parallel ranks is 1"]),
        ({"size": 4, "size_local": 2}, ["wait for other hosts", "cluster"]),
        ({"size": 0}, ["data-parallel-size to 0", "at least 1"]),
        ({"size": "many"}, ["data-parallel-size to 'many'"]),
    ],
)
def test_what_the_engine_would_not_start_with(args: dict[str, Any], words: list[str]) -> None:
    named = {f"data-parallel-{key.replace('_', '-')}": value for key, value in args.items()}
    said = rejection({"model": MODEL, "tensor_parallel_size": 8, "args": named})
    for word in words:
        assert word in said


def test_context_parallel_prefill_takes_cards() -> None:
    request = {"model": MODEL, "cards": 16, "args": {"prefill-context-parallel-size": 2}}
    assert spec(request)["tensor_parallel_size"] == 8
    assert "prefill-context-parallel-size 2" in rejection({**request, "tensor_parallel_size": 16})


def test_a_resolved_spec_is_a_request() -> None:
    for ranks in ({}, {"data-parallel-rank": 1}):
        args = {"data-parallel-size": 2, **ranks}
        got = spec({"model": MODEL, "tensor_parallel_size": 8, "args": args})
        assert {**spec(got), "warnings": got["warnings"]} == got
