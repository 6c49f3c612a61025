# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in answers on /metrics: the names of the version that it plays.

Names, kinds and labels were read from vllm/v1/metrics/loggers.py of the versions 0.9.1, 0.11.0, 0.13.0,
0.18.0, 0.23.0 and 0.32.0. Metrics that only some options switch on are left out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import vllm_config

Version = tuple[int, ...]

REASONS = ("stop", "length", "abort")
LATER_REASONS = (*REASONS, "error", "repetition")
# Of vLLM 0.18.0.
TO_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5)
TO_FIRST += (10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)
BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5)
BETWEEN += (10.0, 20.0, 40.0, 80.0)
REQUEST = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
REQUEST += (120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)


@dataclass(frozen=True)
class Metric:
    """A family of series.

    name: without the ending `_total` of a counter. since, until: versions that have it; what a
    version between those that were read has is not known. labels: values of one more label. source:
    what of the meter it shows.
    """

    name: str
    kind: str
    since: Version = (0,)
    until: Version = (999,)
    labels: tuple[str, Sequence[str]] = ("", ())
    buckets: tuple[float, ...] = ()
    source: str = ""

    def is_in(self, version: Version) -> bool:
        return self.since <= version < self.until


METRICS = (
    Metric("num_requests_running", "gauge", source="running"),
    Metric("num_requests_waiting", "gauge"),
    Metric(
        "num_requests_waiting_by_reason",
        "gauge",
        (0, 23),
        labels=("reason", ("capacity", "deferred")),
    ),
    Metric("gpu_cache_usage_perc", "gauge", until=(0, 11)),
    Metric("kv_cache_usage_perc", "gauge", (0, 11)),
    Metric("gpu_prefix_cache_queries", "counter", until=(0, 11), source="prompt"),
    Metric("gpu_prefix_cache_hits", "counter", until=(0, 11)),
    Metric("prefix_cache_queries", "counter", (0, 11), source="prompt"),
    Metric("prefix_cache_hits", "counter", (0, 11)),
    Metric("external_prefix_cache_queries", "counter", (0, 13)),
    Metric("external_prefix_cache_hits", "counter", (0, 13)),
    Metric("mm_cache_queries", "counter", (0, 13)),
    Metric("mm_cache_hits", "counter", (0, 13)),
    Metric(
        "engine_sleep_state",
        "gauge",
        (0, 13),
        labels=("sleep_state", ("awake", "weights_offloaded", "discard_all")),
    ),
    Metric("num_preemptions", "counter"),
    Metric("prompt_tokens", "counter", source="prompt"),
    Metric(
        "prompt_tokens_by_source",
        "counter",
        (0, 18),
        labels=("source", ("local_compute", "local_cache_hit", "external_kv_transfer")),
        source="prompt",
    ),
    Metric("prompt_tokens_cached", "counter", (0, 18)),
    Metric(
        "prompt_tokens_cached_by_source",
        "counter",
        (0, 32),
        labels=("source", ("device", "host", "p2p", "disk", "external_unspecified")),
    ),
    Metric(
        "admission_rejections",
        "counter",
        (0, 32),
        labels=("reason", ("max_num_queued_reqs", "max_num_queued_tokens")),
    ),
    Metric("generation_tokens", "counter", source="generated"),
    Metric(
        "request_success",
        "counter",
        until=(0, 18),
        labels=("finished_reason", REASONS),
        source="ended",
    ),
    Metric(
        "request_success",
        "counter",
        (0, 18),
        labels=("finished_reason", LATER_REASONS),
        source="ended",
    ),
    Metric("request_prompt_tokens", "histogram", buckets=TOKENS, source="tokens"),
    Metric("request_generation_tokens", "histogram", buckets=TOKENS, source="tokens"),
    Metric("request_max_num_generation_tokens", "histogram", buckets=TOKENS, source="tokens"),
    Metric("request_params_max_tokens", "histogram", buckets=TOKENS, source="tokens"),
    Metric("request_params_n", "histogram", buckets=(1.0, 2.0, 5.0, 10.0, 20.0), source="tokens"),
    Metric(
        "request_prefill_kv_computed_tokens", "histogram", (0, 13), buckets=TOKENS, source="tokens"
    ),
    Metric("request_num_preemptions", "histogram", (0, 32), buckets=TOKENS),
    Metric("iteration_tokens_total", "histogram", buckets=TOKENS, source="tokens"),
    Metric("time_to_first_token_seconds", "histogram", buckets=TO_FIRST, source="seconds"),
    Metric(
        "time_per_output_token_seconds",
        "histogram",
        until=(0, 13),
        buckets=BETWEEN,
        source="seconds",
    ),
    Metric("inter_token_latency_seconds", "histogram", (0, 11), buckets=BETWEEN, source="seconds"),
    Metric(
        "request_time_per_output_token_seconds",
        "histogram",
        (0, 11),
        buckets=BETWEEN,
        source="seconds",
    ),
    Metric("e2e_request_latency_seconds", "histogram", buckets=REQUEST, source="seconds"),
    Metric("request_queue_time_seconds", "histogram", buckets=REQUEST),
    Metric("request_prefill_time_seconds", "histogram", buckets=REQUEST, source="seconds"),
    Metric("request_decode_time_seconds", "histogram", buckets=REQUEST, source="seconds"),
    Metric("request_inference_time_seconds", "histogram", buckets=REQUEST, source="seconds"),
    Metric("cache_config_info", "gauge"),
)


