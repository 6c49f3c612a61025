# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine's options of a service: what model, chip and length need, under the user's `args`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json

from .._base.errors import AscendError
from .._base.values import shown
from .facts import Facts
from .options import dashed
from .profiles import Profile


def has_option(args: Mapping[str, Any], option: str) -> bool:
    """Whether `args` set an option, in either spelling, or its negation."""
    return any(_positive(key) == _positive(option) for key in args)


def _positive(option: str) -> str:
    return dashed(option).removeprefix("no-")


def deep_merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings as one, likewise those inside them; `over` wins."""
    merged = dict(under)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            value = deep_merge(merged[key], value)
        merged[key] = value
    return merged


def merge_args(needed: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
    """The needed options under the user's; an option in either spelling and its negation are one."""
    given = {_positive(key) for key in args}
    merged = {key: value for key, value in needed.items() if _positive(key) not in given}
    for key, value in args.items():
        under = next((v for k, v in needed.items() if dashed(k) == dashed(key)), None)
        if dashed(key) == "hf-overrides" and isinstance(under, Mapping):
            parsed = _parsed(value)
            if isinstance(parsed, Mapping):
                value = deep_merge(under, parsed)
        merged[key] = value
    return merged


def chip_args(model: str, args: Mapping[str, Any], kind: Profile) -> dict[str, Any]:
    """What a profile's chip needs and the user's `args` do not set.

    Raises AscendError where they set what the chip cannot do.
    """
    given = {dashed(key): value for key, value in args.items()}
    result: dict[str, Any] = {}
    for arg in kind.chip_args:
        start = f"args of {model} sets"
        end = f"on {kind.name}: {arg.reason}. Leave it out"
        instead = None
        if arg.unless:
            option, key, values = arg.unless
            parsed = _parsed(given.get(option))
            instead = parsed.get(key) if isinstance(parsed, Mapping) else None
            if instead is not None and str(instead).upper() not in values:
                raise AscendError(
                    f"{start} {key} of {option} to {shown(instead)} {end}, or write"
                    f" {' or '.join(values)}."
                )
        negative = f"no-{arg.option}"
        if arg.option in given or negative in given:
            value = given.get(arg.option)
            value = not given[negative] if negative in given else value
            if value not in arg.allowed and instead is None:
                raise AscendError(
                    f"{start} {arg.option} to {shown(value)} {end}; it is set to"
                    f" {shown(arg.value)}."
                )
        elif instead is None:
            result[arg.option] = arg.value
    return result


def rope_args(
    model: str, facts: Facts, length: int, args: Mapping[str, Any], needed: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """What a length above the native context needs beside `needed`, and the warnings about it.

    args: the user's, which win.
    """
    native = facts.native_context
    if native is None or length <= native or _holds_rope(needed.get("hf-overrides")):
        return {}, []
    if has_option(args, "rope-scaling"):
        return {}, []
    doubt = " (not verified)" if "native_context" in facts.unverified else ""
    above = f"max_model_len {length} is above the native context of {model}, {native}"
    above += f"{doubt} tokens"
    if has_option(args, "hf-overrides"):
        given = next(v for k, v in args.items() if dashed(k) == "hf-overrides")
        if not _holds_rope(_parsed(given)):
            return {}, [
                f"{above}: the hf-overrides of the request contain no rope scaling, and nothing is"
                " added to them; the engine rejects such a length without it"
            ]
        return {}, []
    yarn = facts.yarn
    factor = length / yarn.original_max_position_embeddings if yarn else 0.0
    if yarn and factor <= yarn.max_factor:
        factor = math.ceil(factor * 100) / 100
        parameters = {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": yarn.original_max_position_embeddings,
            "rope_theta": yarn.rope_theta,
        }
        warning = (
            f"{above}: it is served with YaRN, factor {factor:g} (hf-overrides, in args), as"
            " the model's documentation describes; the scaling is static and may cost quality"
            f" on short texts, so set max_model_len to {native} if that length suffices"
        )
        # Both names: which one counts depends on the versions, see vars/model_facts.yml.
        return {
            "hf-overrides": {
                "rope_scaling": parameters,
                "rope_parameters": dict(parameters),
            }
        }, [warning]
    documented = (
        f"its documentation gives YaRN up to factor {yarn.max_factor:g} only"
        if yarn
        else "its documentation gives no rope scaling for that"
    )
    llama = " or serve a Llama 3.1 model instead," if model.startswith("Llama3-") else ""
    warning = (
        f"{above}, and {documented}: the engine refuses to start with such a length. Set"
        f" max_model_len to {native},{llama} or give the scaling that your weights were made"
        " for in args (hf-overrides: {rope_scaling: ...}; from vLLM 0.13 on rope_parameters)."
        " Do not lift the check with VLLM_ALLOW_LONG_MAX_MODEL_LEN: past its native context the"
        " model answers nonsense without an error"
    )
    return {}, [warning]


def any_length(env: Mapping[str, Any], otherwise: bool = False) -> bool:
    """Whether vLLM starts with a length above the context in this environment.

    otherwise: the answer where the environment says nothing of it.
    """
    value = env.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN")
    return otherwise if value is None else str(value).strip().lower() in ("1", "true")


def lacks_scaling(
    facts: Facts, length: int, args: Mapping[str, Any], needed: Mapping[str, Any]
) -> bool:
    """Whether a length is surely above the native context, without a scaling for it.

    args: the user's; needed: those under them.
    """
    native = facts.native_context
    if native is None or length <= native or "native_context" in facts.unverified:
        return False
    if has_option(args, "rope-scaling") or _holds_rope(needed.get("hf-overrides")):
        return False
    given = next((v for k, v in args.items() if dashed(k) == "hf-overrides"), None)
    if given is not None:
        return not _holds_rope(_parsed(given))
    yarn = facts.yarn
    return yarn is None or length / yarn.original_max_position_embeddings > yarn.max_factor


def _holds_rope(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return any(
        str(key).startswith("rope_") or key == "max_position_embeddings" or _holds_rope(item)
        for key, item in value.items()
    )


def _parsed(value: object) -> object:
    """A mapping that may have been written as JSON, as on vLLM's command line."""
    if isinstance(value, str):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value
