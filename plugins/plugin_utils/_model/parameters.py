# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much a model weighs by the shapes in its config.json, where no file tells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._base.errors import AscendError
from .._base.values import shown
from .configuration import Text

# Bytes of the scale and the zero point of a group of 4-bit weights; of the scale alone; of an MX scale.
_SCALE_AND_ZERO, _SCALE, _MX_SCALE = 2.5, 2.0, 1.0
_BYTES = {"fp8": 1.0, "int8": 1.0, "w8a8": 1.0, "mxfp4": 0.5 + 1 / 32, "bf16": 2.0}
# Without a gate: two matrices instead of three.
_UNGATED = frozenset(
    ["nemotron", "opt", "gpt2", "gpt_neox", "falcon", "phi", "starcoder2", "whisper", "bart", "t5"]
)
_WIDTHS = tuple(str(bits) for bits in range(1, 17))
_BITS = re.compile(r"W(\d+)A\d+", re.ASCII)


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters by how they are stored and divided.

    Attributes:
        embeddings: of tokens and positions, and the output matrix.
        dense: matrices outside of experts, which ranks divide.
        replicated: matrices that every rank of a tensor-parallel group holds.
        experts: those of which a token uses some.
        towers: encoders of images and sound.
        draft: layers that only speculative decoding loads.
    """

    embeddings: int = 0
    dense: int = 0
    replicated: int = 0
    experts: int = 0
    towers: int = 0
    draft: int = 0

    @property
    def total(self) -> int:
        """All that is loaded without speculative decoding."""
        return self.embeddings + self.dense + self.replicated + self.experts + self.towers


@dataclass(frozen=True)
class Storage:
    """Bytes of a parameter in matrices, in experts and elsewhere, and of an element in the cache."""

    dense: float = 2.0
    experts: float = 2.0
    rest: float = 2.0
    cache: float = 2.0
    name: str = "bf16"


def storage(config: Mapping[str, Any], description: Mapping[str, Any] | None = None) -> Storage:
    """How the weights are stored, by `quantization_config` or `quant_model_description.json`."""
    if description:
        return _described(description)
    given = _quantization(config)
    if given is None:
        return Storage()
    method = str(given.get("quant_method") or "").lower()
    if method == "mxfp4":
        return Storage(experts=_BYTES["mxfp4"], name="mxfp4")
    if method == "fp8":
        experts = 0.5 + 1 / 32 if Text(config).part.get("expert_dtype") == "fp4" else 1.0
        return Storage(1.0, experts, name="fp8" if experts == 1 else "fp8 with fp4 experts")
    if method in ("awq", "gptq", "awq_marlin", "gptq_marlin", "auto-round", "autoround"):
        bits = given.get("bits") or given.get("w_bit") or 4
        size = _packed(_checked(bits))
        return Storage(size, size, name=f"{method} of {bits} bits")
    if "NVFP4" in str(given.get("quant_algo") or ""):
        return Storage(2.0, 0.5 + 1 / 16, name="nvfp4")
    if method in ("compressed-tensors", "modelopt", "quark"):
        bits, scales, group = _group(given)
        _checked(bits)
        size = 1.0 if bits == 8 else bits / 8 + scales / group
        ignored = " ".join(str(each) for each in given.get("ignore") or ())
        experts_only = "self_attn" in ignored
        return Storage(2.0 if experts_only else size, size, name=f"{method} of {bits} bits")
    if method in ("bitsandbytes", "int8"):
        size = 0.52 if given.get("load_in_4bit") else 1.0
        return Storage(size, size, name=method)
    return Storage()


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inner = Text(config).part.get("quantization_config")
    given = config.get("quantization_config") or inner or config.get("compression_config")
    return given if isinstance(given, Mapping) else None


def quantization_method(config: Mapping[str, Any]) -> str | None:
    """What quantised the weights, by the name that the engine has for it; None: nothing did.

    ModelSlim's older form names a type for each tensor, and no method (vllm-ascend issue 633).
    """
    given = _quantization(config)
    if given is None:
        return None
    method = str(given.get("quant_method") or "").lower().replace("_", "-")
    if not method and (config.get("quantize") or given.get("model_quant_type")):
        return "ascend"
    return method or None


def _checked(bits: object) -> int:
    """Bits of a weight. Raises AscendError for what is none."""
    if str(bits) not in _WIDTHS:
        raise AscendError(f"its quantization has weights of {shown(bits)} bits")
    return int(str(bits))


def _packed(bits: int) -> float:
    return 1.0 if bits == 8 else bits / 8 + _SCALE_AND_ZERO / 128


def _group(given: Mapping[str, Any]) -> tuple[int, float, int]:
    """Bits of a weight, bytes of the scales of a group, and the weights in a group."""
    groups = given.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and isinstance(weights.get("num_bits"), int):
            size = weights.get("group_size")
            scale = _MX_SCALE if "mxfp" in str(group.get("format")) else _SCALE
            return weights["num_bits"], scale, size if isinstance(size, int) and size > 0 else 128
    bits = 4 if "4" in str(given.get("quant_algo") or "") else 8
    return bits, _SCALE, 128


def _described(description: Mapping[str, Any]) -> Storage:
    """By the type of each tensor, as Ascend's msModelSlim writes them."""
    experts: Counter[str] = Counter()
    dense: Counter[str] = Counter()
    for name, kind in description.items():
        if not isinstance(kind, str) or not name.endswith(".weight") or "norm" in name:
            continue
        (experts if ".experts." in name else dense)[kind] += 1
    overall = str(description.get("model_quant_type") or "W8A8")

    def size(counts: Counter[str]) -> float:
        found: Counter[str] = Counter(counts or {overall: 1})
        weighted = sum(_described_bytes(kind) * count for kind, count in found.items())
        return weighted / sum(found.values())

    cache = 1.0 if description.get("kv_quant_type") or description.get("kv_cache_type") else 2.0
    return Storage(size(dense), size(experts), cache=cache, name=overall.lower())


