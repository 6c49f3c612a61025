# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An estimate of cards and length for a model that no table lists for a card's memory.

Of each rank: visible memory x utilization = weights + keys and values + the rest. The formula, its
sources and the runs it was held against are in docs/estimate.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .facts import Facts
from .profiles import load_profiles
from .shape import Shape
from .split import Split

GIB = 2**30
# The shortest length that the published table's own test method tries.
SHORTEST = 4096
STEP = 1024
MOST_CARDS = 64
_SIZES = (1, 2, 4, 8, 16, 32, MOST_CARDS)
# What limits a length that the memory does not limit.
NATIVE_CONTEXT = "native context"
# Tokens of a step of the engine, which a window is exceeded by, and what more of them take: the run
# of 45056 (docs/estimate.md) took 5.7 GiB more for activations than those of the default.
BATCHED = 8192
GIB_PER_TOKEN = 5.7 / (45056 - 8192)


@dataclass(frozen=True)
class Device:
    """What the framework sees of one device, and whether it is a 310P chip."""

    visible_memory_gib: float
    is_310p: bool


@dataclass(frozen=True)
class Overhead:
    """GiB of a rank that are neither weights nor cache, and a share by which weights may be larger.

    ``windows``: layers with a sliding window keep no more than it.
    """

    gib: float
    weights: float = 0.0
    windows: bool = True


@dataclass(frozen=True)
class Estimate:
    """The least cards, and the longest length on them, with the lengths of a careful and of a
    generous calculation.

    Attributes:
        limited_by: what the length ends at.
        borderline: whether the careful and the generous calculation disagree about what was asked.
    """

    cards: int
    longest: int
    low: int
    high: int
    native_context: int
    limited_by: str
    borderline: bool
    weights_gib: float
    least: tuple[int | None, int | None] = (None, None)

    @property
    def doubt(self) -> str:
        """Why it is borderline, for messages."""
        careful, generous = self.least
        if careful != generous:
            return (
                f"a careful calculation asks for {careful or f'more than {MOST_CARDS}'} cards, a"
                f" generous one for {generous}"
            )
        return f"between {self.low} and {self.high} tokens fit"

    def as_dict(self) -> dict[str, Any]:
        return {
            "cards": self.cards,
            "longest": self.longest,
            "longest_low": self.low,
            "longest_high": self.high,
            "native_context": self.native_context,
            "limited_by": self.limited_by,
            "borderline": self.borderline,
            "weights_gib": round(self.weights_gib, 1),
        }


def device_of(card_memory_gb: float, profile: str | None) -> Device | None:
    """The device of a profile, or the smallest with that nominal memory; None: not known."""
    profiles = [p for p in load_profiles().values() if p.card_memory_gb == card_memory_gb]
    profiles = [p for p in profiles if p.name == profile] or profiles
    visible = [gib for p in profiles for gib in p.visible_memory_gib]
    if not visible:
        return None
    return Device(min(visible), any(c.startswith("310P") for p in profiles for c in p.chips))


def tensor_parallel_fault(facts: Facts, size: int) -> str | None:
    """What forbids a tensor-parallel size, or ``None``.

    vLLM wants the attention heads to divide by the size (its ModelConfig, and an assertion in every
    attention layer), and key/value heads to divide by it or to divide it (an assertion in the same
    layers, as in vllm/model_executor/models/qwen2.py).
    """
    heads, kv_heads = facts.num_attention_heads, facts.num_key_value_heads
    if heads is not None and heads % size:
        return (
            f"Total number of attention heads ({heads}) must be divisible by"
            f" tensor parallel size ({size})"
        )
    if kv_heads is not None and kv_heads % size and size % kv_heads:
        return (
            f"the number of key/value heads ({kv_heads}) must be divisible by tensor parallel size"
            f" ({size}), or divide it"
        )
    return None


def overheads(
    shape: Shape, device: Device, ranks: int, batched: int = BATCHED
) -> tuple[Overhead, Overhead, Overhead]:
    """The expected one, that of a careful and that of a generous calculation.

    ``batched``: tokens of a step of the engine (max-num-batched-tokens).
    """
    more = max(batched - BATCHED, 0) * GIB_PER_TOKEN
    unsure = 0.03 if shape.counted else 0.0
    if device.is_310p:
        # A hybrid model was given less for its cache than was left (vllm-ascend issue 10122).
        expected, most, least = (10.1 if shape.attention.state else 3.0), 10.1, 1.8
    else:
        expected = 1.2 + 0.5 * (min(ranks, 8) - 1)
        most, least = expected + 1.0, 0.05 + 0.4 * (min(ranks, 8) - 1)
    return (
        Overhead(expected + more),
        Overhead(most + more, unsure, False),
        Overhead(least + more, -unsure),
    )


