# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chips of a host, by which its image and its wheels are chosen."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import Variables
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import profile
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.images import chips_of_host

CARDS = [{"name": "910B2"}, {"name": "910B2"}]


def chips(cards: list[dict[str, Any]], name: str = "", **variables: Any) -> list[str]:
    return chips_of_host(Variables(variables.get), cards, profile(name) if name else None)


def test_a_variable_goes_before_the_cards_and_they_before_the_profile() -> None:
    a2 = "atlas-800i-a2-64g"
    assert chips(CARDS, a2, vllm_runtime_chips=["910B3"]) == ["910B3"]
    assert chips(CARDS, a2, vllm_runtime_chips=[]) == []
    assert chips(CARDS, a2) == ["910B2"]
    assert chips([], a2) == list(profile(a2).chips)
    assert chips([]) == []


def test_one_chip_may_be_written_as_a_text() -> None:
    """As `-e vllm_runtime_chips=910B3` writes it."""
    assert chips([], vllm_runtime_chips="910B3") == ["910B3"]


@pytest.mark.parametrize("value", [910, {"910B3": 8}, [910]])
def test_another_value_is_rejected_by_the_name_of_the_variable(value: object) -> None:
    with pytest.raises(AscendError, match="vllm_runtime_chips is .*a list of texts is needed"):
        chips([], vllm_runtime_chips=value)
