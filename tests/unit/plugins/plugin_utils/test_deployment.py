# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of one host, from its variables alone and from what it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import (
    Catalogue,
    load_catalogue,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._place import placement
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.names import account_name
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    existing_placements,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import (
    Deployment,
    HostState,
    names_of_awaited,
    services_to_render,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

A2 = "atlas-800i-a2-64g"
KEYED = {
    "model": "Qwen3-14B",
    "name": "keyed",
    "api_key": "opensesame",
    "env": {"A": "quiet"},
    "secret_env": {"B": "hush"},
}


def settings(*requests: Any, **variables: Any) -> Settings:
    values = {"ascend_host_profile": A2, "vllm_service_instances": list(requests), **variables}
    return Settings(values.get)


def deployment(*requests: Any, **variables: Any) -> Deployment:
    return Deployment(settings(*requests, **variables), load_catalogue())


def real_cards(*logic: int, name: str = "910B3", memory: int = 65536) -> list[dict[str, Any]]:
    """Cards whose physical ids are not their logic ids."""
    return [
        {"logic_id": n, "phy_id": 7 - n, "npu_id": n, "name": name, "memory_total_mb": memory}
        for n in logic
    ]


def facts(cards: list[dict[str, Any]]) -> dict[str, Any]:
    """What host_info returns of a host on which nothing runs and nothing is installed."""
    full = [
        {
            "chip_id": 0,
            "health": "OK",
            "memory_used_mb": 3000,
            "device": f"/dev/davinci{each['phy_id']}",
            "processes": [],
            **each,
        }
        for each in cards
    ]
    return {
        "npu": {"cards": full, "problems": [], "driver_version": None, "cann_version": None},
        "driver": {
            "version_info": "/v",
            "version_info_exists": True,
            "install_info_exists": True,
            "install_status": "complete",
        },
        "devices": {},
        "groups": ["HwHiAiUser"],
        "user": {"name": "vllm", "exists": True, "groups": ["HwHiAiUser"]},
        "files": {},
        "cann": {},
        "ports": [],
        "ephemeral_ports": [32768, 60999],
        "addresses": [{"interface": "eth0", "address": "192.0.2.10", "default": True}],
        "disk": {"path": "/", "at": "/", "free_bytes": 10**13},
        "models": {},
        "services": [],
        "standing": [],
        "engine": dict.fromkeys(("vllm", "vllm_ascend", "torch_npu", "python")),
        "system": {},
        "tuned": False,
    }


def where(found: list[dict[str, Any]]) -> list[tuple[str, list[int], int]]:
    return [(each["name"], each["cards"], each["port"]) for each in found]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"model": "Qwen2.5-72B", "cards": 2}, "needs at least 4 of 64 GB"),
        ({"model": "No-Such-Model"}, "No-Such-Model"),
        ({"model": "Qwen3-14B", "cards": [9]}, "does not have: the host has the cards 0-7"),
        ({"model": "Qwen3-14B", "args": {"no-such-option": 1}}, "no-such-option"),
    ],
)
def test_what_cannot_work_is_rejected_before_contact(request_: dict[str, Any], words: str) -> None:
    with pytest.raises(AscendError, match=words):
        deployment(request_).check_declared()


def test_two_services_with_one_account_are_rejected_before_contact() -> None:
    """The name of one can be what the account of the other is shortened to."""
    taken = account_name("qwen2.5-7b")[len("vllm-") :]
    both = ["Qwen2.5-7B", {"model": "Qwen3-8B", "name": taken}]
    with pytest.raises(AscendError, match=f"qwen2.5-7b and {taken} would both run as vllm-{taken}"):
        deployment(*both).check_declared()
    checks = deployment(*both).check(facts(real_cards(0, 1)))
    assert [each.subject for each in checks.findings if each.code == "placement"] == [
        f"service {taken}"
    ]
    deployment(*both, vllm_service_user="vllm").check_declared()


def test_a_host_that_declares_nothing_is_told_what_to_declare() -> None:
    with pytest.raises(AscendError, match="ascend_host_profile is not set.*atlas-800i-a2-64g"):
        deployment("Qwen3-14B", ascend_host_profile="")
    assert deployment(ascend_host_profile="").specs == []


