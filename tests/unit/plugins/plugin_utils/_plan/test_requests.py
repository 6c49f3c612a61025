# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts list becomes services with candidates; all that is wrong is reported at once."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import TaggedValue
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

from .inventories import group, problems, read


def test_a_service_may_go_to_every_host_that_lists_it() -> None:
    hosts = group([{"model": "Qwen3-14B", "replicas": "2", "priority": "-3"}, "QwQ-32B"], 3)
    hosts["npu-03"]["vllm_plan_services"] = ["QwQ-32B"]
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].hosts == ("npu-01", "npu-02")
    assert services["qwq-32b"].hosts == ("npu-01", "npu-02", "npu-03")
    asked = services["qwen3-14b"].for_planner()
    assert (asked.replicas, asked.priority, asked.spread_required) == (2, -3, False)
    assert services["qwq-32b"].for_planner().cards == {"atlas-800i-a2-64g": 2}


def test_a_pattern_narrows_and_all_means_each() -> None:
    requests = [{"model": "Qwen3-14B", "hosts": "*-02", "replicas": "all", "spread": "required"}]
    services, _unused, wrong, _unused = read(group(requests, 3))
    asked = services["qwen3-14b"].for_planner()
    assert (asked.hosts, asked.replicas, asked.spread_required) == (("npu-02",), None, True)
    assert not wrong


def test_a_port_of_its_own_keeps_replicas_on_different_hosts() -> None:
    services, *_unused = read(group([{"model": "Qwen3-14B", "port": 8100}]))
    assert services["qwen3-14b"].for_planner().spread_required


def test_cards_by_number_are_pinned() -> None:
    services, *_unused = read(group([{"model": "Qwen3-14B", "cards": [5]}]))
    assert services["qwen3-14b"].for_planner().pinned == (5,)


def test_each_kind_of_host_is_resolved_for_itself() -> None:
    hosts = group(["QwQ-32B"], 2)
    hosts["npu-02"]["ascend_host_profile"] = "atlas-800i-a2-32g"
    service = read(hosts)[0]["qwq-32b"]
    assert service.for_planner().cards == {"atlas-800i-a2-64g": 2, "atlas-800i-a2-32g": 4}


def test_a_kind_that_cannot_carry_a_service_says_why() -> None:
    hosts = group(["Qwen3-14B"], 2)
    hosts["npu-02"]["ascend_host_profile"] = "atlas-800i-a2-32g"
    service = read(hosts)[0]["qwen3-14b"]
    assert set(service.totals) == {"atlas-800i-a2-64g"}
    assert "cards of 32 GB" in service.refused["atlas-800i-a2-32g"]


def test_a_model_that_nobody_lists_is_planned_on_the_requests_word() -> None:
    request = {"model": "Ours-70B", "path": "/data/ours", "cards": 4, "max_model_len": "32K"}
    services, _unused, wrong, _unused = read(group([request]))
    assert not wrong
    assert services["ours-70b"].for_planner().cards == {"atlas-800i-a2-64g": 4}
    del request["path"]
    assert "No table lists the model 'Ours-70B'" in problems([request])


def test_quantised_weights_of_a_known_model_are_planned_by_estimate() -> None:
    hosts = group(["us/Qwen3-32B-W8A8"])
    for variables in hosts.values():
        variables["vllm_service_estimate"] = True
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["us-qwen3-32b-w8a8"].for_planner().cards == {"atlas-800i-a2-64g": 1}


def test_a_model_that_a_hub_has_is_planned_by_estimate() -> None:
    hosts = group([{"model": "Ours", "huggingface": "us/Ours-8B"}])
    with hubs.serving(hubs.Hub(models={"us/Ours-8B": hubs.model()})) as at:
        for variables in hosts.values():
            variables["vllm_service_estimate"] = True
            variables["vllm_service_estimate_hub"] = "huggingface"
            variables["vllm_weights_endpoints"] = {"huggingface": at}
        services, _unused, wrong, _unused = read(hosts)
        for variables in hosts.values():
            variables["vllm_service_estimate"] = False
        assert not read(hosts)[0]
    assert not wrong
    assert services["ours"].for_planner().cards == {"atlas-800i-a2-64g": 1}


