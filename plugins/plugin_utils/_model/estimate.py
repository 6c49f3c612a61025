# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An estimate of cards and length for a model that no table lists for a card's memory.

Per rank, in bytes:

    kv memory   = visible memory x utilization - weights / ranks - overhead
    kv per token = 2 (key and value) x layers x kv heads x head_dim x 2 (bfloat16), of the rank
    length      = kv memory / kv per token

with ceil(kv heads / tensor-parallel size) heads on a rank, as vLLM replicates heads when ranks
outnumber them, and ceil(layers / pipeline-parallel size) layers.
Layers with a sliding window count as full ones, which errs on the short side.

The overhead covers activations, non-torch memory and graphs. It is the largest that was
seen, rounded up, when visible x utilization - weights - kv memory was taken from the memory
splits that vLLM-Ascend printed on real devices:

    one rank on A2 or A3        0.05 to 1.15 GiB (public GitHub files 56006381441, 58033495124,
                                55677060415; vllm-omni pull request 4130)         -> 2.0 GiB
    several ranks               0.93 GiB on 2, 4.67 GiB on 8 (55767954568, 69884616153) -> 5.0 GiB
    300I Duo                    10.02 and 9.78 GiB (vllm-ascend issue 10122)      -> 10.1 GiB,
                                and an fp16 mask of length squared x 2 bytes (vllm-ascend v0.18.0
                                docs/source/tutorials/hardwares/310p.md)

Left out is a run with 45056 batched tokens (10.3 GiB on 2 ranks): whoever raises
max-num-batched-tokens needs more than this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._base.errors import AscendError
from .facts import Facts
from .profiles import load_profiles

GIB = 2**30
OVERHEAD_ONE_RANK = 2.0 * GIB
OVERHEAD_SEVERAL_RANKS = 5.0 * GIB
OVERHEAD_310P = 10.1 * GIB
# The shortest length that the published table's own test method tries.
SHORTEST = 4096
STEP = 1024
MOST_CARDS = 64


@dataclass(frozen=True)
class Device:
    """What the framework sees of one device, and whether it is a 310P chip."""

    visible_memory_gib: float
    is_310p: bool


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


def longest(
    facts: Facts, device: Device, utilization: float, tensor: int, pipeline: int = 1
) -> int:
    """The length in tokens that ``tensor`` x ``pipeline`` devices should carry, 0 if none.

    At most the native context, rounded down to a multiple of 1024 below that.

    Raises AscendError: the facts lack a figure.
    """
    weights, layers, kv_heads = (
        facts.runtime_weight_bytes,
        facts.num_hidden_layers,
        facts.num_key_value_heads,
    )
    native, head_dim = facts.native_context, facts.head_dim
    if not (weights and layers and kv_heads and native and head_dim):
        raise AscendError("its weights, layers, heads or native context are not known")
    ranks = tensor * pipeline
    if device.is_310p:
        overhead = OVERHEAD_310P
    else:
        overhead = OVERHEAD_ONE_RANK if ranks == 1 else OVERHEAD_SEVERAL_RANKS
    left = device.visible_memory_gib * GIB * utilization - weights / ranks - overhead
    if left <= 0:
        return 0
    per_token = 0  # an encoder keeps no keys and values
    if not facts.encoder_only:
        per_token = 2 * math.ceil(layers / pipeline) * math.ceil(kv_heads / tensor) * head_dim * 2
    if device.is_310p:
        # 2 n^2 + per_token n = left
        tokens = (math.sqrt(per_token**2 + 8 * left) - per_token) / 4
    else:
        tokens = left / per_token if per_token else math.inf
    if tokens >= native:
        return native
    return int(tokens) // STEP * STEP


def estimate(
    facts: Facts,
    device: Device,
    utilization: float,
    split: tuple[int, int] | None = None,
    max_model_len: int | None = None,
) -> tuple[int, int]:
    """The least number of devices, a power of two, and the longest length in tokens on them.

    Args:
        split: tensor- and pipeline-parallel size to take, instead of the least number of devices.
        max_model_len: the least number must carry it; 4096 tokens if not given, or the native
            context if that is shorter.

    Raises AscendError: a figure is not known, or no number of devices up to 64 suffices.
    """
    if split is not None:
        tensor, pipeline = split
        return tensor * pipeline, longest(facts, device, utilization, tensor, pipeline)
    wanted = min(max_model_len or SHORTEST, facts.native_context or SHORTEST)
    size = 1
    while size <= MOST_CARDS:
        if tensor_parallel_fault(facts, size) is None:
            tokens = longest(facts, device, utilization, size)
            if tokens >= wanted:
                return size, tokens
        size *= 2
    raise AscendError(f"no number of cards up to {MOST_CARDS} carries {wanted} tokens")