def test_declared_cards_are_not_known_to_be_the_real_ones() -> None:
    made = deployment("Qwen3-14B", vllm_service_cards=[6, 7])
    made.check_declared()
    assert where(made.as_dict()["services"]) == [("qwen3-14b", [6], 8000)]
    made.place(HostState(real_cards(0, 6, 7)))
    assert made.as_dict()["services"][0]["devices"] == ["/dev/davinci1"]


def test_a_list_in_the_list_is_the_same_as_its_entries() -> None:
    made = deployment(["Qwen3-14B", {"model": "Qwen3-8B"}], "Qwen3-4B")
    made.place(HostState(8))
    assert made.as_dict()["origins"] == [0, 1, 2]
    assert [each["model"] for each in made.as_dict()["services"]] == [
        "Qwen3-14B",
        "Qwen3-8B",
        "Qwen3-4B",
    ]


def test_nothing_private_is_in_the_result_and_rendering_has_it_all_again() -> None:
    asked = settings("Qwen3-8B", KEYED)
    made = Deployment(asked, load_catalogue())
    made.place(HostState(real_cards(*range(8))))
    result = json.loads(json.dumps(made.as_dict()))
    for private in ("opensesame", "quiet", "hush"):
        assert private not in json.dumps(result)
    services = services_to_render(asked, load_catalogue, result)
    assert {key: services[1][key] for key in ("api_key", "env", "secret_env")} == {
        key: KEYED[key] for key in ("api_key", "env", "secret_env")
    }
    assert services == [service.as_dict() for service in made.services]


def no_catalogue() -> Catalogue:
    raise AssertionError("the catalogue is read again")


def test_the_same_variables_are_not_resolved_or_placed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = deployment(KEYED)
    made.place(HostState(8))
    result = made.as_dict()
    monkeypatch.setattr(placement, "place", None)
    assert where(services_to_render(settings(KEYED), no_catalogue, result)) == [
        ("keyed", [0], 8000)
    ]


def test_other_variables_are_placed_on_what_was_read_of_the_host() -> None:
    made = deployment("Qwen3-14B")
    made.place(HostState(real_cards(*range(8)), {0: "health Alarm"}))
    result = json.loads(json.dumps(made.as_dict()))
    found = services_to_render(settings("Qwen3-14B", "Qwen3-8B"), load_catalogue, result)
    assert where(found) == [("qwen3-14b", [1], 8000), ("qwen3-8b", [2], 8001)]
    assert found[0]["devices"] == ["/dev/davinci6"]


def test_an_empty_existing_placement_packs_the_services_again() -> None:
    """Not the placement of an earlier task, which was computed from what the host had."""
    made = deployment("Qwen3-14B")
    made.place(HostState(8, existing=existing_placements({"qwen3-14b": {"cards": [5]}})))
    result = json.loads(json.dumps(made.as_dict()))
    assert where(result["services"]) == [("qwen3-14b", [5], 8000)]
    packed = settings("Qwen3-14B", vllm_service_standing={})
    assert where(services_to_render(packed, load_catalogue, result)) == [("qwen3-14b", [0], 8000)]


def test_a_part_of_the_services_is_never_taken_for_all_of_them() -> None:
    """Else a run in which cards are not to be seen would remove what serves."""
    made = deployment("Qwen3-14B")
    made.check_declared()
    made.check(facts([]))
    result = made.as_dict()
    assert result["services"] == []
    with pytest.raises(AscendError, match="this host has 0"):
        services_to_render(settings("Qwen3-14B"), load_catalogue, result)


def test_a_host_without_a_list_of_services_is_not_one_with_an_empty_list() -> None:
    with pytest.raises(AscendError, match="vllm_service_instances is not defined"):
        services_to_render(Settings({"ascend_host_profile": A2}.get), load_catalogue, None)
    assert services_to_render(settings(), load_catalogue, None) == []