def _described_bytes(kind: str) -> float:
    bits = _BITS.match(kind.upper())
    return _packed(int(bits[1])) if bits else 2.0


def of_name(name: str) -> Storage | None:
    """How weights of this name are stored, by the words that quantised models are named with."""
    text = re.sub(r"[-_.]", "-", name.lower())
    for pattern, size in (
        (r"w4a4|w4a8|w4a16|awq|gptq-int4|int4|4bit", _packed(4)),
        (r"w8a8sc|w8a8|w8a16|fp8|int8|8bit", 1.0),
        (r"bf16", 2.0),
    ):
        found = re.search(rf"(?:^|-)({pattern})(?:c8|-|$)", text)
        if found:
            cache = 1.0 if "c8" in text else 2.0
            # Attention of a 4-bit model with experts stays at 8 bits or more.
            return Storage(size, size, cache=cache, name=found[1])
    return None


def count(config: Mapping[str, Any]) -> Parameters:
    """The parameters by the shapes. Raises AscendError: a figure is missing."""
    text = Text(config)
    hidden, layers = text.needed("hidden"), text.layers
    vocabulary = text.needed("vocabulary")
    tied = text.part.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    one = (
        tied is True or text.encoder_only or (tied is None and text.model_type.startswith("gemma"))
    )
    embeddings = vocabulary * hidden * (1 if one else 2)
    per_layer = text.number("hidden_size_per_layer_input")
    if per_layer:
        embeddings += (text.number("vocab_size_per_layer_input") or vocabulary) * per_layer * layers
    if text.encoder_only:
        embeddings += (text.number("context") or 0) * hidden
    full, sliding, linear = text.layer_kinds()
    whole, divided = _attention(text)
    blocks = text.blocks()
    if blocks:
        return _of_blocks(text, blocks, Parameters(embeddings=embeddings))
    gates = 2 if text.model_type in _UNGATED or text.encoder_only else 3
    with_experts = _layers_with_experts(text, layers)
    experts = text.number("experts") or 0
    size = text.number("expert_size") or 0
    wide = text.number("intermediate_size_mlp") or text.number("intermediate") or 4 * hidden
    matrices = gates * hidden * wide
    dense = (layers - with_experts) * matrices
    dense += with_experts * (hidden * experts + 3 * hidden * _shared(text, size))
    if text.part.get("enable_moe_block"):  # beside the dense ones, not in their place
        dense += with_experts * matrices
    dense += (full + sliding) * divided + linear * _linear(text)
    encoder_layers = text.number("encoder_layers") or 0
    if text.part.get("is_encoder_decoder"):
        cross = 4 * hidden * hidden
        dense += layers * cross
        encoder_layers = encoder_layers or layers
        dense += encoder_layers * (cross + gates * hidden * wide)
    drafts = text.number("draft_layers") or 0
    # Experts of some models read and write a narrower vector than the layer's.
    narrow = text.number("routed_expert_hidden_size") or hidden
    one_expert_layer = experts * 3 * narrow * size if with_experts else 0
    return Parameters(
        embeddings=embeddings,
        dense=dense,
        replicated=(full + sliding) * whole,
        experts=with_experts * one_expert_layer,
        towers=sum(_tower(config, name) for name in ("vision_config", "audio_config", "visual")),
        draft=drafts * (divided + whole + (one_expert_layer or matrices) + 2 * hidden * hidden),
    )