def cache_bytes(shape: Shape, tokens: int, split: Split, windows: bool) -> float:
    """What one card keeps of a sequence of that many tokens, which one data-parallel rank has."""
    tensor, pipeline = split.tensor, split.pipeline
    total = shape.attention.state * 4.0 / (tensor * pipeline)
    for cache in shape.attention.caches:
        kept = min(tokens, cache.window + BATCHED) if cache.window and windows else tokens
        heads = math.ceil(cache.heads / tensor) if cache.heads else 1
        layers = math.ceil(cache.layers / pipeline)
        total += layers * heads * cache.width * shape.cache_bytes * math.ceil(kept / cache.ratio)
    return total


def rank_weights(shape: Shape, split: Split) -> float:
    """Bytes of the weights on one card."""
    divided = shape.weights - shape.replicated - shape.experts
    experts = shape.experts / split.expert_ranks
    return (divided / split.tensor + experts + shape.replicated) / split.pipeline


def _longest(
    shape: Shape, device: Device, share: float, split: Split, overhead: Overhead
) -> tuple[int, str]:
    weights = rank_weights(shape, split) * (1 + overhead.weights)
    left = device.visible_memory_gib * GIB * share - weights - overhead.gib * GIB
    native = shape.native_context

    def fits(tokens: int) -> bool:
        # A 310P chip also holds an fp16 mask of length squared.
        mask = 2 * tokens * tokens if device.is_310p else 0
        needed = cache_bytes(shape, tokens, split, overhead.windows)
        return needed + mask <= left

    if left <= 0 or not fits(1):
        return 0, "weights"
    if fits(native):
        return native, NATIVE_CONTEXT
    low, high = 0, math.ceil(native / STEP)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * STEP) else (low, middle)
    mask_is_larger = device.is_310p and 2 * (low * STEP) ** 2 > left / 2
    return low * STEP, "attention mask" if mask_is_larger else "cache"


def _joined(shape: Shape, split: Split) -> int:
    """Cards that exchange layers or experts; copies of a dense model exchange nothing."""
    return split.pipeline * (split.expert_ranks if shape.experts else split.tensor)


def longest(shape: Shape, device: Device, utilization: float, split: Split) -> int:
    """The length in tokens that the devices of a split should carry, 0 if none.

    At most the native context, rounded down to a multiple of 1024 below that.
    """
    overhead = overheads(shape, device, _joined(shape, split))[0]
    return _longest(shape, device, utilization, split, overhead)[0]


def estimate(
    facts: Facts,
    shape: Shape,
    device: Device,
    utilization: float,
    split: Split | None = None,
    max_model_len: int | None = None,
    batched: int = BATCHED,
) -> Estimate:
    """The least number of devices, a power of two, and the longest length in tokens on them.

    Args:
        split: the sizes to take, instead of the least number of devices.
        max_model_len: the least number must carry it; 4096 tokens if not given, or the native
            context if that is shorter.
        batched: tokens of a step of the engine.

    Raises AscendError: no number of devices up to 64 suffices.
    """
    wanted = min(max_model_len or SHORTEST, shape.native_context)

    def carried(which: int, over: Split) -> tuple[int, str]:
        overhead = overheads(shape, device, _joined(shape, over), batched)[which]
        return _longest(shape, device, utilization, over, overhead)

    def least(which: int) -> int | None:
        for size in _SIZES:
            fault = tensor_parallel_fault(facts, size)
            if fault is None and carried(which, Split(size))[0] >= wanted:
                return size
        return None

    band: tuple[int | None, int | None] = (None, None)
    if split is None:
        size, band = least(0), (least(1), least(2))
        if size is None:
            most = max(n for n in _SIZES if tensor_parallel_fault(facts, n) is None)
            limit = "" if most == MOST_CARDS else ", the most that its heads are divided over,"
            raise AscendError(f"no number of cards up to {most}{limit} carries {wanted} tokens")
        split = Split(size)
    tokens, limit = carried(0, split)
    low, high = carried(1, split)[0], carried(2, split)[0]
    return Estimate(
        cards=split.cards,
        longest=tokens,
        low=low,
        high=high,
        native_context=shape.native_context,
        limited_by=limit,
        borderline=band[0] != band[1] or low < wanted <= high,
        weights_gib=rank_weights(shape, split) / GIB,
        least=band,
    )
