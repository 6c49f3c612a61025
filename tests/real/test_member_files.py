# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of services over several hosts, read by the real argument parsers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.group import Group, Member

from .readers import Reader

ROWS = {8: 4, 16: 1}  # of the 61, those that need more cards than one host has


def members(model: str, cards: int, hosts: int, version: str, **more: Any) -> list[dict[str, Any]]:
    """The placed parts of a service, by rank."""
    names = [f"npu-{number}" for number in range(hosts)]
    group = tuple(Member(name, f"192.0.2.{n}", "eth0") for n, name in enumerate(names, 1))
    found = []
    for rank in range(hosts):
        cluster = {"leader": names[0], "rank": rank, "hosts": names}
        request = {"model": model, "cards": cards, "cluster": cluster, **more}
        spec = resolve(request, load_catalogue(), Options(engine_version=version)).as_dict()
        part = place([spec], cards)[0]
        found.append({**part, "group": Group(part["engine"], rank, group, 18000)})
    return found


@pytest.mark.parametrize("cards", ROWS)
def test_every_row_that_spans_hosts_is_read_on_each_of_them(reader: Reader, cards: int) -> None:
    large = [
        (row.model, -(-row.min_cards // cards))
        for row in load_catalogue().every_row(64)
        if row.min_cards and row.min_cards > cards
    ]
    assert len(large) == ROWS[cards]
    for model, hosts in large:
        parts = members(model, cards, hosts, reader.version)
        for rank, part in enumerate(parts):
            read = reader.values(part)
            assert read.get("headless", False) is bool(rank)
            sizes = [read[f"{kind}_parallel_size"] for kind in ("data", "tensor", "pipeline")]
            assert sizes[0] * sizes[1] * sizes[2] == cards * hosts
            assert read["data_parallel_address"] == "192.0.2.1"
            assert (read.get("data_parallel_start_rank") or 0) == rank * sizes[0] // hosts


@pytest.mark.parametrize("engine", ["native", "ray"])
def test_a_dense_model_is_read_on_each_host(reader: Reader, engine: str) -> None:
    request: dict[str, Any] = {"engine": engine, "name": "big"}
    if engine == "native" and reader.version in ("0.9.1", "0.11.0"):  # --nnodes is newer
        with pytest.raises(AscendError, match="native"):
            reader.values(members("Qwen2.5-72B", 8, 2, reader.version, **request)[0])
        return
    parts = members("Qwen2.5-72B", 8, 2, reader.version, **request)
    for rank, part in enumerate(parts[: 1 if engine == "ray" else 2]):
        read = reader.values(part)
        assert (read["tensor_parallel_size"], read["pipeline_parallel_size"]) == (8, 2)
        backend = {"native": "mp", "ray": "ray"}[engine]
        assert read["distributed_executor_backend"] == backend
        if engine == "native":
            assert (read["nnodes"], read["node_rank"]) == (2, rank)
            assert read["master_addr"] == "192.0.2.1"