def _of_blocks(text: Text, blocks: Mapping[str, int], known: Parameters) -> Parameters:
    """Of a model whose layers are attention, state space, experts or matrices alone."""
    hidden, width = text.needed("hidden"), text.number("moe_latent_size")
    size, experts = text.number("expert_size") or 0, text.number("experts") or 0
    inner = (text.number("mamba_num_heads") or 0) * (text.number("mamba_head_dim") or 0)
    groups = 2 * (text.number("n_groups") or 1) * (text.number("ssm_state_size") or 0)
    mamba = hidden * (3 * inner + groups + (text.number("mamba_num_heads") or 0))
    shared = 2 * hidden * (text.number("moe_shared_expert_intermediate_size") or 0)
    latent = 2 * hidden * width if width else 0
    dense = blocks["attention"] * _attention(text)[1] + blocks["mamba"] * mamba
    dense += blocks["mlp"] * 2 * hidden * (text.number("intermediate") or 0)
    dense += blocks["moe"] * (shared + latent + hidden * experts)
    one = experts * 2 * (width or hidden) * size
    drafts = text.number("draft_layers") or 0
    return replace(
        known,
        dense=dense,
        experts=blocks["moe"] * one,
        draft=drafts * (_attention(text)[1] + one + shared + latent),
    )


def _attention(text: Text) -> tuple[int, int]:
    """Parameters of a layer's attention that every rank holds, and those that ranks divide."""
    hidden, heads = text.needed("hidden"), text.heads
    query_rank = text.number("q_lora_rank")
    rank = text.number("kv_lora_rank")
    if rank is not None:
        nope, rope = text.number("qk_nope_head_dim") or 0, text.number("qk_rope_head_dim") or 0
        value = text.number("v_head_dim") or text.head_dim
        whole = hidden * (rank + rope)
        divided = rank * heads * (nope + value) + heads * value * hidden
        if query_rank:
            whole += hidden * query_rank
            divided += query_rank * heads * (nope + rope)
        else:
            divided += hidden * heads * (nope + rope)
        index = text.number("index_head_dim")
        if index:
            index_heads = text.number("index_n_heads") or 0
            whole += (query_rank or hidden) * index_heads * index + hidden * (index + index_heads)
        return whole, divided
    width = heads * text.head_dim
    output_rank = text.number("o_lora_rank")
    if query_rank and output_rank:  # DeepSeek V4
        whole = hidden * (query_rank + text.head_dim * text.kv_heads)
        groups = text.number("o_groups") or 1
        return whole, query_rank * width + width * output_rank + groups * output_rank * hidden
    gate = text.model_type.startswith(("qwen3_next", "qwen3_5")) or text.part.get(
        "attn_output_gate"
    )
    values = 2 * text.kv_heads * text.head_dim
    return 0, hidden * (width * (3 if gate else 2) + values)


