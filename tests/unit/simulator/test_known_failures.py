# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in fails in words that the collection knows."""

from __future__ import annotations

import re

import pytest
import standin_vllm
from ansible_collections.inferops.ascend.plugins.module_utils import _vllm_log
from ansible_collections.inferops.ascend.plugins.plugin_utils import _failures

FAILURES = _vllm_log.failures_of(_failures.failures())
GENERAL = ("unrecognised", "engine-dead", "ended", "library")


@pytest.mark.parametrize("kind", standin_vllm.FAILURES)
def test_a_failure_of_the_stand_in_is_a_known_one(kind: str) -> None:
    text = re.sub(r"\{\w+\}", "4096", standin_vllm.FAILURES[kind])
    found = _vllm_log.cause(text.splitlines(), FAILURES, {})
    assert found is not None
    assert found["id"] not in GENERAL


def test_of_several_ranks_the_one_that_ran_out_of_memory_is_the_cause() -> None:
    lines = standin_vllm.FAILURES["oom-then-timeout"].splitlines()
    found = _vllm_log.cause(lines[::-1], FAILURES, {})
    assert found is not None
    assert found["id"] == "out-of-memory"
