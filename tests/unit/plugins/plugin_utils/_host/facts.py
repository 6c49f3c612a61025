# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a host as host_info returns them, and what the preflight finds in them."""

from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._host.checks import HostChecks
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.findings import Finding
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
    with_profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

A2 = "atlas-800i-a2-64g"
DUO = "atlas-300i-duo-96g"
SCRIPTS = ["/usr/local/Ascend/ascend-toolkit/set_env.sh"]
VLLM = "/opt/vllm/current/bin/vllm"


def card(logic: int | None, phy: int | None = -1, **changes: Any) -> dict[str, Any]:
    phy = logic if phy == -1 else phy
    return {
        "npu_id": logic,
        "chip_id": 0,
        "logic_id": logic,
        "phy_id": phy,
        "name": "910B3",
        "health": "OK",
        "bus_id": "0000:C1:00.0",
        "memory_total_mb": 65536,
        "memory_used_mb": 3465,
        "power_w": 91.3,
        "temperature_c": 36,
        "aicore_percent": 0,
        "device": None if phy is None else f"/dev/davinci{phy}",
        "processes": [],
        **changes,
    }


def process(
    pid: int, memory: int | None, unit: str | None, command: str = "python3"
) -> dict[str, Any]:
    return {"pid": pid, "name": "python3", "memory_mb": memory, "unit": unit, "command": command}


def facts(cards: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A healthy A2 host on which nothing runs."""
    cards = [card(logic) for logic in range(8)] if cards is None else cards
    nodes = {c["device"]: {"mode": "0660", "gid": 999, "group": "HwHiAiUser"} for c in cards}
    base: dict[str, Any] = {
        "npu": {
            "cards": cards,
            "problems": [],
            "driver_version": "25.5.2",
            "cann_version": "8.5.1",
        },
        "driver": {
            "version_info": "/usr/local/Ascend/driver/version.info",
            "version_info_exists": True,
            "install_info_exists": True,
            "install_status": "complete",
        },
        "devices": nodes,
        "groups": ["HwHiAiUser", "root"],
        "user": {"name": "vllm", "exists": True, "groups": ["vllm", "HwHiAiUser"]},
        "files": {
            SCRIPTS[0]: {"exists": True, "executable": True},
            VLLM: {"exists": True, "executable": True},
        },
        "cann": {SCRIPTS[0]: "8.5.1"},
        "ports": [],
        "ephemeral_ports": [32768, 60999],
        "addresses": [{"interface": "eth0", "address": "192.0.2.10", "default": True}],
        "disk": {"path": "/var/lib/vllm/weights", "at": "/var", "free_bytes": 10**13},
        "models": {},
        "services": [],
        "standing": [],
        "engine": dict.fromkeys(("vllm", "vllm_ascend", "torch_npu", "python")),
        "system": {},
        "tuned": False,
    }
    return {**base, **changes}


def specs(*requests: Any, kind: str = A2, **options: Any) -> list[dict[str, Any]]:
    chosen = with_profile(Options(**options), None, kind)
    return [resolve(request, load_catalogue(), chosen).as_dict() for request in requests]


VARIABLES = {
    "estimate": "vllm_service_estimate",
    "allow_untested": "vllm_service_allow_untested",
    "excluded": "ascend_host_excluded_cards",
    "version_row": "vllm_runtime_row",
    "engine_version": "ascend_host_engine_version",
    "service_version": "vllm_service_engine_version",
    "memory": "vllm_service_card_memory_gb",
    "scripts": "ascend_host_cann_scripts",
}


def checked(
    host: dict[str, Any], *requests: Any, kind: str | None = A2, asked: bool = True, **more: Any
) -> HostChecks:
    """What the deployment of these requests reports, with variables by their short names."""
    variables: dict[str, Any] = {"ascend_host_profile": kind, "ascend_host_cann_scripts": SCRIPTS}
    if kind is None:
        variables.update(vllm_service_cards=8, vllm_service_card_memory_gb=64)
    if asked:
        variables["vllm_service_instances"] = list(requests)
    for name, value in more.items():
        variables[VARIABLES.get(name, f"ascend_host_{name}")] = "" if value is None else value
    return Deployment(Settings(variables.get), load_catalogue()).check(host)


def codes(found: HostChecks) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in found.findings]


def errors(found: HostChecks) -> list[Finding]:
    return [finding for finding in found.findings if finding.severity == "error"]


def report(found: HostChecks, host: str = "h", *, stops: bool = True) -> str:
    return str(found.as_dict(host, stops=stops)["report"])


def only(found: HostChecks) -> Finding:
    assert len(found.findings) == 1, report(found)
    return found.findings[0]


def with_card(logic: int, **changes: Any) -> dict[str, Any]:
    return facts([card(n, **(changes if n == logic else {})) for n in range(8)])


def problems(host: dict[str, Any], *codes: str) -> dict[str, Any]:
    host["npu"]["problems"] = [
        {"code": code, "message": f"{code}.", "advice": "Look."} for code in codes
    ]
    return host


def serving(logic: int, name: str = "chat", *, runs: bool = True, **changes: Any) -> dict[str, Any]:
    """A host with a service of ours on a card, and something the matter with that card."""
    mine = [process(99, 59311, f"vllm@{name}.service")] if runs else []
    processes = [*mine, *changes.pop("foreign", [])]
    used = 3465 + sum(each["memory_mb"] for each in processes)
    host = with_card(logic, **{"memory_used_mb": used, "processes": processes, **changes})
    host["standing"] = [{"name": name, "cards": [logic], "port": 8000}]
    if runs:
        unit = {"unit": f"vllm@{name}.service", "pids": [99], "cards": [logic]}
        host["services"] = [{**unit, "hccl_base_port": 61000}]
    return host