def _linear(text: Text) -> int:
    """Parameters of a layer of linear attention, or of a state space."""
    hidden = text.needed("hidden")
    heads = text.number("linear_num_value_heads")
    if heads:
        values = heads * text.needed("linear_value_head_dim")
        keys = text.needed("linear_num_key_heads") * text.needed("linear_key_head_dim")
        return hidden * (2 * keys + 3 * values + 2 * heads)
    if text.model_type.startswith("minimax"):  # lightning attention has a gate of its output
        return 5 * hidden * text.heads * text.head_dim
    return 6 * hidden * hidden if text.number("mamba_d_state") else 4 * hidden * hidden


def _layers_with_experts(text: Text, layers: int) -> int:
    if not text.number("experts"):
        return 0
    # MiniMax-M3 tells its three dense layers by moe_layer_freq, which excerpts leave out.
    dense = text.number("first_k_dense_replace") or text.number("moe_layer_start_index") or 0
    dense = dense or (3 if text.number("dense_intermediate_size") else 0)
    listed = text.part.get("mlp_only_layers")
    if isinstance(listed, (list, tuple)):
        dense = max(dense, len(listed))
    frequencies = text.part.get("moe_layer_freq")
    if isinstance(frequencies, (list, tuple)):
        return sum(bool(each) for each in frequencies[:layers])
    listed = text.part.get("moe_layers") or text.part.get("mlp_layer_types")
    if isinstance(listed, (list, tuple)) and listed and isinstance(listed[0], str):
        return sum(each == "sparse" for each in listed[:layers])
    step = text.number("decoder_sparse_step") or text.number("interleave_moe_layer_step") or 1
    return (layers - dense) // step


def _shared(text: Text, size: int) -> int:
    """The width of the experts that every token uses."""
    if text.model_type == "llama4_text":
        return size
    for name in ("shared_expert_intermediate_size", "shared_intermediate_size"):
        wide = text.number(name)
        if wide:
            return wide
    return (text.number("shared_experts") or 0) * size


def _tower(config: Mapping[str, Any], name: str) -> int:
    """Parameters of an encoder of images or sound, about."""
    outer = config.get("thinker_config")
    given = config.get(name) or (outer.get(name) if isinstance(outer, Mapping) else None)
    if not isinstance(given, Mapping):
        return 0

    def first(*keys: str) -> int:
        return next((given[key] for key in keys if isinstance(given.get(key), int)), 0)

    layers = first("depth", "num_hidden_layers", "vt_num_hidden_layers", "encoder_layers", "layers")
    hidden = first("embed_dim", "vt_hidden_size", "d_model", "width", "hidden_size")
    if name != "vision_config" or "depth" not in given or "embed_dim" not in given:
        hidden = first("hidden_size", "vt_hidden_size", "d_model", "width", "embed_dim")
    wide = first("intermediate_size", "vt_intermediate_size", "encoder_ffn_dim") or 4 * hidden
    out = first("out_hidden_size", "text_hidden_size") or Text(config).needed("hidden")
    merged = hidden * first("spatial_merge_size") ** 2
    mergers = 1 + len(given.get("deepstack_visual_indexes") or ())
    return layers * (4 * hidden * hidden + 2 * hidden * wide) + mergers * merged * (merged + out)
