# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that Prometheus takes, from the variables of hosts and their placed services."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import Variables
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.files import Limits, files
from ansible_collections.inferops.ascend.plugins.plugin_utils._monitoring.fleet import (
    Fleet,
    WatchedHost,
    planned_services,
    watched_host,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import services_to_render
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

A2 = "atlas-800i-a2-64g"
CHAT = {"model": "Qwen3-14B", "name": "chat"}
BIG = {"model": "Qwen3-235B-A22B", "name": "big", "cards": [0, 1, 2, 3, 4, 5, 6, 7]}


def watched(name: str, *requests: Any, **variables: Any) -> WatchedHost:
    """A host as its variables describe it; Ansible reaches it at 10.0.0.1."""
    values = {"ascend_host_profile": A2, "vllm_service_instances": list(requests), **variables}
    settings, catalogue = Settings(values.get), load_catalogue()
    return watched_host(
        name,
        settings,
        Variables(values.get),
        services_to_render(settings, lambda: catalogue, None),
        planned_services(Variables(values.get), catalogue),
        catalogue,
        "10.0.0.1",
    )


def made(*hosts: WatchedHost, path: str = "targets/inferops_vllm.yml", **more: Any) -> Any:
    """A file of a fleet, as Prometheus reads it."""
    return yaml.safe_load(files(Fleet(hosts, **more), Limits(10), "/etc/prometheus/file_sd")[path])


def recorded(fleet: Fleet, name: str) -> list[dict[str, Any]]:
    """The labels and the value of the rules that record a name."""
    text = files(fleet, Limits(10), "/x")["rules/inferops_ascend_plan.yml"]
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    return [
        {**rule.get("labels", {}), "value": rule["expr"]}
        for rule in rules
        if rule["record"] == name
    ]


def test_a_service_is_a_target_with_its_labels() -> None:
    (target,) = made(watched("h1", CHAT))
    assert target["targets"] == ["10.0.0.1:8000"]
    assert target["labels"] == {
        "host": "h1",
        "service": "chat",
        "replica": "chat",
        "model": "Qwen3-14B",
        "engine_version": "0.18.0",
    }


def test_only_services_that_should_run_are_targets_and_on_cards() -> None:
    stopped = {"model": "bge-m3", "state": "stopped"}
    host = watched("h1", stopped, CHAT)
    assert [each["labels"]["replica"] for each in made(host)] == ["chat"]
    rows = recorded(Fleet([host]), "inferops_service_card_info")
    assert [(row["service"], row["id"]) for row in rows] == [("chat", "1")]


@pytest.mark.parametrize(
    ("variables", "target"),
    [
        ({"vllm_monitoring_address": "10.9.0.1"}, "10.9.0.1:8000"),
        ({"vllm_monitoring_address": "fd00::1"}, "[fd00::1]:8000"),
        ({"vllm_service_host": "10.8.0.1"}, "10.8.0.1:8000"),
        ({"vllm_service_host": "::"}, "10.0.0.1:8000"),
    ],
)
def test_a_target_has_the_address_at_which_it_is_reached(
    variables: dict[str, str], target: str
) -> None:
    assert made(watched("h1", CHAT, **variables))[0]["targets"] == [target]


def test_a_service_with_a_certificate_is_scraped_by_https() -> None:
    args = {"ssl-certfile": "/etc/vllm/cert.pem", "ssl-keyfile": "/etc/vllm/key.pem"}
    assert made(watched("h1", {**CHAT, "args": args}))[0]["labels"]["__scheme__"] == "https"


def test_of_a_service_over_hosts_the_leader_alone_is_a_target_and_all_have_cards() -> None:
    def member(rank: int) -> WatchedHost:
        cluster = {"leader": "h0", "rank": rank, "hosts": ["h0", "h1"]}
        request = {**BIG, "cluster": cluster, "engine": "native"}
        secret = {"vllm_service_cluster_secret": "a secret that is long enough"}
        return watched(f"h{rank}", request, **secret)

    fleet = Fleet([member(0), member(1)])
    assert [each["labels"]["host"] for each in made(*fleet.hosts)] == ["h0"]
    rows = recorded(fleet, "inferops_service_card_info")
    assert {row["host"] for row in rows} == {"h0", "h1"}
    assert len(rows) == 16
    assert fleet.expected() == {"big": 1}


def test_the_plan_says_how_many_replicas_there_should_be() -> None:
    plan = [{**CHAT, "replicas": 3}, {"model": "bge-m3", "replicas": "all"}, "Qwen3-8B"]
    planned = {"chat": 3, "bge-m3": None, "qwen3-8b": 1}
    hosts = [
        watched("h1", CHAT, {**CHAT, "name": "chat-2"}, "bge-m3", vllm_plan_services=plan),
        watched("h2", "bge-m3", {"model": "Qwen3-14B", "name": "by-hand"}),
    ]
    assert (
        planned_services(Variables({"vllm_plan_services": plan}.get), load_catalogue()) == planned
    )
    fleet = Fleet(hosts, planned)
    assert fleet.expected() == {"bge-m3": 2, "by-hand": 1, "chat": 3, "qwen3-8b": 1}
    assert [each["labels"]["service"] for each in made(*hosts)][:2] == ["chat", "chat"]


def test_the_exporter_is_a_target_where_there_is_one() -> None:
    path = "targets/inferops_npu_exporter.yml"
    assert made(watched("h1"), path=path) == []
    here = watched("h1", vllm_monitoring_npu_exporter="/opt/npu-exporter")
    assert made(here, path=path) == [{"targets": ["10.0.0.1:8082"], "labels": {"host": "h1"}}]
    other = {
        "vllm_monitoring_npu_exporter_present": True,
        "vllm_monitoring_npu_exporter_port": 9100,
    }
    assert made(watched("h1", **other), path=path)[0]["targets"] == ["10.0.0.1:9100"]
    assert recorded(Fleet([here]), "inferops_host_cards_expected") == [
        {"host": "h1", "value": "vector(8)"}
    ]
    with pytest.raises(AscendError, match="vllm_monitoring_npu_exporter_port is 0"):
        watched("h1", **{**other, "vllm_monitoring_npu_exporter_port": 0})


def test_gateways_are_targets_and_jobs_find_all_of_them() -> None:
    path = "targets/inferops_haproxy.yml"
    assert made(path=path, gateways={"gw": "10.0.0.9:8404"}) == [
        {"targets": ["10.0.0.9:8404"], "labels": {"host": "gw"}}
    ]
    jobs = made(path="scrape_configs/inferops_ascend.yml")["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["vllm", "npu-exporter", "haproxy"]
    assert [job.get("honor_timestamps", True) for job in jobs] == [True, False, True]
    assert jobs[1]["file_sd_configs"][0]["files"] == [
        "/etc/prometheus/file_sd/inferops_npu_exporter.yml"
    ]


def test_a_limit_that_is_not_set_is_not_recorded() -> None:
    fleet = Fleet([])
    assert recorded(fleet, "inferops_first_token_seconds_limit") == [{"value": "vector(10)"}]
    assert recorded(fleet, "inferops_card_temperature_limit") == []
