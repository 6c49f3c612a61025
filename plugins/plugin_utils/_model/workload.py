# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a request's own options of the engine change in an estimate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._base.errors import AscendError
from .._base.values import whole_number
from .catalogue import Catalogue
from .configuration import Attention
from .estimate import BATCHED
from .options import dashed
from .shape import Shape, shape_of

# Of the words that vLLM has for it, those by which the model's own layers draft.
_OWN_LAYERS = ("mtp", "nextn")


def _option(args: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in args.items() if dashed(str(key)) == name), None)


def batched_tokens(args: Mapping[str, Any]) -> int:
    """Tokens of a step of the engine."""
    return whole_number(_option(args, "max-num-batched-tokens")) or BATCHED


def with_options(shape: Shape, args: Mapping[str, Any], catalogue: Catalogue | None) -> Shape:
    """The shape with the cache's type and the speculative draft that the options ask for.

    catalogue: knows the models that draft; None: only a model's own layers count.
    """
    cache = str(_option(args, "kv-cache-dtype") or "auto").lower()
    if cache.startswith(("fp8", "int8")):
        shape = replace(shape, cache_bytes=1)
    draft = _option(args, "speculative-config")
    if isinstance(draft, str):
        try:
            draft = json.loads(draft)
        except ValueError:
            return shape
    if not isinstance(draft, Mapping):
        return shape
    if any(word in str(draft.get("method")).lower() for word in _OWN_LAYERS):
        more = 1 + shape.draft / shape.weights
        return replace(shape, weights=shape.weights * more, experts=shape.experts * more)
    name = draft.get("model")
    match = catalogue.find(name) if catalogue and isinstance(name, str) else None
    if catalogue is None or match is None:
        return shape
    try:
        other = shape_of(catalogue.facts(match.model))
    except AscendError:
        return shape
    return replace(
        shape,
        weights=shape.weights + other.weights,
        replicated=shape.replicated + other.replicated,
        attention=Attention(
            shape.attention.caches + other.attention.caches,
            shape.attention.state + other.attention.state,
        ),
    )
