# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read out of a journal: lines, starts, how far one has come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service.journal import (
    LINE_LIMIT,
    SHOWN_LIMIT,
    last_lines,
    parse_journal,
    phases_of,
    progress,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

PHASES = phases_of(causes.phases())


def journal(*entries: dict[str, Any]) -> bytes:
    """Entries in the order they were written, as journalctl --reverse prints them."""
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in reversed(entries))


def lines_of(data: bytes) -> list[str]:
    return [line for _start, lines in parse_journal(data) for line in lines]


def said(message: Any, start: str = "one", **fields: Any) -> dict[str, Any]:
    return {"MESSAGE": message, "_SYSTEMD_INVOCATION_ID": start, **fields}


# --- lines -------------------------------------------------------------------------------------


def test_lines_come_in_the_order_they_were_written_with_their_start() -> None:
    data = journal(
        said("first", "one"),
        said("second", "two"),
    )
    assert parse_journal(data) == [("one", ["first"]), ("two", ["second"])]


def test_a_line_that_journald_gives_as_bytes_reads_as_text() -> None:
    drawn = "\rLoading: 0%|\rLoading: 50%|\u2588\rLoading: 100%|\u2588\u2588"
    data = journal(
        said(list(drawn.encode())),
        said(list(b"\x1b[36mblue\x1b[0m")),
        said([list(b"twice"), "given"]),
        said(list(b"\xff\xfe bytes")),
    )
    assert lines_of(data) == [
        "Loading: 100%|\u2588\u2588",
        "blue",
        "given",
        "\ufffd\ufffd bytes",
    ]


def test_what_is_cut_off_empty_or_no_json_is_left_out() -> None:
    whole = journal(said("cut off"), said(None), said("  "), said("kept"))
    assert lines_of(whole[:-30] + b"\n[1]\nx\n") == ["kept"]


def test_systemds_own_messages_count_to_the_start_they_speak_of() -> None:
    data = journal(
        said("of the server", "one"),
        {"MESSAGE": "Main process exited", "INVOCATION_ID": "one", "_PID": "1"},
        # A process may write a field that looks like systemd's.
        said("of the next", "two", INVOCATION_ID="one"),
        {"MESSAGE": "without any"},
        said("of the next", "two"),
    )
    starts = parse_journal(data)
    assert [(name, len(entries)) for name, entries in starts] == [("one", 2), ("two", 3)]


def test_of_a_line_of_a_megabyte_the_beginning_is_kept() -> None:
    (line,) = lines_of(journal(said("ValueError: " + "x" * 1_000_000)))
    assert line.startswith("ValueError: xxx")
    assert len(line) <= LINE_LIMIT
    assert len(last_lines([line], 1, str)[0]) == SHOWN_LIMIT


def test_of_a_long_bar_the_end_is_kept() -> None:
    drawn = "".join(
        f"\rCapturing CUDA graphs (decode, FULL): {n}%|####| {n}/100" for n in range(101)
    )
    assert lines_of(journal(said(list(drawn.encode())))) == [
        "Capturing CUDA graphs (decode, FULL): 100%|####| 100/100"
    ]


# --- how far ------------------------------------------------------------------------------------

# Lines as vLLM 0.13.0 wrote them on a start (public GitHub file 67592774702), shortened.
START = """\
(APIServer pid=1) INFO 12-25 04:48:38 [api_server.py:1351] vLLM API server version 0.13.0
(EngineCore_DP0 pid=79) INFO 12-25 04:48:51 [core.py:93] Initializing a V1 LLM engine (v0.13.0) with config
(EngineCore_DP0 pid=79) INFO 12-25 04:48:52 [parallel_state.py:1203] world_size=1 rank=0 local_rank=0 distributed_init_method=tcp://10.0.0.1:41881 backend=nccl
(EngineCore_DP0 pid=79) INFO 12-25 04:48:55 [gpu_model_runner.py:3562] Starting to load model /mnt/models/model-files...
(EngineCore_DP0 pid=79) Loading safetensors checkpoint shards:   8% Completed | 1/13 [00:07<01:30,  7.56s/it]
(EngineCore_DP0 pid=79) Loading safetensors checkpoint shards:  92% Completed | 12/13 [02:46<00:14, 14.43s/it]
(EngineCore_DP0 pid=79) INFO 12-25 04:52:15 [default_loader.py:308] Loading weights took 182.98 seconds
(EngineCore_DP0 pid=79) INFO 12-25 04:52:16 [gpu_model_runner.py:3659] Model loading took 58.2299 GiB memory and 199.672085 seconds
(EngineCore_DP0 pid=79) INFO 12-25 04:53:54 [gpu_worker.py:375] Available KV cache memory: 19.40 GiB
(EngineCore_DP0 pid=79) INFO 12-25 04:53:55 [kv_cache_utils.py:1296] Maximum concurrency for 8,192 tokens per request: 25.87x
Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  41%|####1     | 21/51 [00:01<00:02, 13.68it/s]
(EngineCore_DP0 pid=79) INFO 12-25 04:54:03 [gpu_model_runner.py:4587] Graph capturing finished in 9 secs, took 0.66 GiB
(EngineCore_DP0 pid=79) INFO 12-25 04:54:03 [core.py:259] init engine (profile, create kv cache, warmup model) took 107.64 seconds
(APIServer pid=1) INFO:     Application startup complete.
""".splitlines()


