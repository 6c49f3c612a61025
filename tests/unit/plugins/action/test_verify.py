# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action verify asks of a host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.action import verify

from .actions import run


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        (
            {"ascend_host_npu_smi": "/opt/npu-smi", "ascend_host_timeout": 90},
            {"npu_smi": "/opt/npu-smi", "timeout": 90.0, "user": None},
        ),
        # The one that cannot be used is what is reported; the others count all the same.
        (
            {"ascend_host_npu_smi": "/opt/npu-smi", "ascend_host_timeout": "long"},
            {"npu_smi": "/opt/npu-smi", "timeout": None},
        ),
    ],
)
def test_a_host_without_a_deployment_is_read_as_its_variables_say(
    variables: dict[str, Any], asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preflight failed before the host was contacted."""
    read: list[dict[str, Any]] = []

    def run_action(_action: Any, name: str, *_given: Any, **_more: Any) -> dict[str, Any]:
        failed = {"failed": True, "msg": "No-Such-Model is in no table"}
        return failed if name.endswith("deployment") else {"services": []}

    def execute(_action: Any, module_args: Any = None, **_given: Any) -> dict[str, Any]:
        read.append(module_args or {})
        return {"standing": []}

    monkeypatch.setattr(verify, "run_action", run_action)
    monkeypatch.setattr(verify.ActionModule, "_execute_module", execute)
    result = run("verify", {"inventory_hostname": "h1", **variables})
    assert [{key: each.get(key) for key in asked} for each in read] == [asked]
    assert "No-Such-Model" in str(result)
