# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vllm bench serve` of the stand-in: fixed lengths, and a result file as vLLM writes it.

The names of options and of the result's fields are those of vllm/benchmarks/serve.py (0.11 to 0.32).
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ENDPOINTS = {"/v1/completions": "prompt", "/v1/embeddings": "input", "/v1/rerank": "documents"}


def parser() -> argparse.ArgumentParser:
    it = argparse.ArgumentParser(prog="vllm bench serve")
    it.add_argument("--backend", default="openai")
    it.add_argument("--base-url", required=True)
    it.add_argument("--endpoint", default="/v1/completions", choices=ENDPOINTS)
    it.add_argument("--dataset-name", default="random", choices=("random", "random-rerank"))
    for name in ("model", "tokenizer", "served-model-name", "percentile-metrics", "result-dir"):
        it.add_argument(f"--{name}")
    it.add_argument("--result-filename")
    it.add_argument("--metric-percentiles", default="99")
    for name, usual in (("num-prompts", 1000), ("random-input-len", 1024)):
        it.add_argument(f"--{name}", type=int, default=usual)
    it.add_argument("--random-output-len", type=int, default=128)
    it.add_argument("--max-concurrency", type=int)
    it.add_argument("--random-batch-size", type=int, default=1)
    for name in ("ignore-eos", "save-result", "disable-tqdm", "trust-remote-code"):
        it.add_argument(f"--{name}", action="store_true")
    return it


def ask(options: argparse.Namespace) -> tuple[float, str]:
    """(seconds of one request, its error or an empty text)."""
    field = ENDPOINTS[options.endpoint]
    text = " ".join(["a"] * options.random_input_len)
    body: dict[str, Any] = {"model": options.served_model_name, field: text}
    if field == "prompt":
        body["max_tokens"] = options.random_output_len
    request = urllib.request.Request(
        options.base_url + options.endpoint,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    begun = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            answer.read()
    except urllib.error.HTTPError as problem:
        return time.perf_counter() - begun, problem.read().decode()
    except OSError as problem:
        return time.perf_counter() - begun, str(problem)
    return time.perf_counter() - begun, ""


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    print("Starting initial single prompt test run...", flush=True)
    _seconds, problem = ask(options)
    if problem:
        raise ValueError(
            "Initial test run failed - Please make sure benchmark arguments are correctly specified. "
            f"Error: {problem}"
        )
    begun = time.perf_counter()
    with ThreadPoolExecutor(options.max_concurrency or options.num_prompts) as pool:
        answers = list(pool.map(ask, [options] * options.num_prompts))
    duration = time.perf_counter() - begun
    good = [seconds for seconds, problem in answers if not problem]
    output = options.random_output_len if options.endpoint == "/v1/completions" else 0
    mean = 1000 * sum(good) / max(1, len(good))
    result: dict[str, Any] = {
        "date": time.strftime("%Y%m%d-%H%M%S"),
        "backend": options.backend,
        "model_id": options.model,
        "num_prompts": options.num_prompts,
        "request_rate": "inf",
        "max_concurrency": options.max_concurrency,
        "duration": duration,
        "completed": len(good),
        "failed": len(answers) - len(good),
        "total_input_tokens": len(good) * options.random_input_len,
        "request_throughput": len(good) / duration,
    }
    if output:
        result["total_output_tokens"] = len(good) * output
        result["output_throughput"] = len(good) * output / duration
        result["total_token_throughput"] = (
            len(good) * (output + options.random_input_len) / duration
        )
    for name in (options.percentile_metrics or "ttft,tpot,itl").split(","):
        share = mean / max(1, output) if name in ("tpot", "itl") else mean
        result[f"mean_{name}_ms"] = result[f"median_{name}_ms"] = share
        for percentile in options.metric_percentiles.split(","):
            result[f"p{percentile}_{name}_ms"] = share
    print(f"Successful requests: {len(good)}", flush=True)
    if options.save_result:
        path = Path(options.result_dir or ".") / options.result_filename
        path.write_text(json.dumps(result))
    return 0
