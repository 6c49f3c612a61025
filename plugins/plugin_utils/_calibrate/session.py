# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One calibration: what is asked for, its conditions, and the row that it ends with."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._base.errors import AscendError
from .._base.values import kind_of, parse_names, shown, whole_number
from .._base.words import counted
from .._model.catalogue import Catalogue
from .._model.configuration import Text
from .._model.request import parse_length
from .._model.spec import Spec
from .._service.unit import UnitSettings
from ..settings import Settings
from .chart import in_k
from .outcome import Ended
from .search import K, Search, Step, lengths_up_to
from .trial import Benchmark, require_benchmark, spec_of, trial_name

# Keys of a request that a calibration chooses itself, or has no use for: its server listens on 127.0.0.1
# alone, and the benchmark sends no key.
_CHOSEN = (
    "name",
    "cards",
    "max_model_len",
    "port",
    "state",
    "replicas",
    "tensor_parallel_size",
    "data_parallel_size",
    "api_key",
)
_MOST_CARDS = 64


@dataclass(frozen=True)
class Calibration:
    """What is asked for. `left_out`: why numbers of cards are not tried.

    spec: of the model, with the least cards and the shortest length that are tried.
    """

    request: Mapping[str, Any]
    spec: Spec
    search: Search
    benchmark: Benchmark
    profile: str | None
    native_context: int | None
    left_out: tuple[str, ...] = field(default=())

    @property
    def model(self) -> str:
        return str(self.spec.model)

    def conditions(self, facts: Mapping[str, Any], unit: UnitSettings) -> dict[str, Any]:
        """What the result holds under. facts: of host_info, whose engine is not that of an image."""
        engine, toolkits = facts["engine"], facts["cann"].values()
        versions = [f"{name.replace('_', '-')} {engine[name]}" for name in engine if engine[name]]
        words = ", ".join(versions) or f"vLLM {unit.engine_version}"
        if unit.contained:
            toolkits, words = [], f"vLLM {unit.engine_version} in {unit.container_image}"
        cann = sorted({str(each) for each in toolkits if each})
        found = {
            "profile": self.profile,
            "card_memory_gb": self.spec.card_memory_gb,
            "driver": facts["npu"].get("driver_version"),
            "cann": ", ".join(cann) or None,
            "engine": words,
            "path": self.request.get("path"),
            "gpu_memory_utilization": self.spec.gpu_memory_utilization,
            "prompts": self.benchmark.prompts,
            "output_tokens": self.benchmark.output_tokens,
        }
        # They may hold what is private.
        private = json.dumps([self.request.get("args"), self.request.get("env")], sort_keys=True)
        found["options"] = hashlib.sha256(private.encode()).hexdigest()[:16]
        return {
            "model": self.model,
            **{key: value for key, value in found.items() if value is not None},
        }

    def plan(self, trials: Sequence[Ended]) -> list[str]:
        """What a run would do, in lines."""
        search = self.search
        known = [each.tried for each in trials]
        lines = [
            f"{self.model}: numbers of cards: {', '.join(map(str, search.cards))}; lengths:"
            f" {', '.join(in_k(length) for length in search.lengths)}",
            *self.left_out,
            *(f"known: {each.line}" for each in trials),
        ]
        step = search.next_step(known)
        if step is None:
            return [*lines, "Nothing is left to try."]
        lines.append(f"first trial: {counted(step.cards, 'card')}, {step.length} tokens")
        more = [cards for cards in search.cards if cards > step.cards]
        lines.append(
            f"then, where it is too large: the longest of these lengths that the engine's own estimate"
            f" allows, else the shortest ({search.lengths[0]} tokens) and halves of what is left"
            + (f"; then {', '.join(map(str, more))} cards" if more else "")
        )
        lines.append(f"at most {counted(search.most_starts, 'start')} of the engine in all")
        return lines

    def row(
        self,
        answer: Step,
        trials: Sequence[Ended],
        conditions: Mapping[str, Any],
        host: str,
        chart: str,
    ) -> dict[str, Any]:
        """The row of the user's table."""
        best = next(each for each in trials if each.passed and each.step == answer)
        spec = self.spec
        row: dict[str, Any] = {
            "model": self.model,
            "card_memory_gb": conditions["card_memory_gb"],
            "min_cards": answer.cards,
            "max_model_len": answer.length,
            "gpu_memory_utilization": spec.gpu_memory_utilization,
            "basis": "calibrated",
            "kind": spec.kind,
        }
        if self.native_context:
            row["native_context"] = self.native_context
        if self.request.get("args"):
            row["args"] = dict(self.request["args"])
        kept = ("profile", "driver", "cann", "engine", "path", "prompts", "output_tokens")
        row["calibration"] = {
            "date": time.strftime("%Y-%m-%d"),
            "host": host,
            **{key: conditions[key] for key in kept if key in conditions},
            "starts": len(trials),
            "chart": chart,
            "benchmark": dict(best.figures),
            "trials": [each.as_dict() for each in trials],
        }
        return row


