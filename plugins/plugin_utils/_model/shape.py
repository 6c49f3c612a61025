# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an estimate needs of a model: its weights and what it keeps of a sequence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    OutOfBounds,
    read_json,
)
from ansible_collections.inferops.ascend.plugins.module_utils._host.configurations import (
    weight_bytes,
)

from .._base.errors import AscendError
from .configuration import Attention, Cache, Text, kind_of_model
from .facts import Facts
from .parameters import Storage, count, of_name, quantization_method, storage

DESCRIPTION = "quant_model_description.json"
# About that of most models of today, for those of which it is not known.
_VOCABULARY = 150_000
_QUANTIZATION = frozenset(("quantization_config", "compression_config", DESCRIPTION))


@dataclass(frozen=True)
class Shape:
    """Weights in bytes, lengths in tokens.

    Attributes:
        weights: of one copy of the model; replicated: those among them that each rank has.
        experts: those that data-parallel ranks share instead of having a copy each.
        draft: of the layers that only speculative decoding loads.
        cache_bytes: of an element in the cache.
        counted: the weights follow from shapes, not from a file's size or a published figure.
    """

    attention: Attention
    weights: float
    layers: int
    native_context: int
    replicated: float = 0
    experts: float = 0
    draft: float = 0
    cache_bytes: float = 2
    counted: bool = False
    kind: str = "generate"
    stored: str = "bf16"


def shape_of(facts: Facts, stored: Storage | None = None) -> Shape:
    """The shape of a model of which facts are known; ``stored``: other weights of that shape.

    Raises AscendError: a figure is not known.
    """
    if facts.config:
        how = stored or storage(facts.config, facts.config.get(DESCRIPTION))
        try:
            shape = of_config(facts.config, how)
        except AscendError:
            if not facts.runtime_weight_bytes:
                raise
        else:
            if facts.runtime_weight_bytes and stored is None:
                experts = shape.experts * facts.runtime_weight_bytes / shape.weights
                shape = replace(
                    shape, weights=facts.runtime_weight_bytes, experts=experts, counted=False
                )
            known = facts.native_context or shape.native_context
            if not known:
                raise AscendError("its native context is not known")
            return replace(shape, native_context=known, kind=facts.kind or shape.kind)
    layers, heads, size = facts.num_hidden_layers, facts.num_key_value_heads, facts.head_dim
    weights, native = facts.runtime_weight_bytes, facts.native_context
    if not (weights and layers and heads and native and size):
        raise AscendError("its weights, layers, heads or native context are not known")
    caches = () if facts.encoder_only else (Cache(layers, heads, 2 * size),)
    if stored is not None:
        # The embeddings of tokens, and what returns to tokens, are not quantised.
        width = (facts.num_attention_heads or heads) * size
        rest = min(4 * _VOCABULARY * width, weights // 3)
        weights = int(rest + (weights - rest) * stored.dense / 2)
    return Shape(
        Attention(caches),
        weights,
        layers,
        native,
        cache_bytes=stored.cache if stored else 2,
        counted=stored is not None,
        kind=facts.kind or "generate",
        stored=stored.name if stored else "bf16",
    )


def of_config(config: Mapping[str, Any], how: Storage | None = None) -> Shape:
    """The shape by a config.json; a context that it does not give is 0.

    Raises AscendError: a figure is missing.
    """
    text = Text(config)
    how = how or storage(config)
    parameters = count(config)
    return Shape(
        attention=text.attention(),
        weights=(parameters.embeddings + parameters.towers) * how.rest
        + (parameters.dense + parameters.replicated) * how.dense
        + parameters.experts * how.experts,
        layers=text.layers,
        native_context=text.native_context() or 0,
        replicated=parameters.replicated * how.dense,
        experts=parameters.experts * how.experts,
        draft=parameters.draft * (how.experts if parameters.experts else how.dense),
        cache_bytes=how.cache,
        counted=True,
        kind=kind_of_model(config),
        stored=how.name,
    )


def quantization_of(config: Mapping[str, Any]) -> str | None:
    """What quantised the weights of a configuration; ``ascend`` where ModelSlim describes them."""
    return "ascend" if DESCRIPTION in config else quantization_method(config)


def without_quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration, of other weights of the same shape."""
    left = {key: value for key, value in config.items() if key not in _QUANTIZATION}
    parts = {key: value for key, value in left.items() if isinstance(value, Mapping)}
    return {**left, **{key: without_quantization(value) for key, value in parts.items()}}


def stored_as(model: str) -> tuple[str, Storage] | None:
    """The name of the model whose quantised weights this name means, and how they are stored."""
    how = of_name(model)
    if how is None:
        return None
    at = model.lower().replace("_", "-").replace(".", "-").rfind("-" + how.name)
    base = re.sub(r"[-.](instruct-gptq|quantized)$", "", model[:at], flags=re.IGNORECASE)
    return base, how


def read_configuration(path: Path) -> Facts:
    """Facts by a config.json, or by a directory with one and with the weights or their index.

    Raises AscendError: it cannot be read, or lacks a figure.
    """
    directory = path if path.is_dir() else path.parent
    file = path / "config.json" if path.is_dir() else path
    config = _read(file)
    description = directory / DESCRIPTION
    if description.is_file():
        config[DESCRIPTION] = _read(description)
    try:
        return facts_of(config, weight_bytes(directory))
    except AscendError as error:
        raise AscendError(
            f"{file} is not enough for an estimate: {error}. Give the model a row of its own"
            " (ascend_model_tables), or give the request path, cards and max_model_len."
        ) from error


def facts_of(config: Mapping[str, Any], weights: int | None) -> Facts:
    """Facts by a configuration and the bytes of its weights, if these are known.

    Raises AscendError: the configuration lacks a figure, or has one that cannot be.
    """
    text = Text(config)
    try:
        of_config(config)
        return Facts(
            kind=kind_of_model(config),
            num_hidden_layers=text.layers,
            num_attention_heads=text.heads,
            num_key_value_heads=text.kv_heads,
            native_context=text.native_context(),
            runtime_weight_bytes=weights,
            config=config,
            encoder_only=text.encoder_only,
        )
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise AscendError(f"a figure of the configuration cannot be used ({error})") from error


def _read(file: Path) -> dict[str, Any]:
    problem, content = None, None
    try:
        content = read_json(file)
    except OSError as error:
        problem = error.strerror or str(error)
    except OutOfBounds as error:
        problem = str(error)
    except ValueError as error:
        raise AscendError(f"{file} is not JSON: {error}. Fetch the file again.") from error
    if problem:
        raise AscendError(
            f"{file} cannot be read: {problem}. Name a model's config.json, or the"
            " directory that contains it, in config."
        )
    if not isinstance(content, dict):
        raise AscendError(f"{file} is not a mapping. Fetch the file again.")
    return content
