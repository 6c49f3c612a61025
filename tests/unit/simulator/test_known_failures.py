# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in fails in words that the collection knows."""

from __future__ import annotations

import re

import pytest
import vllm_behaviour
from ansible_collections.inferops.ascend.plugins.module_utils._service import causes as host_causes
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

FAILURES = causes.failures()
GENERAL = ("unrecognised", "engine-dead", "ended", "library")


@pytest.mark.parametrize("kind", vllm_behaviour.FAILURES)
def test_a_failure_of_the_stand_in_is_a_known_one(kind: str) -> None:
    text = re.sub(r"\{\w+\}", "4096", vllm_behaviour.FAILURES[kind])
    found = host_causes.find_cause(text.splitlines(), FAILURES, {})
    assert found is not None
    assert found["id"] not in GENERAL


def test_of_several_ranks_the_one_that_ran_out_of_memory_is_the_cause() -> None:
    lines = vllm_behaviour.FAILURES["oom-then-timeout"].splitlines()
    found = host_causes.find_cause(lines[::-1], FAILURES, {})
    assert found is not None
    assert found["id"] == "out-of-memory"
