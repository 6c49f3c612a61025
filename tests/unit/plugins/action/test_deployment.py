# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much is computed from the first to the last action of a deploy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils import deployment, host_variables

from ..plugin_utils._host.facts import facts
from .actions import run

VARIABLES = {
    "inventory_hostname": "h1",
    "ascend_host_profile": "atlas-800i-a2-64g",
    "ascend_host_checks": {"weights": "ignore"},
    "vllm_service_instances": ["Qwen3-14B", "Qwen3-8B"],
}


def count(monkeypatch: pytest.MonkeyPatch, counts: Counter[str], module: Any, name: str) -> None:
    real = getattr(module, name)

    def counted(*given: Any, **more: Any) -> Any:
        counts[name] += 1
        return real(*given, **more)

    monkeypatch.setattr(module, name, counted)


def test_a_deploy_resolves_a_request_once_and_places_before_and_after_contact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, Any]] = []

    def execute(_action: Any, module_name: str, module_args: Any, **_more: Any) -> dict[str, Any]:
        sent.append(module_args)
        return facts() if module_name.endswith("host_info") else {"services": [], "status": []}

    monkeypatch.setattr(ActionBase, "_execute_module", execute)
    counts: Counter[str] = Counter()
    count(monkeypatch, counts, deployment, "resolve_terms")
    count(monkeypatch, counts, deployment, "place")
    count(monkeypatch, counts, host_variables, "load_catalogue")

    found = run("deployment", VARIABLES, stop_on_error=False)
    assert [each["name"] for each in found["services"]] == ["qwen3-14b", "qwen3-8b"]
    result = run("vllm_services", {**VARIABLES, "ascend_host_deployment": found})
    assert result["awaited"] == ["qwen3-14b", "qwen3-8b"]
    assert len(sent) == 2
    assert counts == {"resolve_terms": 2, "place": 2, "load_catalogue": 1}
