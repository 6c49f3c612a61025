# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is known of models beside the tables, from `vars/model_facts.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .._base.data import vars_file


@dataclass(frozen=True)
class Yarn:
    """YaRN as a model's documentation gives it; lengths in tokens."""

    original_max_position_embeddings: int
    max_factor: float
    rope_theta: float


@dataclass(frozen=True)
class Facts:
    """What is known of a model. ``None``: not known. Lengths in tokens, weights in bytes.

    ``config``: figures of the released config.json under its own names, if its attention or its
    weights are of a kind that the other figures do not describe.
    """

    kind: str | None = None
    huggingface: tuple[str, ...] = ()
    modelscope: tuple[str, ...] = ()
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    native_context: int | None = None
    runtime_weight_bytes: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    encoder_only: bool = False
    yarn: Yarn | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    warning: str | None = None
    unverified: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def load_facts() -> Mapping[str, Facts]:
    """The shipped model facts by the model's name."""
    facts = {}
    for entry in vars_file("model_facts.yml")["models"]:
        yarn = entry.get("yarn")
        facts[entry["model"]] = Facts(
            kind=entry["kind"],
            huggingface=tuple(entry.get("huggingface", ())),
            modelscope=tuple(entry.get("modelscope", ())),
            num_hidden_layers=entry.get("num_hidden_layers"),
            num_attention_heads=entry.get("num_attention_heads"),
            num_key_value_heads=entry.get("num_key_value_heads"),
            head_dim=entry.get("head_dim"),
            native_context=entry.get("native_context"),
            runtime_weight_bytes=entry.get("runtime_weight_bytes"),
            config=entry.get("config", {}),
            encoder_only=entry.get("encoder_only", False),
            yarn=yarn
            and Yarn(
                yarn["original_max_position_embeddings"], yarn["max_factor"], yarn["rope_theta"]
            ),
            args=entry.get("args", {}),
            warning=entry.get("warning"),
            unverified=tuple(entry.get("unverified", ())),
        )
    return facts