def test_names_of_what_should_run_need_neither_a_profile_nor_a_placement() -> None:
    asked = ["Qwen3-14B", {**KEYED, "state": "stopped"}, {"model": "Qwen3-8B", "name": "small"}]
    bare = Settings({"vllm_service_instances": asked}.get)
    assert names_of_awaited(bare, load_catalogue, None, []) == ["qwen3-14b", "small"]
    made = deployment(*asked)
    made.place(HostState(8))
    known = made.as_dict()
    assert names_of_awaited(settings(*asked), no_catalogue, known, []) == ["qwen3-14b", "small"]
    assert names_of_awaited(settings("Qwen3-4B"), load_catalogue, known, []) == ["qwen3-4b"]
    with pytest.raises(AscendError, match="vllm_service_instances is not defined"):
        names_of_awaited(Settings({}.get), load_catalogue, None, [])


def test_the_leader_alone_is_asked_where_it_is_in_the_run() -> None:
    cluster = {"leader": "h1", "rank": 1, "hosts": ["h1", "h2"]}
    member = {"model": "Qwen3-235B-A22B", "name": "big", "cards": 8, "cluster": cluster}
    asked = Settings({"vllm_service_instances": [member, "Qwen3-4B"]}.get)
    assert names_of_awaited(asked, load_catalogue, None, ["h1", "h2"]) == ["qwen3-4b"]
    assert names_of_awaited(asked, load_catalogue, None, ["h2"]) == ["big", "qwen3-4b"]
    leader = Settings(
        {"vllm_service_instances": [{**member, "cluster": {**cluster, "rank": 0}}]}.get
    )
    assert names_of_awaited(leader, load_catalogue, None, ["h1", "h2"]) == ["big"]


def test_a_service_over_hosts_needs_its_secret_before_any_host_is_contacted() -> None:
    """Else the host without one would fail when the others have changed theirs."""
    cluster = {"leader": "h1", "rank": 1, "hosts": ["h1", "h2"]}
    member = {"model": "Qwen3-235B-A22B", "name": "big", "cards": 8, "cluster": cluster}
    for more in ({}, {"ascend_host_services": []}):
        with pytest.raises(AscendError, match="service big .*vllm_service_cluster_secret is not"):
            deployment(member, **more).check_declared()
    deployment(member, vllm_service_cluster_secret="0123456789abcdef").check_declared()
    deployment({**member, "state": "absent"}).check_declared()


def test_requests_are_resolved_again_for_the_memory_that_is_there(
    tmp_path: Path,
) -> None:
    """With a user's own table too: the check once vanished where its path was relative."""
    table = tmp_path / "mine.yml"
    table.write_text(
        "table: mine\nupdated: '2026-01-01'\nbasis: calibrated\n"
        "conditions: {card_memory_gb: 64, gpu_memory_utilization: 0.9}\n"
        "rows: [{model: House-7B, min_cards: 1, max_model_len: 8192}]\n"
    )
    catalogue = load_catalogue(["mine.yml"], {"mine.yml": str(table)}.get)
    asked = settings("Qwen2.5-72B", "House-7B", ascend_model_tables=["mine.yml"])
    report = Deployment(asked, catalogue).check(
        facts(real_cards(*range(8), name="910B4", memory=32768))
    )
    errors = {(each.code, each.subject) for each in report.findings if each.severity == "error"}
    assert ("model", "House-7B on atlas-800i-a2-32g") in errors
    assert ("card_memory", A2) in errors


def test_a_recipe_is_rendered_from_what_an_earlier_task_computed() -> None:
    request = {"model": "Qwen3-32B", "cards": 4, "recipe": "throughput"}
    one = deployment(request)
    one.check_declared()
    earlier = one.as_dict()
    for known in (earlier, None):
        (service,) = services_to_render(settings(request), load_catalogue, known)
        assert service["recipe_env"]["TASK_QUEUE_ENABLE"] == "1"
        assert service["args"]["block-size"] == 128


def test_what_cannot_start_is_rejected_before_contact() -> None:
    with pytest.raises(AscendError, match="AWQ cannot start on vLLM 0.18.0: .* Serve the unquant"):
        deployment("InternVL2-Llama3-76B-AWQ", vllm_service_engine_version="0.18.0")
    assert deployment("Llama3-8B").specs[0].max_model_len == 8192
