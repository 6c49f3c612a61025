# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that have a card together, in the preflight and in what verify compares."""

from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_options import host_options
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

from . import readings
from .facts import card, checked, codes, errors, facts, process
from .readings import Readings, found, plan, seen, served

EMBED = {"model": "bge-m3", "share": True, "gpu_memory_utilization": 0.3}
RERANK = {"model": "bge-reranker-v2-m3", "share": True, "gpu_memory_utilization": 0.4}


def running(*names: str) -> dict[str, Any]:
    """A host on which services of ours run on card 0, each with 18 GB of it."""
    users = [process(90 + n, 18000, f"vllm@{name}.service") for n, name in enumerate(names)]
    used = 3465 + 18000 * len(names)
    cards = [card(0, memory_used_mb=used, processes=users), *(card(n) for n in range(1, 8))]
    host = facts(cards)
    for n, name in enumerate(names):
        base = 61000 + 512 * n
        unit = {"unit": f"vllm@{name}.service", "pids": [90 + n], "cards": [0]}
        host["services"].append({**unit, "hccl_base_port": base})
        host["standing"].append(
            {"name": name, "cards": [0], "port": 8000 + n, "hccl_base_port": base}
        )
    return host


def test_a_process_of_the_other_service_is_not_foreign() -> None:
    names = ("bge-m3", "bge-reranker-v2-m3")
    host = checked(running(*names), EMBED, RERANK)
    assert codes(host) == []
    assert [service.placement.cards for service in host_services(host)] == [(0,), (0,)]


def host_services(checks: Any) -> Any:
    """The placements of the requests on what the checks found, in the order given."""
    deployment = Deployment(checks.settings, load_catalogue())
    deployment.check(checks.facts)
    return deployment.services


def test_what_runs_keeps_its_hccl_ports_when_the_first_one_goes() -> None:
    host = checked(running("bge-m3", "bge-reranker-v2-m3"), RERANK)
    (left,) = host_services(host)
    assert left.placement.hccl_ports == (61512, 61543)


def test_the_parts_of_a_card_are_held_against_its_memory_together() -> None:
    host = facts([card(n, memory_used_mb=26000) for n in range(8)])
    assert errors(checked(host, EMBED)) == []
    (error,) = errors(checked(host, EMBED, RERANK))
    assert error.subject.startswith("services bge-m3, bge-reranker-v2-m3, card 0 (")
    assert "gpu_memory_utilization 0.7 takes" in error.message
    assert error.advice.endswith("or less together.")


def test_a_setting_of_the_driver_is_told_with_its_command() -> None:
    def found(host: dict[str, Any], **more: Any) -> tuple[str, str]:
        (finding,) = checked(host, EMBED, RERANK, **more).findings
        assert finding.code == "device_share"
        assert finding.advice.endswith("npu-smi set -t device-share -i 0 -c 0 -d 1")
        return finding.severity, finding.message

    severity, message = found(facts())
    assert severity == "warning" and "is on, which is not known" in message
    severity, message = found(facts(device_share={"0": False}))
    assert severity == "warning" and "that of card 0 is off" in message
    assert checked(facts(device_share={"0": True}), EMBED, RERANK).findings == []
    assert checked(facts(), EMBED).findings == []


def test_containers_do_not_start_where_it_is_off() -> None:
    contained = {
        "vllm_service_method": "container",
        "vllm_service_container_image": "local/vllm:1",
        "ascend_host_profile": "atlas-800i-a2-64g",
        "vllm_service_instances": [EMBED, RERANK],
    }
    deployment = Deployment(Settings(contained.get), load_catalogue())
    checks = deployment.check(facts(device_share={"0": False}))
    assert ("error", "device_share") in codes(checks)


def test_verify_takes_both_for_the_services_of_the_card() -> None:
    host = Readings()
    host.converged["services"] = [plan("embed"), plan("rerank")]
    host.status["services"] = [
        seen(name, "ready", [0], port=8000 + n, http=served((name, 8192)))
        for n, name in enumerate(("embed", "rerank"))
    ]
    units = [f"vllm@{name}.service" for name in ("embed", "rerank")]
    host.facts["npu"]["cards"][0] = readings.card(0, (7, units[0]), (8, units[1]))
    host.facts["npu"]["cards"][1] = readings.card(1)
    host.facts["services"] = [
        {"unit": unit, "pids": [7 + n, 42], "cards": [0]} for n, unit in enumerate(units)
    ]
    wanted = [
        {
            **readings.WANTED[0],
            "name": name,
            "cards": [0],
            "port": 8000 + n,
            "max_model_len": 8192,
            "aliases": [name],
        }
        for n, name in enumerate(("embed", "rerank"))
    ]

    def compared() -> drift.HostDrift:
        return drift.compare(
            "npu-01", wanted, converged=host.converged, status=host.status, facts=host.facts
        )

    assert found(compared()) == {}
    host.facts["npu"]["cards"][0]["processes"].append(
        {"pid": 77, "name": "python", "command": "train.py", "unit": None}
    )
    (tenant,) = compared().findings
    assert "the card of service embed, rerank, is in use by PID 77" in tenant.message


def test_the_setting_is_asked_of_shared_cards_alone() -> None:
    values = {"ascend_host_profile": "atlas-800i-a2-64g"}

    def asked(*requests: Any) -> Any:
        settings = Settings({**values, "vllm_service_instances": list(requests)}.get)
        deployment = Deployment(settings, load_catalogue())
        deployment.check_declared()
        return host_options(settings, deployment).get("shared_cards")

    assert asked("Qwen3-14B", EMBED, RERANK) == [1]
    assert asked("Qwen3-14B", EMBED) is None