def metrics_of(version: str) -> list[Metric]:
    """What this version has."""
    number = vllm_config.number(version)
    return [metric for metric in METRICS if metric.is_in(number)]


@dataclass
class Meter:
    """What a server has served since its start.

    requests: (seconds, tokens) of each request that ended. fixed: values by name that a test set.
    http: answers by (handler, method, group of the status).
    """

    version: str
    model: str
    running: int = 0
    prompt: int = 0
    generated: int = 0
    requests: list[tuple[float, int]] = field(default_factory=list)
    http: dict[tuple[str, str, str], int] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        with self.guard:
            self.running += 1

    def count(self, prompt: int, generated: int) -> None:
        with self.guard:
            self.prompt += prompt
            self.generated += generated

    def end(self, seconds: float) -> None:
        with self.guard:
            self.running -= 1
            self.requests.append((seconds, 1))

    def answered(self, handler: str, method: str, status: int) -> None:
        key = (handler, method, f"{status // 100}xx")
        with self.guard:
            self.http[key] = self.http.get(key, 0) + 1

    def text(self, fixed: Mapping[str, float]) -> str:
        """The answer. fixed: values by name, for a test that needs them."""
        with self.guard:
            lines = [
                line for metric in metrics_of(self.version) for line in self._family(metric, fixed)
            ]
            lines += ["# HELP http_requests_total requests", "# TYPE http_requests_total counter"]
            for (handler, method, status), number in sorted(self.http.items()):
                labels = f'handler="{handler}",method="{method}",status="{status}"'
                lines.append(f"http_requests_total{{{labels}}} {float(number)}")
        return "\n".join(lines) + "\n"

    def _family(self, metric: Metric, fixed: Mapping[str, float]) -> Iterator[str]:
        name = f"vllm:{metric.name}{'_total' if metric.kind == 'counter' else ''}"
        yield f"# HELP {name} {vllm_config.STAND_IN}"
        yield f"# TYPE {name} {metric.kind}"
        labels = f'engine="0",model_name="{self.model}"'
        if metric.kind == "histogram":
            yield from self._histogram(name, metric, labels)
            return
        value = float(fixed.get(metric.name, self._value(metric.source)))
        label, values = metric.labels
        for number, each in enumerate(values or ("",)):
            more = f',{label}="{each}"' if each else ""
            # What is counted by reason counts for the first one.
            yield f"{name}{{{labels}{more}}} {0.0 if number else value}"

    def _value(self, source: str) -> float:
        values = {
            "running": self.running,
            "prompt": self.prompt,
            "generated": self.generated,
            "ended": len(self.requests),
        }
        return float(values.get(source, 0))

    def _histogram(self, name: str, metric: Metric, labels: str) -> Iterator[str]:
        observed: list[float] = []
        if metric.source:
            observed = [float(each[metric.source == "tokens"]) for each in self.requests]
        for bucket in metric.buckets:
            count = sum(each <= bucket for each in observed)
            yield f'{name}_bucket{{{labels},le="{bucket}"}} {float(count)}'
        yield f'{name}_bucket{{{labels},le="+Inf"}} {float(len(observed))}'
        yield f"{name}_count{{{labels}}} {float(len(observed))}"
        yield f"{name}_sum{{{labels}}} {sum(observed)}"
