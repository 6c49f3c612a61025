# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a request's own options of the engine change in an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json

from .._base.errors import AscendError
from .._base.values import whole_number
from .arguments import lacks_scaling
from .catalogue import Catalogue
from .configuration import Attention
from .estimate import BATCHED
from .facts import Facts
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
    draft = _draft(args)
    if _drafts_by_own_layers(draft):
        more = 1 + shape.draft / shape.weights
        return replace(shape, weights=shape.weights * more, experts=shape.experts * more)
    other = _shape_of_draft(draft, catalogue)
    if other is None:
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


def with_scaling(shape: Shape, facts: Facts, length: int | None, args: Mapping[str, Any]) -> Shape:
    """The shape with the wanted length as its context, where a scaling for that is documented or given."""
    native = replace(facts, native_context=shape.native_context, unverified=())
    if (
        not length
        or length <= shape.native_context
        or lacks_scaling(native, length, args, facts.args)
    ):
        return shape
    return replace(shape, native_context=length)


def unknown_draft(args: Mapping[str, Any], catalogue: Catalogue) -> str | None:
    """The model that drafts, where its weights are not counted because nothing is known of it."""
    draft = _draft(args)
    name = draft.get("model")
    if not isinstance(name, str) or _drafts_by_own_layers(draft):
        return None
    return name if _shape_of_draft(draft, catalogue) is None else None


def _draft(args: Mapping[str, Any]) -> Mapping[str, Any]:
    """The option `speculative-config`, empty where there is none that can be read."""
    given = _option(args, "speculative-config")
    if isinstance(given, str):
        try:
            given = parse_json(given)
        except ValueError:
            return {}
    return given if isinstance(given, Mapping) else {}


def _drafts_by_own_layers(draft: Mapping[str, Any]) -> bool:
    return any(word in str(draft.get("method")).lower() for word in _OWN_LAYERS)


def _shape_of_draft(draft: Mapping[str, Any], catalogue: Catalogue | None) -> Shape | None:
    name = draft.get("model")
    match = catalogue.find(name) if catalogue and isinstance(name, str) else None
    if catalogue is None or match is None:
        return None
    try:
        return shape_of(catalogue.facts(match.model))
    except AscendError:
        return None
