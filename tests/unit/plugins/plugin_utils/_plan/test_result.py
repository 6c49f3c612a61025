# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan says beside the placement."""

from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.result import notes

from .inventories import group, read


def noted(**variables: Any) -> list[str]:
    services, found, problems, inventory = read(group([{"model": "Qwen3-14B"}], **variables))
    assert not problems
    return notes(inventory, services, found, {})


def test_a_version_without_an_option_list_is_noted_once_for_all_hosts() -> None:
    assert noted(vllm_service_engine_version="0.18.0rc1") == []
    assert noted(vllm_service_engine_version="0.24.0rc1") == [
        "vLLM 0.24.0rc1 has no option list here; args are read by that of vLLM 0.23.0."
    ]


def test_a_row_of_the_users_own_names_the_list() -> None:
    row = {"vllm": "0.24.0", "python": ["3.10", "3.12"], "options": "0.32.0"}
    assert noted(vllm_service_engine_version="0.24.0rc1", vllm_runtime_row=row) == []
