# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the config.json of a model says of its attention, of its layers and of its context.

Configurations name the same figure differently; `Text` reads the language model's part of one under
all names in use. What weighs how much is in `parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError

ENCODERS = frozenset(
    [
        "bert",
        "roberta",
        "xlm-roberta",
        "xlm-roberta-xl",
        "distilbert",
        "modernbert",
        "mpnet",
        "electra",
        "deberta-v2",
        "albert",
        "nomic_bert",
        "new",
        "gte",
        "camembert",
    ]
)
# The parts of a configuration that hold the language model's own, from the outside in.
_TEXT_PARTS = ("thinker_config", "text_config", "llm_config", "language_config")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "head_dim": ("head_dim", "kv_channels", "attention_head_dim", "d_kv"),
    "intermediate": (
        "dense_intermediate_size",
        "intermediate_size",
        "ffn_hidden_size",
        "n_inner",
        "decoder_ffn_dim",
        "d_ff",
    ),
    "vocabulary": ("vocab_size", "padded_vocab_size"),
    "context": (
        "max_position_embeddings",
        "seq_length",
        "n_positions",
        "max_sequence_length",
        "max_target_positions",
        "max_seq_len",
        "model_max_length",
    ),
    "experts": ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"),
    "expert_size": ("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size"),
    "shared_experts": (
        "n_shared_experts",
        "num_shared_expert",
        "num_shared_experts",
        "moe_num_shared_experts",
    ),
    "draft_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"),
}
# Where a layer's own list is missing: every n-th layer attends to everything.
_FULL_INTERVALS = {"gemma2": 2, "gemma3_text": 6, "gemma3": 6, "cohere2": 4, "gpt_oss": 2}
_FULL = frozenset(("attention", "global", "full", "f", "*"))
_SLIDING = frozenset(("local", "sliding", "s"))
_NO_FULL_ATTENTION = ("linear", "sliding", "chunked", "local", "compressed")
# Positions of these are scaled without making the context longer than max_position_embeddings.
_SAME_CONTEXT = frozenset(("default", "mrope", "llama3", "longrope", "su", "proportional", ""))


@dataclass(frozen=True)
class Cache:
    """Keys and values of some equal layers.

    Attributes:
        heads: key/value heads, which ranks divide; 0: one entry, which every rank holds.
        width: elements of an entry, key and value together.
        window: tokens that such a layer keeps; None: all.
        ratio: tokens that share an entry.
    """

    layers: int
    heads: int
    width: int
    window: int | None = None
    ratio: int = 1


@dataclass(frozen=True)
class Attention:
    """What all layers keep of a sequence.

    Attributes:
        caches: what grows with the sequence.
        state: elements of 4 bytes that it keeps whatever its length (linear attention).
    """

    caches: tuple[Cache, ...]
    state: int = 0

    @property
    def kinds(self) -> str:
        """Its name, for messages."""
        names = []
        if self.state:
            names.append("linear")
        if any(cache.window for cache in self.caches):
            names.append("sliding-window")
        if any(not cache.heads for cache in self.caches):
            names.append("latent")
        elif self.caches:
            names.append("full")
        return " and ".join(names) or "none"


class Text:
    """The language model's part of a configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        part = config
        for name in _TEXT_PARTS:
            inner = part.get(name)
            if isinstance(inner, Mapping) and inner:
                part = inner
        self.config = config
        self.part = part
        self.model_type = str(part.get("model_type") or config.get("model_type") or "")

    def number(self, name: str) -> int | None:
        """A figure under any of its names; of a list with a figure for each layer the largest."""
        for key in _NAMES.get(name, (name,)):
            value = self.part.get(key)
            if isinstance(value, (list, tuple)):
                value = max((item for item in value if isinstance(item, int)), default=None)
            if isinstance(value, (int, float)) and value is not True and 0 < value < math.inf:
                return int(value)
        return None

    def needed(self, name: str) -> int:
        value = self.number(name)
        if value is None:
            names = " or ".join(_NAMES.get(name, (name,)))
            raise AscendError(f"the configuration has no {names} that is a number above 0")
        return value

    @property
    def encoder_only(self) -> bool:
        return self.model_type in ENCODERS

    @property
    def layers(self) -> int:
        blocks = self.part.get("layers_block_type") or self.part.get("block_configs")
        if isinstance(blocks, (list, tuple)) and blocks and isinstance(blocks[0], Mapping):
            raise AscendError("its layers differ in shape (block_configs)")
        count = self.number("layers")
        return count or len(blocks or ()) or self.needed("layers")

    @property
    def heads(self) -> int:
        return self.needed("heads")

    @property
    def kv_heads(self) -> int:
        if self.part.get("multi_query_attention") is False or self.part.get("multi_query") is False:
            return self.heads
        if self.part.get("multi_query") is True and not self.number("n_head_kv"):
            return 1
        return self.number("kv_heads") or self.heads

    @property
    def head_dim(self) -> int:
        return self.number("head_dim") or self.needed("hidden") // self.heads

    @property
    def latent(self) -> int | None:
        """Elements that multi-head latent attention keeps of a token, with those of an indexer."""
        rank = self.number("kv_lora_rank")
        if rank is None:
            return None
        index = self.number("index_head_dim") or 0
        return rank + (self.number("qk_rope_head_dim") or 0) + index

    def layer_kinds(self) -> tuple[int, int, int]:
        """How many layers attend to everything, to a window, and linearly or not at all."""
        layers = self.layers
        window = self.window
        listed = self._listed_kinds(layers)
        if listed:
            full = sum(_is_full(kind) for kind in listed)
            sliding = sum(
                kind in _SLIDING or "sliding" in kind or "chunked" in kind for kind in listed
            )
            if window is None:
                full, sliding = full + sliding, 0
            return full, sliding, layers - full - sliding
        interval = self.number("full_attention_interval")
        if interval:
            return layers // interval, 0, layers - layers // interval
        period = self.number("attn_layer_period")
        if period:
            return layers // period, 0, layers - layers // period
        if window is None:
            return layers, 0, 0
        pattern = self.number("sliding_window_pattern") or self.number("_sliding_window_pattern")
        pattern = pattern or _FULL_INTERVALS.get(self.model_type)
        if pattern:
            return layers // pattern, layers - layers // pattern, 0
        return 0, layers, 0

    def _listed_kinds(self, layers: int) -> list[str]:
        """The kind of each layer, where the configuration lists them."""
        for key in ("layer_types", "layers_block_type", "attn_type_list"):
            kinds = self.part.get(key)
            if isinstance(kinds, (list, tuple)) and kinds:
                if len(kinds) < layers:
                    raise AscendError(f"{key} has {len(kinds)} entries for {layers} layers")
                return ["f" if kind == 1 else str(kind) for kind in kinds][:layers]
        pattern = self.part.get("hybrid_override_pattern")
        if isinstance(pattern, str):
            return list(pattern)
        linear = self.part.get("linear_attn_config")
        full = linear.get("full_attn_layers") if isinstance(linear, Mapping) else None
        if isinstance(full, (list, tuple)):
            return ["f" if number + 1 in full else "linear" for number in range(layers)]
        windows = self.part.get("hybrid_layer_pattern")
        if isinstance(windows, (list, tuple)) and windows:
            return ["s" if each else "f" for each in windows]
        if self.model_type == "llama4_text":
            rotary = self.part.get("no_rope_layers") or [(n + 1) % 4 for n in range(layers)]
            return ["s" if each else "f" for each in rotary]
        return []

    def blocks(self) -> Mapping[str, int] | None:
        """How many layers are attention, state space, experts and matrices alone, where each is one
        of these and not two."""
        pattern = self.part.get("hybrid_override_pattern")
        kinds = list(pattern) if isinstance(pattern, str) else self.part.get("layers_block_type")
        if self.model_type != "nemotron_h" or not isinstance(kinds, (list, tuple)):
            return None
        names = {"*": "attention", "M": "mamba", "E": "moe", "-": "mlp"}
        found = [names.get(str(kind), str(kind)) for kind in kinds]
        return {name: found.count(name) for name in names.values()}

    @property
    def window(self) -> int | None:
        """Tokens of a sliding window, where one is in use."""
        if self.part.get("use_sliding_window") is False:
            return None
        return self.number("sliding_window") or self.number("attention_chunk_size")

    def attention(self) -> Attention:
        """What its layers keep of a sequence."""
        if self.encoder_only:
            return Attention(())
        full, sliding, linear = self.layer_kinds()
        window = self.window
        ratios = self.part.get("compress_ratios")
        if isinstance(ratios, (list, tuple)):
            return Attention(self._compressed([int(ratio) for ratio in ratios]))
        latent = self.latent
        if latent is not None:
            return Attention((Cache(full + sliding, 0, latent),), linear * self._linear_state())
        head_dim = self.head_dim
        value_dim = self.number("v_head_dim") or head_dim
        wide = self.number("global_head_dim") or head_dim
        wide_heads = self.number("num_global_key_value_heads") or self.kv_heads
        shared = self.number("num_kv_shared_layers") or 0  # the last ones use an earlier one's
        full -= round(shared * full / max(full + sliding, 1))
        sliding -= round(shared * sliding / max(full + sliding, 1)) if sliding else 0
        caches = []
        if full:
            width = 2 * wide if wide != head_dim else head_dim + value_dim
            caches.append(Cache(full, wide_heads if sliding else self.kv_heads, width))
        if sliding:
            heads = self.number("swa_num_key_value_heads") or self.kv_heads
            caches.append(Cache(sliding, heads, head_dim + value_dim, window))
        caches += self._cross_attention()
        return Attention(tuple(caches), linear * self._linear_state())

    def _cross_attention(self) -> list[Cache]:
        """What the decoder keeps of the encoder's output, which has a fixed length."""
        encoder = self.part.get("max_source_positions")
        if not self.part.get("is_encoder_decoder") or not isinstance(encoder, int):
            return []
        return [Cache(self.layers, self.kv_heads, 2 * self.head_dim, encoder)]

    def _compressed(self, ratios: list[int]) -> tuple[Cache, ...]:
        """Attention over compressed tokens (DeepSeek V4): a window, and an entry for each ratio."""
        layers, width = self.layers, self.head_dim
        ratios = ratios[:layers]
        caches = [Cache(layers, 0, width, self.window or 128)]
        for ratio in sorted({ratio for ratio in ratios if ratio > 1}):
            # An indexer chooses among the finely compressed entries.
            index = (self.number("index_head_dim") or 0) if ratio < 16 else 0
            caches.append(Cache(ratios.count(ratio), 0, width + index, None, ratio))
        return tuple(caches)

    def _linear_state(self) -> int:
        """Elements that a layer of linear attention (or a state space) keeps of a sequence."""
        part = self.part
        inner = part.get("linear_attn_config")
        if isinstance(inner, Mapping):
            return int(inner.get("num_heads", 0)) * int(inner.get("head_dim", 0)) ** 2
        values = self.number("linear_num_value_heads")
        if values:
            keys = self.needed("linear_num_key_heads") * self.needed("linear_key_head_dim")
            value = self.needed("linear_value_head_dim")
            kernel = self.number("linear_conv_kernel_dim") or 4
            matrix = values * self.needed("linear_key_head_dim") * value
            return matrix + (2 * keys + values * value) * (kernel - 1)
        state = self.number("mamba_d_state") or self.number("ssm_state_size")
        state = state or self.number("state_size")
        if state:
            inner_size = (self.number("mamba_num_heads") or self.number("mamba_n_heads") or 0) * (
                self.number("mamba_head_dim") or self.number("mamba_d_head") or 0
            )
            expand = self.number("mamba_expand") or self.number("expand") or 2
            return (inner_size or expand * self.needed("hidden")) * state
        return self.heads * self.head_dim**2

    def native_context(self) -> int | None:
        """The longest sequence by the configuration, as vLLM derives it."""
        length = self.number("context")
        if self.model_type in ("roberta", "xlm-roberta", "camembert") and length:
            return length - 2  # two positions are kept for padding
        rope = self.part.get("rope_scaling") or self.part.get("rope_parameters")
        if not isinstance(rope, Mapping) or length is None:
            return length
        kind = str(rope.get("rope_type") or rope.get("type") or "")
        factor = rope.get("factor")
        if kind in _SAME_CONTEXT or not isinstance(factor, (int, float)):
            return length
        if not 0 < factor < math.inf:
            raise AscendError(f"the factor of its rope_scaling is {factor}")
        if self.model_type.startswith("gemma"):
            return length
        original = rope.get("original_max_position_embeddings")
        if "yarn" in kind and isinstance(original, int):
            length = original
        return math.floor(length * factor)


def _is_full(kind: str) -> bool:
    """Whether a layer of that kind attends to all tokens, whatever it chooses among them."""
    if kind in _FULL:
        return True
    return "attention" in kind and not any(word in kind for word in _NO_FULL_ATTENTION)


def kind_of_model(config: Mapping[str, Any]) -> str:
    """generate, multimodal, embed or rerank, by the configuration's own words."""
    names = " ".join(str(name) for name in config.get("architectures") or ())
    if "ForSequenceClassification" in names:
        return "rerank"
    if Text(config).encoder_only:
        return "embed"
    if names.endswith("ForConditionalGeneration") and not config.get("is_encoder_decoder"):
        return "multimodal"
    parts = ("vision_config", "audio_config", "thinker_config", "visual", "vision_tower")
    return "multimodal" if any(config.get(part) for part in parts) else "generate"