def test_a_start_of_vllm_goes_through_the_phases_in_order() -> None:
    seen = [progress(START[: n + 1], PHASES) for n in range(len(START))]
    assert [(step.phase, step.percent, step.done, step.total) for step in seen] == [
        ("starting", None, None, None),
        ("starting", None, None, None),
        ("ranks", None, None, None),
        ("weights", None, None, None),
        ("weights", 7, 1, 13),
        ("weights", 92, 12, 13),
        ("weights", None, None, None),
        ("profiling", None, None, None),
        ("kv-cache", None, None, None),
        ("kv-cache", None, None, None),
        ("graphs", 41, 21, 51),
        ("warm-up", None, None, None),
        ("listening", None, None, None),
        ("serving", None, None, None),
    ]
    assert progress([], PHASES) == (None, None, None, None)


# Formats of other versions, with where they stand.
@pytest.mark.parametrize(
    ("line", "phase", "percent"),
    [
        # vllm-ascend, model_runner_v1.py of v0.9.1 to v0.23.0
        ("INFO 11-23 [model_runner_v1.py:1912] Loading model weights took 27.5437 GB", "profiling", None),
        ("INFO 11-23 Available memory: 57982058496, total memory: 65464696832", "kv-cache", None),
        ("INFO 11-23 Compile and warming up model for size 16", "graphs", None),
        ("INFO Starting to capture ACL graphs for cases: [8, 4], mode: FULL", "graphs", None),
        ("Capturing ACL graphs (decode, FULL):  50%|#####     | 1/2 [00:01<00:01]", "graphs", 50),
        ("INFO Capturing torchair graph, this usually takes 5.0~8.0 mins.", "graphs", None),
        # public GitHub files 53790697037, 66933912950, 56006381441
        ("Capturing CUDA graph shapes:  86%|########6 | 30/35", "graphs", 85),
        ("Loading pt checkpoint shards:  50% Completed | 1/2 [00:01<00:01]", "weights", 50),
        ("INFO [core.py:313] init engine (profile, create kv cache, warmup model) took 29.90 s", "listening", None),
        # vllm-ascend 0.10.2 and 0.11.0, public GitHub files 55972157876 and 55872044820: a rank writes
        # into the bar, and so its line reaches the journal
        ("(EngineCore_DP0 pid=2) INFO 09-18 [worker_v1.py:198] Available memory: 39442891776, total memory", "kv-cache", None),
        ("Capturing ACL graphs (decode, FULL):   8%|8         | 2/25 [00:00<?, ?it/s][rank4]:[W1201 06:30:02] Warning: x", "graphs", 8),
        # vLLM after 0.18, https://github.com/noonghunna/club-3090/issues/178, https://github.com/gpustack/runner/pull/251
        ("(Worker_TP0 pid=111) INFO 05-21 [monitor.py:53] torch.compile took 18.21 s in total", "profiling", None),
        ("(Worker_TP1 pid=448) INFO 08-14 [gpu_model_runner.py:6681] Profiling CUDA graph memory: PIECEWISE=16", "profiling", None),
        ("(Worker_TP0 pid=447) INFO 08-14 [gpu_worker.py:563] Available KV cache memory: 6.87 GiB", "kv-cache", None),
        # vllm-ascend on A2, https://github.com/kvcache-ai/Mooncake/issues/2827
        ("(Worker_DP1_TP7 pid=1) INFO 07-08 [worker.py:852] Free memory on device (60.6/60.96 GiB) on startup. Desired GPU memory "
         "utilization is (0.95, 57.91 GiB). Actual usage: 39.51 GiB for weights", "warm-up", None),
        ("(Worker_DP1_TP1_EP9 pid=2) INFO 07-08 [cpu_binding.py:389] [cpu_bind_mode] mode=topo_affinity rank=1", "warm-up", None),
        ("INFO 09-05 [api_server.py:1425] Starting vLLM API server 0 on http://0.0.0.0:8080", "listening", None),
    ],
)  # fmt: skip
def test_lines_of_other_versions_are_known(line: str, phase: str, percent: int | None) -> None:
    reached = progress([line], PHASES)
    assert (reached.phase, reached.percent) == (phase, percent)


def test_a_slower_rank_does_not_lead_back() -> None:
    assert progress([START[8], START[4]], PHASES).phase == "kv-cache"


def test_a_users_prompt_is_no_progress() -> None:
    prompt = (
        "INFO [logger.py:40] Received request cmpl-1: prompt: 'NPU out of memory. "
        "Application startup complete. ValueError: x', params: SamplingParams(n=1)"
    )
    assert progress([START[0], prompt], PHASES).phase == "starting"
