# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import (
    VARS,
    read_yaml,
    role_defaults,
    vars_file,
)


@pytest.mark.parametrize(
    "name", sorted(str(each.relative_to(VARS)) for each in VARS.rglob("*.yml"))
)
def test_shipped_files_are_read_as_yaml_says(name: str) -> None:
    assert vars_file(name) == read_yaml(VARS / name)


def test_shipped_files_are_found_and_read_once() -> None:
    assert "versions" in vars_file("version_matrix.yml")
    assert vars_file("vllm_options.json") is vars_file("vllm_options.json")
    assert role_defaults("vllm_service")["vllm_service_port_base"] > 0
