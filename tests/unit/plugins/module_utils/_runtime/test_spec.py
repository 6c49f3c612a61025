# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions and recipes of environments, compared."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import (
    EnvironmentSpec,
    Step,
    difference,
    same_version,
)

STEPS = (Step(("vllm==2",)),)


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ("2.9.0", "2.9.0", True),
        ("2.9.0+cpu", "2.9.0", True),
        ("2.9.0.post1", "2.9.0", False),
        ("2.13.0", "2.13.0+cpu", False),
        ("0.18.0+empty", "0.18.0", True),
    ],
)
def test_a_build_is_its_version(found: str, wanted: str, same: bool) -> None:
    assert same_version(found, wanted) is same


def test_what_differs_is_named() -> None:
    spec = EnvironmentSpec("/r", "n", STEPS, constraints=("numpy<2",), metadata={"vllm": "2+cpu"})
    assert difference({}, spec.recipe) == (
        "without vllm==2, constraint numpy<2, metadata vllm 2+cpu"
    )
    assert difference(spec.recipe, EnvironmentSpec("/r", "n", STEPS).recipe) == (
        "with constraint numpy<2, metadata vllm 2+cpu, which is not asked for"
    )
