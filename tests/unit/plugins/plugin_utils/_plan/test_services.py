# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that span hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve

from .inventories import group, read


def split(model: str, **more: Any) -> tuple[int, int, int]:
    hosts = group([{"model": model, "name": "big", **more}], 4)
    service = read(hosts)[0]["big"]
    kind = "atlas-800i-a2-64g"
    if kind in service.refused:
        raise AscendError(service.refused[kind])
    spec = service.specs[kind]
    return (
        service.totals[kind],
        spec["tensor_parallel_size"],
        spec["pipeline_parallel_size"],
    )


def test_the_size_of_hosts_settles_how_a_service_is_split() -> None:
    assert split("Qwen3-235B-A22B") == (16, 8, 2)
    assert split("Qwen3-Coder-480B-A35B") == (32, 8, 4)
    assert split("Qwen3-14B", cards=20) == (24, 8, 3)
    # 28 heads: 8 does not divide them, and neither do the 16 cards in all.
    assert split("Qwen2.5-7B", cards=16) == (16, 4, 4)


def test_sizes_that_the_user_gives_are_kept_where_they_fill_complete_hosts() -> None:
    assert split("Qwen3-235B-A22B", tensor_parallel_size=16) == (16, 16, 1)
    with pytest.raises(AscendError, match="does not fill hosts of 8"):
        split("Qwen3-14B", tensor_parallel_size=4, pipeline_parallel_size=3)


def test_cards_by_number_do_not_span() -> None:
    with pytest.raises(AscendError, match="names 10 cards, and the host has 8"):
        split("Qwen3-14B", cards=list(range(10)))


def test_the_spec_of_a_part_is_that_of_its_host_with_the_sizes_of_all() -> None:
    members = {"leader": "a", "rank": 1, "hosts": ["a", "b"]}
    request = {"model": "Qwen3-235B-A22B", "cards": list(range(8)), "cluster": members}
    spec = resolve(request, load_catalogue(), Options()).as_dict()
    assert (spec["cards"], spec["pinned_cards"]) == (8, list(range(8)))
    assert (spec["tensor_parallel_size"], spec["pipeline_parallel_size"]) == (8, 2)
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
