# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the end of a trial says of memory, and what it says nothing of."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.outcome import (
    Ended,
    evaluate,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.search import Step

STEP = Step(2, 32768)


def outcome(started: bool = True, cause: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "started": started,
        "start_seconds": 90.0,
        "late": False,
        "cause": cause,
        "log": ["the last line"],
        "benchmark": {},
        **more,
    }


def cause(name: str, **values: str) -> dict[str, Any]:
    return {"id": name, "cause": f"It was {name}.", "advice": "Do that.", "values": values}


def test_a_start_and_a_complete_benchmark_pass() -> None:
    figures = {"completed": 4, "output_throughput": 123.4, "backend": "openai", "p99_ttft_ms": 9.5}
    ended = evaluate(STEP, outcome(benchmark=figures), 4)
    assert ended.passed
    assert ended.figures == {"completed": 4, "output_throughput": 123.4, "p99_ttft_ms": 9.5}
    assert (
        ended.line == "2 cards, 32768 tokens: passed, ready after 1 min 30 s, 123.4 output tokens/s"
    )


def test_too_little_memory_is_too_large_and_the_estimate_of_the_engine_is_kept() -> None:
    ended = evaluate(STEP, outcome(False, cause("kv-cache", tokens_fit="20480")), 4)
    assert (ended.passed, ended.fits, ended.cause) == (False, 20480, "kv-cache")
    assert ended.line == (
        "2 cards, 32768 tokens: too large, It was kv-cache; the engine estimates that 20480 fit"
    )


@pytest.mark.parametrize("name", ["out-of-memory", "no-kv-cache", "kv-cache-old"])
def test_other_ways_to_lack_memory_are_too_large(name: str) -> None:
    assert not evaluate(STEP, outcome(False, cause(name)), 4).passed


def test_an_engine_that_runs_out_of_memory_in_the_benchmark_is_too_large() -> None:
    ended = evaluate(STEP, outcome(True, cause("out-of-memory", tokens_fit="99999")), 4)
    assert (ended.passed, ended.fits) == (False, None)


@pytest.mark.parametrize(
    "found, message",
    [
        (outcome(False, cause("weights-missing")), "failed: It was weights-missing. Do that."),
        (outcome(False), "failed, and its log shows no cause that is known.*the last line"),
        (outcome(True, benchmark={"completed": 3}), "completed 3 of 4 prompts"),
        (outcome(False, late=True), "did not start within vllm_calibrate_start_timeout"),
        (outcome(True, late=True), "did not end within vllm_calibrate_benchmark_timeout"),
    ],
)
def test_anything_else_says_nothing_of_memory_and_ends_the_run(found: Any, message: str) -> None:
    with pytest.raises(AscendError, match=f"(?s)2 cards and 32768 tokens.*{message}"):
        evaluate(STEP, found, 4)


@pytest.mark.parametrize(
    "ended",
    [
        Ended(STEP, True, 3.5, figures={"completed": 4.0}),
        Ended(STEP, False, 3.5, 2048, "kv-cache", "why"),
    ],
)
def test_it_is_recorded_and_read_again(ended: Ended) -> None:
    assert Ended.from_dict(ended.as_dict()) == ended
