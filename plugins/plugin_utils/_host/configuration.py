# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services that no table lists, against the config.json and the size of their weights on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._base.errors import AscendError
from .._base.words import counted
from .._model.estimate import NATIVE_CONTEXT, device_of, estimate, tensor_parallel_fault
from .._model.needs import Subject, needs_of
from .._model.parameters import quantization_method
from .._model.shape import facts_of, shape_of
from .._model.spec import Spec
from .._model.split import Split
from .._model.workload import batched_tokens, with_options, with_scaling
from .._service.engine import weights_directory
from .checks import HostChecks, name_of

# Figures by these words were not found by running the engine with these weights.
NOT_MEASURED = ("requested", "estimated")


def is_unlisted(spec: Spec) -> bool:
    """Whether the figures of a service follow from its weights' configuration, or are held against it."""
    return spec.waits or spec.provenance.get("basis") in NOT_MEASURED


def check_configurations(checks: HostChecks) -> None:
    known = checks.facts.get("configurations") or {}
    for spec in checks.present:
        found = known.get(weights_directory(spec.as_dict(), checks.settings.weights_dir))
        # One that was estimated from this very configuration agrees with it.
        if found and is_unlisted(spec) and not (spec.waits or "weights" in spec.provenance):
            _check(checks, spec, found)


def _check_start(checks: HostChecks, spec: Spec, config: Mapping[str, Any], subject: str) -> None:
    """What the weights need to start, as far as their configuration tells."""
    version = checks.settings.lookup.engine_version
    if version is None:
        return
    chips = checks.profile.chips if checks.profile else ()
    method = quantization_method(config)
    asked = Subject((spec.model or "",), spec.kind or "", version, config, chips, spec.args, method)
    start = f"its weights, by their config.json, on vLLM {version}"
    for need in needs_of(asked):
        if not need.of_weights:
            continue
        if need.refuse:
            severity = "warning" if checks.settings.lookup.allow_untested else "error"
            text = f"{start}, cannot start: {need.refuse}."
            checks.add(severity, "configuration", subject, text, f"{need.instead}.")
        elif need.warning:
            checks.warning("configuration", subject, f"{start}: {need.warning}.", "")


def _check(checks: HostChecks, spec: Spec, found: Mapping[str, Any]) -> None:
    subject = f"service {name_of(spec)}"
    _check_start(checks, spec, found["config"], subject)
    device = device_of(spec.card_memory_gb, checks.profile.name if checks.profile else None)
    try:
        facts = facts_of(found["config"], found["weight_bytes"])
        shape = with_options(shape_of(facts), spec.args, None)
        shape = with_scaling(shape, facts, spec.max_model_len, spec.args)
    except AscendError as error:
        checks.warning(
            "configuration",
            subject,
            f"its weights' config.json cannot be held against its cards: {error}.",
            "Compare the size of the weights with the memory of its cards.",
        )
        return
    split = Split(spec.tensor_parallel_size, spec.pipeline_parallel_size, spec.data_parallel_size)
    fault = tensor_parallel_fault(facts, split.tensor)
    if fault is not None:
        checks.error(
            "configuration",
            subject,
            f"its weights' config.json does not fit tensor_parallel_size {split.tensor}: {fault}.",
            "Change cards or tensor_parallel_size.",
        )
        return
    if device is None:
        return
    wanted, share = spec.max_model_len, spec.gpu_memory_utilization
    answer = estimate(facts, shape, device, share, split, wanted, batched_tokens(spec.args))
    text = (
        f"its weights are {answer.weights_gib:.1f} GiB on each of {counted(spec.cards, 'card')}, which"
        f" carry {answer.longest} tokens by estimate ({answer.low} to {answer.high}), limited by the"
        f" {answer.limited_by}; max_model_len is {wanted}."
    )
    advice = "Give it more cards or a shorter max_model_len."
    if wanted > answer.high and answer.limited_by != NATIVE_CONTEXT:
        untested = checks.settings.lookup.allow_untested
        checks.add("warning" if untested else "error", "configuration", subject, text, advice)
    elif answer.low < wanted:
        checks.warning("configuration", subject, text, advice)
