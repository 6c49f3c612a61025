# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the plan for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.inventory.host import Host
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.vars import host_group_vars
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import FILE, HOST_VARS
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import Entry
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.plan_file import Writer
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.requests import PlanRequest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.services import Service

SPEC = {
    "provenance": {"table": "ascend-64gb", "row": 29, "updated": "2025-11-19", "basis": "measured"}
}


def entry(name: str, passed: Mapping[str, Any] | None = None, **settled: Any) -> Entry:
    request = PlanRequest(name, {"model": "Qwen3-14B"}, passed or {}, 1, None, False, 0)
    keys = {
        "name": name,
        "model": "Qwen3-14B",
        "cards": [0],
        "port": 8000,
        "max_model_len": 32768,
        "tensor_parallel_size": 1,
        **settled,
    }
    return Entry(name, keys, Service(request, ()), SPEC)


def text(*entries: Entry) -> str:
    return Writer().text(entries, "hosts.yml")


def place_on(base: Path, host: str, content: str) -> Path:
    path = base / HOST_VARS / host / FILE
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    return path


def loaded(base: Path, host: str) -> Any:
    """What Ansible itself reads for a host, of this directory alone."""
    host_group_vars.FOUND.clear()
    host_group_vars.NAK.clear()
    plugin = host_group_vars.VarsModule()
    return plugin.get_vars(DataLoader(), str(base), [Host(host)])