def test_absent_services_are_no_services() -> None:
    requests = [{"model": "Qwen3-14B"}, {"model": "gone-model", "state": "absent"}]
    services, _unused, wrong, _unused = read(group(requests))
    assert list(services) == ["qwen3-14b"]
    assert not wrong


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"model": "Qwen3-14B", "replicas": 0}, "replicas is 0"),
        ({"model": "Qwen3-14B", "replicas": "some"}, "replicas is 'some'"),
        ({"model": "Qwen3-14B", "replicas": True}, "replicas is True"),
        ({"model": "Qwen3-14B", "spread": "wide"}, "preferred or required"),
        ({"model": "Qwen3-14B", "priority": "high"}, "priority is 'high'"),
        ({"model": "Qwen3-14B", "hosts": []}, "hosts is []"),
        ({"model": "Qwen3-14B", "hosts": 5}, "hosts is 5"),
        ({"model": "Qwen3-14B", "hosts": "web*"}, "match none of the hosts that list it"),
        ({"model": "Qwen3-14B", "port": 80}, "port is 80"),
        ({"model": "Qwen3-14B", "state": "gone"}, "started, stopped, absent"),
        ({"model": "Qwen3-14B", "replica": 2}, "is replicas meant?"),
        ({"model": "Qwen3-14B", "max-model-len": 5}, "Write max_model_len"),
        ({"model": "Qwen3-14B", "enable_prefix_caching": True}, "an option of vLLM"),
        ({"model": "Qwen3-14B", "cluster": {}}, "the key cluster is set by"),
        ({"model": "Qwen3-14B", 5: 6}, "the key 5, which is not a text"),
        ({"model": "Qwen3-14B", "name": "a b"}, "Write name: a-b"),
        ({"model": "Qwen3-15B"}, "The closest are Qwen3-14B"),
        ({"cards": 2}, "names no model"),
        ({}, "A request names no model. Write"),
        ({"model": "Qwen3-14B", "env": "A=b"}, "env is a string"),
        (5, "service 1 is a number"),
        (None, "service 1 is null"),
        (["Qwen3-14B"], "service 1 is a list"),
        (TaggedValue("!vault", "$ANSIBLE_VAULT"), "is encrypted"),
        ({"model": TaggedValue("!vault", "$ANSIBLE_VAULT")}, "model is encrypted"),
    ],
)
def test_a_request_that_cannot_be_planned(request_: Any, words: str) -> None:
    text = problems([request_])
    assert words in text
    assert text.count("\n") == 0


def test_a_model_that_no_host_can_carry_is_left_to_the_planner_with_the_reason() -> None:
    service = read(group([{"model": "Qwen3-14B", "max_model_len": "1M"}]))[0]["qwen3-14b"]
    assert service.totals == {}
    assert "longest that was tested" in service.refused["atlas-800i-a2-64g"]


def test_all_that_is_wrong_is_said_at_once_with_the_hosts() -> None:
    lines = read(group([{"model": "Nope"}, {"model": "Qwen3-14B", "spread": 5}, 7], 5))[2]
    assert len(lines) == 3
    assert all(line.startswith("npu-01, npu-02 and 3 more hosts: ") for line in lines)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Qwen3-14B", "a list is needed"),
        ({"model": "Qwen3-14B"}, "is a mapping; a list"),
        (None, "is null; a list"),
        (TaggedValue("!vault", "x"), "encrypted completely"),
        ("{{ lookup('file', 'x') }}", "may only name other lists"),
        ("{{ nowhere }}", "nowhere, which is not defined"),
        ("{{ vllm_plan_services }}", "not defined"),
        ([], "is empty for all hosts"),
    ],
)
def test_a_list_that_is_none(value: Any, words: str) -> None:
    assert words in problems(value)


def test_an_empty_list_on_one_host_takes_its_services_elsewhere() -> None:
    hosts = group(["Qwen3-14B"], 3)
    hosts["npu-02"]["vllm_plan_services"] = []
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].hosts == ("npu-01", "npu-03")


def test_the_same_name_twice_in_a_list() -> None:
    text = problems(["Qwen3-14B", {"model": "QwQ-32B", "name": "qwen3-14b"}])
    assert "services 1 and 2 are both named qwen3-14b" in text


def test_two_hosts_that_do_not_mean_the_same_are_named() -> None:
    hosts = group([{"model": "Qwen3-14B", "env": {"A": 1}}])
    hosts["npu-02"]["vllm_plan_services"] = [{"model": "Qwen3-14B", "replicas": 2}]
    text = "\n".join(read(hosts)[2])
    assert "npu-01 and npu-02 ask for it with other values of env, replicas" in text


def test_lists_that_say_the_same_in_two_places_are_one() -> None:
    hosts = group([{"model": "Qwen3-14B", "args": {"seed": 1}}])
    hosts["npu-02"]["vllm_plan_services"] = [{"model": "Qwen3-14B", "args": {"seed": 1}}]
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].hosts == ("npu-01", "npu-02")
