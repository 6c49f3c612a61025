# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a model's own configuration fits what a service asks of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json

from .._base.values import plain
from .._model.arguments import any_length
from .._model.estimate import tensor_parallel_fault
from .._model.facts import Facts
from .._model.parameters import quantization_method
from .options import WeightsOptions

# The names of a context's length that vLLM reads (derive_max_model_len_and_key).
_LENGTHS = [
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
]


class Finding(NamedTuple):
    """One way in which weights and request differ. `severity` is error or warning."""

    severity: str
    code: str
    message: str


def compare(
    spec: Mapping[str, Any],
    weights: Mapping[str, Any],
    facts: Facts | None,
    options: WeightsOptions,
) -> list[Finding]:
    """Compare a model's configuration with what a service asks of it.

    weights: a record of the host with `config`, `max_seq_length` and `quant_description`.
    facts: what is known of the model of that name.
    """
    config = weights.get("config")
    if not isinstance(config, Mapping):
        return []
    spec = plain(spec, f"service {spec.get('name')}")
    args = {
        str(k).lower().replace("_", "-").lstrip("-"): v for k, v in (spec.get("args") or {}).items()
    }
    merged = _overridden(config, args)
    text = text_config(merged)
    results = []
    for found in (
        *_heads(spec, text),
        *_context(spec, merged, text, args, weights.get("max_seq_length"), options),
        *_quantization(args, config, bool(weights.get("quant_description"))),
        *_kind(spec, config),
        *_model(text, facts),
    ):
        severity = options.checks.get(found.code, found.severity)
        if severity != "ignore":
            results.append(Finding(severity, found.code, f"{spec.get('name')}: {found.message}"))
    return results


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that speaks of the language model, in whichever place a multimodal one has it."""
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(config.get(key), Mapping):
            return text_config(config[key])
    if isinstance(config.get("thinker_config"), Mapping):
        return text_config(config["thinker_config"])
    return config


def _heads(spec: Mapping[str, Any], text: Mapping[str, Any]) -> Iterator[Finding]:
    size = _number(spec.get("tensor_parallel_size")) or 1
    heads = _first(text, ("num_attention_heads", "n_head", "num_heads"))
    # The names that vLLM reads (get_total_num_kv_heads).
    kv = _first(text, ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num"))
    facts = Facts(num_attention_heads=heads, num_key_value_heads=kv)
    fault = tensor_parallel_fault(facts, size)
    if fault is not None:
        fit = [str(n) for n in range(1, 65) if tensor_parallel_fault(facts, n) is None]
        yield Finding(
            "error",
            "heads",
            f"its weights' config.json does not fit tensor_parallel_size {size}: {fault}. Sizes"
            f" that fit are {', '.join(fit)}: change cards or tensor_parallel_size.",
        )


def _context(
    spec: Mapping[str, Any],
    config: Mapping[str, Any],
    text: Mapping[str, Any],
    args: Mapping[str, Any],
    sentence_length: Any,
    options: WeightsOptions,
) -> Iterator[Finding]:
    wanted = _number(spec.get("max_model_len"))
    native, key = native_context(config, text, args, sentence_length)
    if not wanted or native is None or wanted <= native:
        return
    # vLLM lets a longer model_max_length pass, too.
    if (_number(config.get("model_max_length")) or 0) >= wanted:
        return
    env = {**options.env, **(spec.get("env") or {})}
    yield Finding(
        "warning" if any_length(env) else "error",
        "context",
        f"max_model_len {wanted} is above the {native} tokens that its weights' config.json"
        f" gives ({key}). Lower max_model_len, or scale it as the model's documentation describes,"
        " with args: {hf-overrides: {rope_scaling: ..., rope_parameters: ...}}.",
    )


def native_context(
    config: Mapping[str, Any],
    text: Mapping[str, Any],
    args: Mapping[str, Any],
    sentence_length: Any = None,
) -> tuple[int | None, str]:
    """The tokens that vLLM derives from a configuration, and what they come from.

    Source: vLLM 0.18.0, derive_max_model_len_and_key and _get_and_verify_max_len. None if the
    configuration names no length; transformers' own defaults are not known here.
    """
    lengths = {key: length for key in _LENGTHS if (length := _number(text.get(key)))}
    if not lengths:
        return None, ""
    key = min(lengths, key=lambda each: lengths[each])
    native: float = lengths[key]
    if lengths.get("model_max_length"):
        key, native = "model_max_length", lengths["model_max_length"]
    if "gemma3" not in str(config.get("model_type")):
        factor = 1.0
        for rope in _ropes(config, text, args):
            kind = rope.get("rope_type") or rope.get("type")
            if kind in ("su", "longrope", "llama3"):
                continue
            scale = rope.get("factor")
            if isinstance(scale, (int, float)) and not isinstance(scale, bool):
                factor = float(scale)
            if kind == "yarn" and _number(rope.get("original_max_position_embeddings")):
                native = rope["original_max_position_embeddings"]
                key = f"original_max_position_embeddings x YaRN {factor:g}"
        native *= factor
    if _number(sentence_length):
        key, native = "max_seq_length of sentence-transformers", sentence_length
    return int(native), key


def _ropes(
    config: Mapping[str, Any], text: Mapping[str, Any], args: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    given = _json(args.get("rope-scaling"))
    if isinstance(given, Mapping):
        return [given]
    for place in (config, text):
        for key in ("rope_parameters", "rope_scaling"):
            rope = place.get(key)
            if isinstance(rope, Mapping) and rope:
                nested = [each for each in rope.values() if isinstance(each, Mapping)]
                return nested or [rope]
    return []


def _quantization(
    args: Mapping[str, Any], config: Mapping[str, Any], described: bool
) -> Iterator[Finding]:
    asked = args.get("quantization")
    method, detected = quantization_method(config) or "", ""
    if method == "ascend":
        detected = "quantization_config"
    if described:
        method, detected = "ascend", "quant_model_description.json"
    wanted = str(asked).lower().replace("_", "-")
    severity = "error"
    if asked is None and detected:
        severity = "warning"
        text = (
            f"its weights were quantized for Ascend by ModelSlim ({detected}), and args do not"
            " state it; versions of vllm-ascend that do not detect it need args:"
            " {quantization: ascend}."
        )
    # vLLM's faster forms of the same: awq-marlin, gptq-marlin.
    elif asked is None or (method and wanted in (method, f"{method}-marlin")):
        return
    elif not method:
        text = (
            f"args ask for quantization {asked}, and its weights are not quantized (config.json has"
            " no quantization_config, and no quant_model_description.json is there). Take that out"
            " of args, or take the quantized weights."
        )
    else:
        # vllm-ascend takes over some methods of others; it has the last word.
        severity = "warning" if wanted == "ascend" else "error"
        text = (
            f"args ask for quantization {asked}, and its weights are quantized by {method}. Write"
            f" args: {{quantization: {method}}}, or take other weights."
        )
    yield Finding(severity, "quantization", text)


def _kind(spec: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Finding]:
    kind = spec.get("kind")
    names = config.get("architectures")
    names = [str(each) for each in names] if isinstance(names, list) else []
    encoder = re.compile(r"(Bert|Roberta|RoBERTa)\w*Model$|ForMaskedLM$|ForSequenceClassification$")
    encoders = [each for each in names if encoder.search(each)]
    parts = ("vision_config", "visual", "audio_config", "thinker_config", "mm_vision_tower")
    if kind in ("generate", "multimodal") and encoders:
        yield Finding(
            "error",
            "kind",
            f"it is of a kind that generates text, and its weights are a {encoders[0]}, which does not."
            " Check whether the path and the model's name belong together.",
        )
    elif kind == "multimodal" and names and not any(config.get(part) for part in parts):
        yield Finding(
            "warning",
            "kind",
            f"it is of the kind multimodal, and its weights ({names[0]}) have no part for images.",
        )


def _model(text: Mapping[str, Any], facts: Facts | None) -> Iterator[Finding]:
    differ = []
    for key, aliases, words in (
        ("num_hidden_layers", ("num_layers", "n_layer"), "layers"),
        ("num_attention_heads", ("n_head",), "attention heads"),
    ):
        known = getattr(facts, key, None)
        here = _first(text, (key, *aliases))
        if facts and known and here and known != here and key not in facts.unverified:
            differ.append(f"{here} {words} instead of {known}")
    if differ:
        yield Finding(
            "warning",
            "model",
            f"its weights have {' and '.join(differ)}, so they are a different model than the one of"
            " that name, and the table's figures may not apply to them.",
        )


def _overridden(config: Mapping[str, Any], args: Mapping[str, Any]) -> Mapping[str, Any]:
    overrides = _json(args.get("hf-overrides"))
    return _merged(config, overrides) if isinstance(overrides, Mapping) else config


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping) and key.endswith("_config")
        result[key] = _merged(old, value) if nested and isinstance(old, Mapping) else value
    return result


def _json(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return parse_json(value)
        except ValueError:
            return None
    return value


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10**9:
        return None
    return int(value)


def _first(text: Mapping[str, Any], keys: Sequence[str]) -> int | None:
    return next((number for key in keys if (number := _number(text.get(key)))), None)
