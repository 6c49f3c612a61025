# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services written by hand, and the entries of a host."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import (
    PortAllocator,
    entries,
    source_lines,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import Assignment
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import Problems, some
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.requests import (
    RequestReader,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.services import given_services

from .inventories import Hosts, group, read


def test_services_written_by_hand_are_placed_as_the_role_places_them() -> None:
    hosts = group([], 1, length="8K")
    inventory = Hosts(hosts)
    reader = RequestReader(inventory, Problems())
    own = reader.hardware(hosts, {})[0]["npu-01"]
    raw = [
        "QwQ-32B",
        {
            "model": "Qwen3-14B",
            "name": "x",
            "max_model_len": "{{ length }}",
            "env": {"A": "{{ b }}"},
        },
        {"model": "gone", "state": "absent"},
    ]
    placed = given_services(reader, "npu-01", raw, own, "vllm_service_instances")
    assert [(each["name"], each["cards"], each["port"]) for each in placed] == [
        ("qwq-32b", [0, 1], 8000),
        ("x", [2], 8001),
    ]
    assert placed[1]["max_model_len"] == 8192
    with pytest.raises(AscendError, match="Nope"):
        given_services(reader, "npu-01", ["Nope"], own, "vllm_service_instances")


def test_ports_stay_and_those_given_win() -> None:
    hosts = group(["QwQ-32B", {"model": "Qwen3-14B", "port": 8001}, "Qwen3-8B"], 1)
    services, found, _unused, _unused = read(hosts)
    assignments = [
        Assignment("qwen3-14b", "npu-01", (2,)),
        Assignment("qwen3-8b", "npu-01", (3,)),
        Assignment("qwq-32b", "npu-01", (0, 1)),
    ]
    own = found["npu-01"]
    made = entries(own, assignments, services, {"qwq-32b": 8005, "qwen3-8b": 8001}, PortAllocator())
    assert [(entry.name, entry.settled["port"]) for entry in made] == [
        ("qwen3-14b", 8001),
        ("qwen3-8b", 8000),
        ("qwq-32b", 8005),
    ]


def test_a_hub_id_is_kept_for_it_says_which_weights() -> None:
    services, found, _unused, _unused = read(group(["Qwen/Qwen2.5-72B-Instruct", "qwen3-14b"], 1))
    models = {
        entry.name: entry.settled["model"]
        for entry in entries(
            found["npu-01"],
            [Assignment(name, "npu-01", (n * 4,)) for n, name in enumerate(services)],
            services,
            {},
            PortAllocator(),
        )
    }
    assert models == {"qwen2.5-72b": "Qwen/Qwen2.5-72B-Instruct", "qwen3-14b": "Qwen3-14B"}


def test_every_entry_says_where_its_figures_come_from() -> None:
    requests = [{"model": "Qwen3-14B"}, {"model": "QwQ-32B", "max_model_len": "8K"}, "Qwen3-8B"]
    hosts = group(requests, 1)
    hosts["npu-01"].update(ascend_host_profile="atlas-800i-a2-32g", vllm_service_estimate=True)
    services, found, _unused, _unused = read(hosts)
    assignments = [Assignment(name, "npu-01", (n,)) for n, name in enumerate(sorted(services))]
    lines = [
        line
        for entry in entries(found["npu-01"], assignments, services, {}, PortAllocator())
        for line in source_lines(entry)
    ]
    assert lines[0] == "figures: estimated from the model's size, never run"
    assert lines[2].startswith(
        "max_model_len as asked for; figures: table ascend-vllm-0.7.2, row 1"
    )


def test_a_service_over_hosts_says_what_its_split_follows() -> None:
    services, found, _unused, _unused = read(group([{"model": "Qwen3-235B-A22B", "name": "big"}]))
    hosts = ("npu-01", "npu-02")
    part = Assignment("big", "npu-02", tuple(range(8)), "npu-01", 1, hosts)
    (entry,) = entries(found["npu-02"], [part], services, {}, PortAllocator())
    settled = entry.settled
    assert settled["data_parallel_size"] * settled["tensor_parallel_size"] == 16
    assert (settled["engine"], settled["cluster"]["rank"]) == ("data_parallel", 1)
    assert source_lines(entry)[1].startswith("split over hosts: vllm-ascend @182b75ea84 tests/e2e/")


def test_names_are_cut_where_they_are_many() -> None:
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(list("abcde")) == "a, b and 3 more hosts"
