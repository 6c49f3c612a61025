# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action runtime_plan is given."""

from __future__ import annotations

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.inferops.ascend.plugins.action.runtime_plan import ARGUMENTS


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"method": "docker"}, "venv, container, external"),
        ({"device": "gpu"}, "npu, cpu"),
        ({"chips": {"910B3": 8}}, "unable to convert to list"),
        ({"chip": ["910B3"]}, "chip. Supported parameters include"),
    ],
)
def test_options_are_checked(option: dict[str, object], words: str) -> None:
    checked = ArgumentSpecValidator(ARGUMENTS).validate({"version": "0.18.0", **option})
    assert words in " ".join(checked.error_messages)
