# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that pass their KV cache on: ports, roles, and pairs on one host."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.kv_transfer import with_port

SIZES = {"prefill": {"dp_size": 1, "tp_size": 2}, "decode": {"dp_size": 1, "tp_size": 2}}


def transfer(role: str, **more: Any) -> dict[str, Any]:
    return {
        "kv_connector": "MooncakeConnectorV1",
        "kv_role": role,
        "kv_connector_extra_config": SIZES,
        **more,
    }


def spec(name: str, config: Any = None, cards: int = 2, **more: Any) -> dict[str, Any]:
    args = {} if config is None else {"kv-transfer-config": config}
    tensor = {"tensor_parallel_size": cards}
    return {"name": name, "model": "Qwen3-14B", "cards": cards, **tensor, "args": args, **more}


def prefill(**more: Any) -> dict[str, Any]:
    return spec("prefill", transfer("kv_producer", **more))


def decode(**more: Any) -> dict[str, Any]:
    return spec("decode", transfer("kv_consumer", **more))


def rejection(specs: list[dict[str, Any]], **options: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        place(specs, 8, **options)
    return str(caught.value)


def test_each_rank_has_a_port_by_the_cards_of_its_service() -> None:
    placed = place([spec("other", cards=1), prefill(), decode()], 8)
    assert [service.get("kv_ports") for service in placed] == [
        None,
        [63002, 63003],
        [63004, 63005],
    ]
    assert place([prefill()], 8, kv_port_base=18000)[0]["kv_ports"] == [18000, 18001]


def test_a_port_that_is_named_counts_also_as_text_and_in_one_of_several_connectors() -> None:
    inner = transfer("kv_producer", kv_port="28100")
    several = {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_producer",
        "kv_connector_extra_config": {
            "connectors": [
                inner,
                {"kv_connector": "AscendStoreConnector", "kv_role": "kv_producer"},
            ]
        },
    }
    for config in (inner, json.dumps(inner), several):
        assert place([spec("prefill", config)], 8)[0]["kv_ports"] == [28100, 28101]
    assert place([spec("p", {**inner, "kv_port": None})], 8)[0]["kv_ports"] == [63000, 63001]


def over_two_hosts(service: dict[str, Any]) -> dict[str, Any]:
    return {**service, "cluster": {"leader": "npu-01", "rank": 1, "hosts": ["npu-01", "npu-02"]}}


def test_the_hosts_of_one_service_listen_on_the_same_ports_for_all_its_ranks() -> None:
    placed = place([spec("other", cards=1), over_two_hosts(prefill())], 8)
    assert placed[1]["kv_ports"] == [63000, 63003]


def test_a_pool_of_kv_caches_has_no_ports_of_its_own() -> None:
    pool = {"kv_connector": "AscendStoreConnector", "kv_role": "kv_both"}
    assert "kv_ports" not in place([spec("chat", pool)], 8)[0]


def test_automatic_api_ports_skip_those_that_engines_exchange_caches_by() -> None:
    placed = place([prefill(kv_port=8001), spec("other", cards=1)], 8, port_base=8000)
    assert [service["port"] for service in placed] == [8000, 8003]
    placed = place([prefill(), spec("other", cards=1)], 8, port_base=19999)
    assert [service["port"] for service in placed] == [19999, 28000]


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        ([prefill(kv_port=36000)], {}, ["36000-36001", "ephemeral range", "leave it out"]),
        ([prefill(kv_port=20001)], {}, ["20001-20002", "its own ports of Mooncake 20000-27999"]),
        ([prefill(kv_port=65535)], {}, ["65535-65536", "beyond 65535"]),
        ([prefill(kv_port=80)], {}, ["kv_port is 80", "1024 to 65535"]),
        ([prefill(kv_port=True)], {}, ["kv_port is True"]),
        (
            [prefill(kv_port=28000), decode(kv_port=28001)],
            {},
            ["prefill's KV transfer ports 28000-28001", "decode's KV transfer ports 28001-28002"],
        ),
        ([prefill(kv_port=61031)], {}, ["KV transfer ports 61031-61032", "its own HCCL ports"]),
        ([prefill()], {"hccl_port_base": 27990}, ["HCCL ports 27990-28021", "Mooncake"]),
        ([{**prefill(), "port": 63001}], {}, ["port 63001", "its own KV transfer ports"]),
        (
            [prefill(), {**decode(), "port": 20500}],
            {},
            ["decode: port 20500", "prefill's ports of Mooncake", "Take another port."],
        ),
        (
            [over_two_hosts(spec("wide")), prefill()],
            {"cluster_port_base": 20000},
            [
                "prefill's ports of Mooncake",
                "wide's ports among hosts 20000-20511",
                "Move the base",
            ],
        ),
        (
            [over_two_hosts({**spec("wide"), "port": 18001})],
            {},
            ["port 18001", "its own ports among hosts 18000-18511"],
        ),
        ([over_two_hosts(spec("wide"))], {"cluster_port_base": 32700}, ["ephemeral range"]),
        ([prefill()], {"kv_port_base": 0}, ["kv_port_base", "1024"]),
    ],
)
def test_ports_that_meet_others(
    specs: list[dict[str, Any]], options: dict[str, Any], words: list[str]
) -> None:
    message = rejection(specs, **options)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (transfer("producer"), ["prefill, args", "'producer'", "kv_producer, kv_consumer"]),
        ({"kv_connector": "MooncakeConnectorV1"}, ["kv_role", "is missing"]),
        ({"kv_role": "kv_producer"}, ["names no kv_connector"]),
        (transfer("kv_producer", kv_connector_extra_config={}), ["tp_size of prefill is missing"]),
        (
            transfer(
                "kv_producer",
                kv_connector_extra_config={**SIZES, "prefill": {"dp_size": 1, "tp_size": 4}},
            ),
            ["kv_producer and has the tensor parallel size 2", "tp_size of prefill is 4"],
        ),
        (
            transfer(
                "kv_producer",
                kv_connector_extra_config={**SIZES, "decode": {"dp_size": 1, "tp_size": 4}},
            ),
            ["tp_size of prefill is 2", "decode, 4", "does not support"],
        ),
    ],
)
def test_what_the_engine_would_fail_on(config: Any, words: list[str]) -> None:
    message = rejection([spec("prefill", config)])
    assert all(word in message for word in words), message


