# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is known of models beside the tables, from `vars/model_facts.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .configuration import Text


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

    @property
    def has_experts(self) -> bool:
        """Whether it is a mixture of experts."""
        return bool(self.config) and bool(Text(self.config).number("experts"))

    @property
    def is_dense(self) -> bool:
        """Whether it is known not to be one."""
        return bool(self.config or self.runtime_weight_bytes) and not self.has_experts


# What a model has from the one that it is like, unless its entry gives it.
_SHARED = ("kind", "config", "encoder_only", "runtime_weight_bytes", "native_context")
_FIGURES = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")


@lru_cache(maxsize=1)
def load_facts() -> Mapping[str, Facts]:
    """The shipped model facts by the model's name."""
    facts: dict[str, Facts] = {}
    for entry in vars_file("model_facts.yml")["models"]:
        base = facts[entry["like"]] if "like" in entry else Facts()
        given = {name: getattr(base, name) for name in (*_SHARED, *_FIGURES)}
        if "config" in entry:
            given["config"] = expanded(entry["config"])
            given.update(_figures(given["config"]))
        own = {each.name: entry[each.name] for each in fields(Facts) if each.name in entry}
        given = {**given, **own, "config": given["config"]}
        for name in ("huggingface", "modelscope", "unverified"):
            given[name] = tuple(given.get(name, ()))
        if "yarn" in given:
            given["yarn"] = Yarn(**{each.name: given["yarn"][each.name] for each in fields(Yarn)})
        facts[entry["model"]] = Facts(**given)
    return facts


def expanded(value: Any) -> Any:
    """A value in which each list item `{times: N, of: [...]}` is that list, N times."""
    if isinstance(value, Mapping):
        return {key: expanded(inner) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for item in value:
        repeated = isinstance(item, Mapping) and set(item) == {"times", "of"}
        items += expanded(item["of"]) * item["times"] if repeated else [item]
    return items


def _figures(config: Mapping[str, Any]) -> dict[str, int | None]:
    text = Text(config)
    return {
        "num_hidden_layers": text.layers,
        "num_attention_heads": text.heads,
        "num_key_value_heads": text.kv_heads,
        "head_dim": None if text.latent else text.number("head_dim"),
    }