def calibration_of(
    given: Mapping[str, Any],
    settings: Settings,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None = None,
) -> Calibration:
    """The calibration that the options of the action ask for.

    config: what the config.json beside the weights has, where the request names their directory.
    Raises AscendError.
    """
    if settings.card_memory_gb is None:
        raise AscendError(
            "ascend_host_profile is not set, so nothing tells what cards the host has. Set it, or"
            " vllm_service_cards and vllm_service_card_memory_gb."
        )
    request = _request(given["model"])
    request.setdefault("gpu_memory_utilization", given["gpu_memory_utilization"])
    options = replace(settings.lookup, gpu_memory_utilization=None)
    shortest = _length(given["shortest"], "vllm_calibrate_shortest") or K // 2
    specs: dict[int, Spec] = {}
    left_out: list[str] = []
    for cards in _counts(given["cards"], settings):
        try:
            specs[cards] = spec_of(request, Step(cards, shortest), catalogue, options)
        except AscendError as error:
            left_out.append(f"not tried on {counted(cards, 'card')}: {error}")
    if not specs:
        raise AscendError(left_out[0])
    spec = specs[min(specs)]
    require_benchmark(spec.kind, settings.engine_version)
    native = spec.native_context or (Text(config).native_context() if config else None)
    longest = _length(given["longest"], "vllm_calibrate_longest") or native
    if longest is None:
        raise AscendError(
            f"The native context of {spec.model} is not known, and no config.json beside its weights tells"
            " it. Set vllm_calibrate_longest to the longest length to try."
        )
    benchmark = Benchmark(given["prompts"], given["output_tokens"])
    if benchmark.prompts < 1 or benchmark.output_tokens < 1:
        raise AscendError(
            "vllm_calibrate_prompts and vllm_calibrate_output_tokens have to be at least 1."
        )
    profile = settings.profile.name if settings.profile else None
    lengths = lengths_up_to(longest, min(shortest, longest))
    search = Search(tuple(sorted(specs)), lengths)
    return Calibration(request, spec, search, benchmark, profile, native, tuple(left_out))


def configuration_directory(model: object) -> str | None:
    """The directory of weights that a request names, whose config.json is read on the host.

    Raises AscendError for what is not a request, before the host is contacted.
    """
    path = _request(model).get("path")
    return path if isinstance(path, str) and path.startswith("/") else None


def files_of(
    given: Mapping[str, Any], tables: Sequence[str], host: str, model: str
) -> tuple[Path, Path, Path]:
    """The user's table, the chart and the state file beside it. Raises AscendError."""
    table = given["table"] or (tables[0] if tables else "")
    if not table:
        raise AscendError(
            "Nothing says which table the result goes to. Set ascend_model_tables to a list with a file"
            " of your own, [our-models.yml], which need not exist yet, or set vllm_calibrate_table."
        )
    path = Path(table).expanduser()
    beside = path.with_name(f"{path.stem}.{trial_name(model)}.{host}")
    chart = Path(given["chart"]).expanduser() if given["chart"] else Path(f"{beside}.svg")
    state = (
        Path(given["state"]).expanduser() if given["state"] else Path(f"{beside}.calibration.json")
    )
    return path, chart, state


def _request(value: object) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        return {"model": value.strip()}
    if not isinstance(value, Mapping) or not isinstance(value.get("model"), str):
        raise AscendError(
            f"vllm_calibrate_model is {kind_of(value)}; write the name of a model, or what a service of"
            " it would be: {model: our-finetune, path: /data/our-finetune}."
        )
    chosen = [key for key in _CHOSEN if value.get(key) is not None]
    if chosen:
        raise AscendError(
            f"vllm_calibrate_model sets {chosen[0]}, which a calibration chooses itself or has no use for."
            " Leave it out; vllm_calibrate_cards and vllm_calibrate_longest limit what is tried."
        )
    return dict(value)


def _counts(value: object, settings: Settings) -> list[int]:
    """The numbers of cards to try; by default the powers of two that the host has cards for."""
    if isinstance(value, str) and value:
        value = parse_names(value, "vllm_calibrate_cards", "Write numbers of cards: 1,2,4.")
    items = value if isinstance(value, (list, tuple)) else [] if value in (None, "") else [value]
    counts = [whole_number(item) for item in items]
    if not counts:
        declared = settings.declared_cards
        number = whole_number(declared)
        if number is None:
            number = len(declared) if isinstance(declared, list) else 1
        return [2**n for n in range(_MOST_CARDS.bit_length()) if 2**n <= number] or [1]
    good = [count for count in counts if count is not None and count >= 1]
    if len(good) < len(counts):
        raise AscendError(
            f"vllm_calibrate_cards is {shown(value)}; a list of numbers of cards is needed, [1, 2, 4]."
        )
    return sorted(set(good))


def _length(value: object, name: str) -> int | None:
    return None if value in (None, "") else parse_length(value, name)