def test_producer_and_consumer_of_a_model_have_to_agree() -> None:
    wide = {**SIZES, "prefill": {"dp_size": 2, "tp_size": 2}}
    layerwise = decode(kv_connector="MooncakeLayerwiseConnector")
    assert "MooncakeLayerwiseConnector" in rejection([prefill(), layerwise])
    message = rejection([prefill(), decode(kv_connector_extra_config=wide)])
    assert all(word in message for word in ("prefill and decode", "'dp_size': 2", "'dp_size': 1"))
    # Those of another model are no pair.
    place([prefill(), {**layerwise, "model": "Qwen3-8B"}], 8)


def test_two_services_have_two_engine_ids() -> None:
    message = rejection([prefill(engine_id=0), decode(engine_id="0")])
    assert "prefill and decode both have engine_id '0'" in message
    place([prefill(engine_id=0), decode(engine_id=1)], 8)


def test_the_port_goes_into_the_part_that_needs_it() -> None:
    inner = {"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_producer"}
    outer = {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_producer",
        "kv_connector_extra_config": {"connectors": [inner]},
    }
    written = json.loads(with_port(json.dumps(outer), {"kv_ports": [63000, 63001]}))
    assert "kv_port" not in written
    assert written["kv_connector_extra_config"]["connectors"][0]["kv_port"] == 63000
    named = json.dumps({**inner, "kv_port": "28000"})
    assert json.loads(with_port(named, {"kv_ports": [28000, 28001]}))["kv_port"] == "28000"


@pytest.mark.parametrize(("given", "written"), [({}, 62998), ({"kv_port": 28000}, 28000)])
def test_one_rank_of_several_listens_after_those_before_it(
    given: dict[str, Any], written: int
) -> None:
    service = prefill(**given)
    service["args"].update({"data-parallel-size": 2, "data_parallel_rank": 1})
    (placed,) = place([service], 8)
    first = placed["kv_ports"][0]
    text = json.dumps(placed["args"]["kv-transfer-config"])
    port = json.loads(with_port(text, placed))["kv_port"]
    assert (port, first) == (written, written + 2)
