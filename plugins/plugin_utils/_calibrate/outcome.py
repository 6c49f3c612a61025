# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a trial ended: it passed, it was too large for the memory, or something else was wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._base.values import whole_number
from .._base.words import counted
from .._service.status import duration
from .search import Step, Tried

# The causes (vars/failures/) that a shorter length or more cards remedy.
_MEMORY = ("out-of-memory", "kv-cache", "kv-cache-old", "no-kv-cache")
# What is kept of the benchmark's result, under vLLM's names.
FIGURES = (
    "completed",
    "duration",
    "request_throughput",
    "output_throughput",
    "total_token_throughput",
    *(f"{kind}_{name}_ms" for name in ("ttft", "tpot", "e2el") for kind in ("mean", "p99")),
)


@dataclass(frozen=True)
class Ended:
    """A trial that ended, with all that is recorded of it.

    seconds: from its start until it served or failed. cause: a word of vars/failures/, and `reason`
    the sentence, of one that did not pass. figures: those of the benchmark.
    """

    step: Step
    passed: bool
    seconds: float = 0.0
    fits: int | None = None
    cause: str | None = None
    reason: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def tried(self) -> Tried:
        return Tried(self.step, self.passed, self.fits)

    def as_dict(self) -> dict[str, Any]:
        """What a state file and a row have of it."""
        found: dict[str, Any] = {
            "cards": self.step.cards,
            "max_model_len": self.step.length,
            "passed": self.passed,
            "start_seconds": self.seconds,
        }
        for name in ("fits", "cause", "reason"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        return {**found, **({"benchmark": dict(self.figures)} if self.figures else {})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ended:
        """Raises KeyError or TypeError for what `as_dict` did not make."""
        return cls(
            Step(int(data["cards"]), int(data["max_model_len"])),
            bool(data["passed"]),
            float(data["start_seconds"]),
            data.get("fits"),
            data.get("cause"),
            data.get("reason"),
            dict(data.get("benchmark") or {}),
        )

    @property
    def line(self) -> str:
        """It in one line."""
        text = f"{counted(self.step.cards, 'card')}, {self.step.length} tokens: "
        if not self.passed:
            fits = f"; the engine estimates that {self.fits} fit" if self.fits else ""
            return f"{text}too large, {self.reason or 'it ran out of memory'}{fits}"
        rate = self.figures.get("output_throughput") or self.figures.get("request_throughput") or 0
        unit = "output tokens" if "output_throughput" in self.figures else "requests"
        return f"{text}passed, ready after {duration(self.seconds)}, {rate:.1f} {unit}/s"


def evaluate(step: Step, outcome: Mapping[str, Any], prompts: int) -> Ended:
    """How a trial ended, by the outcome that the module vllm_trial returns.

    Raises AscendError where it is something that neither a shorter length nor more cards remedy: then
    the trial says nothing about memory.
    """
    figures = {
        name: float(value)
        for name, value in (outcome.get("benchmark") or {}).items()
        if name in FIGURES and isinstance(value, (int, float))
    }
    seconds = float(outcome["start_seconds"])
    if outcome["started"] and not outcome["late"] and figures.get("completed") == prompts:
        return Ended(step, True, seconds, figures=figures)
    cause = outcome.get("cause") or {}
    if cause.get("id") in _MEMORY:
        values = cause.get("values") or {}
        fits = None if outcome["started"] else whole_number(values.get("tokens_fit"))
        return Ended(step, False, seconds, fits, cause["id"], str(cause["cause"]).rstrip("."))
    raise AscendError(_broken(step, outcome, prompts, figures))


def _broken(
    step: Step, outcome: Mapping[str, Any], prompts: int, figures: Mapping[str, float]
) -> str:
    what = f"The trial with {counted(step.cards, 'card')} and {step.length} tokens"
    cause = outcome.get("cause")
    if outcome["late"]:
        where = (
            ("benchmark did not end", "benchmark")
            if outcome["started"]
            else ("server did not start", "start")
        )
        return (
            f"{what} took too long: its {where[0]} within vllm_calibrate_{where[1]}_timeout. Set a longer"
            " one. The trials before are kept."
        )
    if cause:
        text = f"{what} failed: {cause['cause']} {cause['advice']}"
    elif outcome["started"]:
        done = int(figures.get("completed", 0))
        text = f"{what} completed {done} of {prompts} prompts of the benchmark, and the server runs on."
    else:
        text = f"{what} failed, and its log shows no cause that is known."
    log = "".join(f"\n| {line}" for line in outcome.get("log") or [])
    return f"{text} Fix that and run the calibration again; the trials before are kept.{log}"
