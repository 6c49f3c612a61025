# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's /metrics has the names of the version that it plays, and counts what it served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosts import Host, until

# What vLLM renamed, by version.
RENAMED = {
    "0.9.1": (
        {"gpu_cache_usage_perc", "time_per_output_token_seconds_sum"},
        {"kv_cache_usage_perc"},
    ),
    "0.11.0": (
        {
            "kv_cache_usage_perc",
            "time_per_output_token_seconds_sum",
            "inter_token_latency_seconds_sum",
        },
        {"gpu_cache_usage_perc"},
    ),
    "0.23.0": (
        {"kv_cache_usage_perc", "num_requests_waiting_by_reason", "prompt_tokens_cached_total"},
        {"gpu_cache_usage_perc", "time_per_output_token_seconds_sum"},
    ),
}


@pytest.fixture
def host(tmp_path: Path, repository: Path) -> Iterator[Host]:
    made = Host(tmp_path / "host", repository / "vars" / "vllm_options.json")
    yield made
    made.stop()


def values(text: str) -> dict[str, float]:
    """The sum of the series by name."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("vllm:"):
            name = line.partition("{")[0].removeprefix("vllm:")
            found[name] = found.get(name, 0) + float(line.rpartition(" ")[2])
    return found


@pytest.mark.parametrize("version", RENAMED)
def test_the_names_are_those_of_the_version(host: Host, version: str) -> None:
    host.serve("", version)
    until(host.healthy)
    present, absent = RENAMED[version]
    found = set(values(host.ask("/metrics")[1]))
    assert present <= found and not absent & found


def test_it_counts_requests_and_tokens_and_shows_what_a_test_sets(host: Host) -> None:
    host.serve("")
    until(host.healthy)
    host.ask("/v1/completions", json.dumps({"prompt": "one two three", "max_tokens": 5}))
    # An answer is counted when it has been sent.
    until(lambda: values(host.ask("/metrics")[1])["request_success_total"] == 1)
    found = values(host.ask("/metrics")[1])
    assert found["e2e_request_latency_seconds_count"] == 1
    assert (found["prompt_tokens_total"], found["generation_tokens_total"]) == (3, 5)
    behaviour = Path(host.environment["ASCEND_SIM_BEHAVIOUR"])
    behaviour.write_text(json.dumps({"*": {"metrics": {"num_requests_waiting": 4}}}))
    assert values(host.ask("/metrics")[1])["num_requests_waiting"] == 4


def test_a_stream_is_events_up_to_done(host: Host) -> None:
    host.serve("")
    until(host.healthy)
    body = {"messages": [{"content": "one"}], "stream": True}
    _status, text = host.ask("/v1/chat/completions", json.dumps(body))
    *events, last, end = text.split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    words = [json.loads(each[6:])["choices"][0]["delta"]["content"] for each in events]
    assert " ".join(words) == "(stand-in of the Ascend simulator, not vLLM)"
