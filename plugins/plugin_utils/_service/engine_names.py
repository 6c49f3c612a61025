# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What vLLM renamed, written the way a version reads it.

A request need not change with the engine, neither at an upgrade nor at a rollback.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json

from .._base.errors import AscendError

# What vLLM itself makes of `task` where it reads both (ModelConfig in vllm/config, 0.10.1 to 0.12). A
# score comes of either kind of pooling model, which it tells by the architecture.
TASKS: Mapping[str, Mapping[str, str]] = {
    "auto": {"runner": "auto"},
    "generate": {"runner": "generate"},
    "transcription": {"runner": "generate"},
    "draft": {"runner": "draft"},
    "embed": {"runner": "pooling", "convert": "embed"},
    "embedding": {"runner": "pooling", "convert": "embed"},
    "classify": {"runner": "pooling", "convert": "classify"},
    "reward": {"runner": "pooling", "convert": "reward"},
    "score": {"runner": "pooling"},
}
# The task by the kind of a service.
POOLING = {"embed": "embed", "rerank": "score"}


def translate(
    args: Mapping[str, Any], known: Container[str], kind: object, who: str
) -> dict[str, Any]:
    """A service's `args` with the names that a version has.

    `known`: the options of the version, by long name. `kind`: the service's, by which `runner:
    pooling` becomes a task; any task where it is None, not known yet. What needs no other name stays
    as it is, also what the version does not know at all. Raises AscendError, beginning with `who`,
    for what cannot be written in the version's names and for what is set twice.
    """
    spelled = {key.replace("_", "-"): key for key in args}
    result = dict(args)
    newer = [name for name in ("runner", "convert") if name in spelled]
    to_newer = "task" in spelled and "task" not in known and "runner" in known
    to_task = bool(newer) and "task" in known and "runner" not in known
    if "task" in spelled and newer and (to_newer or to_task):
        raise AscendError(f"{who}: args have task and {newer[0]}, its newer name. Leave one out.")
    if to_newer:
        task = result.pop(spelled["task"])
        new = {"runner": None} if task is None else TASKS.get(str(task))
        if new is None:
            raise AscendError(f"{who}, args, task is {task!r}; it can be {', '.join(TASKS)}.")
        result.update(new)
    elif to_task:
        given: dict[str, Any] = {name: result.pop(spelled[name]) for name in newer}
        result["task"] = _task(given, kind, who)
    if "rope-scaling" in spelled and "rope-scaling" not in known and "hf-overrides" in known:
        _move_rope(result, spelled, known, who)
    return result


def _task(given: Mapping[str, Any], kind: object, who: str) -> str | None:
    """`runner` and `convert` as a task."""
    if all(value is None for value in given.values()):
        return None
    runner = str(given.get("runner") or "auto")
    convert = str(given.get("convert") or "auto")
    plain = convert in ("auto", "none")
    if runner in ("auto", "pooling") and convert in ("embed", "classify", "reward"):
        return convert
    if runner in ("auto", "generate", "draft") and plain:
        return runner
    task = "embed" if kind is None else POOLING.get(str(kind))
    if runner == "pooling" and plain and task:
        return task
    raise AscendError(
        f"{who}: args set {', '.join(f'{name}: {value}' for name, value in given.items())}, and this"
        " version of vLLM reads a task instead. Write task: embed, classify, reward, score or"
        " generate."
    )


def _move_rope(
    result: dict[str, Any], spelled: Mapping[str, str], known: Container[str], who: str
) -> None:
    """Move `rope-scaling` into `hf-overrides`, under both names: see vars/model_facts.yml."""
    scaling = from_json(result.pop(spelled["rope-scaling"]))
    theta = None
    if "rope-theta" in spelled and "rope-theta" not in known:
        theta = result.pop(spelled["rope-theta"])
    if scaling is None:
        return
    if not isinstance(scaling, Mapping):
        raise AscendError(f"{who}, args, rope-scaling is {scaling!r}; a mapping is needed.")
    parameters = dict(scaling)
    if "type" in parameters:
        parameters.setdefault("rope_type", parameters.pop("type"))
    if theta is not None:
        parameters["rope_theta"] = theta
    if parameters.get("rope_theta") is None:
        raise AscendError(
            f"{who}: args have rope-scaling, which this version of vLLM reads from hf-overrides, and"
            " there a scaling without rope_theta falls back to a default. Add the one of the model's"
            " config.json: rope-scaling: {rope_theta: ..., ...}"
        )
    key = spelled.get("hf-overrides", "hf-overrides")
    under = from_json(result.get(key)) or {}
    if not isinstance(under, Mapping) or {"rope_scaling", "rope_parameters"} & set(under):
        raise AscendError(
            f"{who}: args have rope-scaling, and hf-overrides that conflict with it. Write the"
            " scaling into hf-overrides as rope_parameters, and leave rope-scaling out."
        )
    result[key] = {**under, "rope_scaling": parameters, "rope_parameters": dict(parameters)}


def from_json(value: Any) -> Any:
    """What a text that is JSON means; any other value as it is."""
    if isinstance(value, str):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value
