# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that span hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    tensor_parallel_fault,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve

from .inventories import group, read

A2, A3 = "atlas-800i-a2-64g", "atlas-800i-a3"
CATALOGUE = load_catalogue()
# Rows that the default version of the engine does not start, with a part of the reason.
REFUSED = {
    "Qwen2.5-VL-32B": "its weights take 62.3 GiB",
    "InternVL2-Llama3-76B-AWQ": "kernels for AWQ",
}


def split(model: str, profile: str = A2, **more: Any) -> tuple[int, int, int, int]:
    """Cards in all, and the data-, tensor- and pipeline-parallel size."""
    hosts = group([{"model": model, "name": "big", **more}], 4, ascend_host_profile=profile)
    service = read(hosts)[0]["big"]
    if profile in service.refused:
        raise AscendError(service.refused[profile])
    spec = service.specs[profile]
    sizes = ("data_parallel_size", "tensor_parallel_size", "pipeline_parallel_size")
    data, tensor, pipeline = (spec[size] for size in sizes)
    return service.totals[profile], data, tensor, pipeline


def test_the_size_of_hosts_settles_how_a_service_is_split() -> None:
    assert split("Qwen3-235B-A22B") == (16, 2, 8, 1)
    assert split("Qwen3-Coder-480B-A35B") == (32, 4, 8, 1)
    assert split("Qwen3-14B", cards=20) == (24, 1, 8, 3)
    # 28 heads: 8 does not divide them, and neither do the 16 cards in all.
    assert split("Qwen2.5-7B", cards=16) == (16, 1, 4, 4)
    # One A3 has all 16 cards.
    assert split("Qwen3-235B-A22B", A3) == (16, 1, 16, 1)
    assert split("Qwen3-Coder-480B-A35B", A3) == (32, 4, 8, 1)


@pytest.mark.parametrize(("profile", "size"), [(A2, 8), (A3, 16)])
def test_every_row_of_the_published_table_has_sizes_that_add_up(profile: str, size: int) -> None:
    rows = [row for row in CATALOGUE.every_row(64) if row.table == "ascend-64gb"]
    assert len(rows) == 61
    requests = [{"model": row.model, "name": f"s{row.number}"} for row in rows]
    services = read(group(requests, 4, ascend_host_profile=profile))[0]
    over_hosts = []
    for row in rows:
        service = services[f"s{row.number}"]
        if row.model in REFUSED:
            assert REFUSED[row.model] in service.refused[profile]
            continue
        spec, total = service.specs[profile], service.totals[profile]
        tensor = spec["tensor_parallel_size"]
        product = spec["data_parallel_size"] * tensor * spec["pipeline_parallel_size"]
        assert product == total >= int(row.min_cards or 0)
        assert tensor_parallel_fault(CATALOGUE.facts(row.model), tensor) is None
        assert tensor <= size
        assert ("cluster" in spec) == (total > size)
        assert spec.get("engine") == ("data_parallel" if total > size else None)
        if total > size:
            assert spec["cards"] == size
            assert spec["args"]["enable-expert-parallel"] is True
            over_hosts.append(row.model)
    assert len(over_hosts) == (4 if profile == A2 else 1)


def test_sizes_that_the_user_gives_are_kept_where_they_fill_complete_hosts() -> None:
    assert split("Qwen3-235B-A22B", tensor_parallel_size=16) == (16, 1, 16, 1)
    assert split("Qwen3-235B-A22B", tensor_parallel_size=8) == (16, 2, 8, 1)
    assert split("Qwen3-235B-A22B", data_parallel_size=4) == (16, 4, 4, 1)
    assert split("Qwen3-235B-A22B", engine="native") == (16, 1, 8, 2)
    # To one host it is nothing how hosts are spanned.
    assert split("Qwen3-235B-A22B", A3, engine="native") == (16, 1, 16, 1)
    with pytest.raises(AscendError, match="tensor_parallel_size 4 with data_parallel_size 4"):
        split("Qwen3-14B", tensor_parallel_size=4, pipeline_parallel_size=3)


def test_cards_by_number_do_not_span() -> None:
    with pytest.raises(AscendError, match="names 10 cards, and the host has 8"):
        split("Qwen3-14B", cards=list(range(10)))


def test_the_spec_of_a_part_is_that_of_its_host_with_the_sizes_of_all() -> None:
    members = {"leader": "a", "rank": 1, "hosts": ["a", "b"]}
    request = {"model": "Qwen3-235B-A22B", "cards": list(range(8)), "cluster": members}
    spec = resolve(request, load_catalogue(), Options()).as_dict()
    assert (spec["cards"], spec["pinned_cards"]) == (8, list(range(8)))
    assert (spec["data_parallel_size"], spec["tensor_parallel_size"]) == (2, 8)
    assert spec["engine"] == "data_parallel"
    # What the plan writes is a request with the same answer.
    again = resolve({**spec, "cards": list(range(8))}, CATALOGUE, Options()).as_dict()
    assert {**again, "warnings": spec["warnings"]} == spec
    assert spec["max_model_len"] == 65536
    assert place([spec], 8)[0]["cards"] == list(range(8))


@pytest.mark.parametrize(
    "cluster",
    [
        5,
        {},
        {"leader": "a", "rank": 0, "hosts": ["a"]},
        {"leader": "a", "rank": 2, "hosts": ["a", "b"]},
        {"leader": "c", "rank": 0, "hosts": ["a", "b"]},
        {"leader": "b", "rank": 0, "hosts": ["a", "b"]},
        {"leader": "a", "rank": True, "hosts": ["a", "b"]},
        {"leader": None, "rank": 0, "hosts": []},
        {"leader": "a", "rank": "x", "hosts": ["a", "b"]},
        {"leader": "a", "rank": 0, "hosts": ["a", "a"]},
    ],
)
def test_a_cluster_that_is_none(cluster: Any) -> None:
    with pytest.raises(AscendError, match="cluster of Qwen3-14B"):
        resolve({"model": "Qwen3-14B", "cards": 8, "cluster": cluster}, load_catalogue(), Options())


def test_a_part_without_its_cards_is_rejected() -> None:
    members = {"leader": "a", "rank": 0, "hosts": ["a", "b"]}
    with pytest.raises(AscendError, match="how many cards it takes on this one"):
        resolve({"model": "Qwen3-14B", "cluster": members}, load_catalogue(), Options())
