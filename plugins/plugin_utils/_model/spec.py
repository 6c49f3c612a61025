# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A request resolved against the tables: what the lookup ``inferops.ascend.model`` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Spec:
    """One service as it is to be served. None: not known, or not limited.

    Attributes:
        cards: on one host; 0 of an absent service, of which only name, model and state are known,
            and of one that `waits`.
        pinned_cards: the cards themselves, if the request names them.
        data_parallel_size: ranks of all services that share one load balancer of the user's; the
            service runs all of them unless its `args` say that others run some.
        max_model_len, native_context: tokens.
        engine: how it spans hosts, if it does: data_parallel, native or ray.
        recipe_env: environment variables of the request's recipe, under all others.
        extra: the request's other keys.
    """

    name: str
    model: str | None
    cards: int
    kind: str = "generate"
    data_parallel_size: int = 1
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    engine: str | None = None
    max_model_len: int = 0
    gpu_memory_utilization: float = 0.0
    native_context: int | None = None
    huggingface: str | None = None
    modelscope: str | None = None
    min_cards: int | None = None
    card_memory_gb: float = 0
    warnings: tuple[str, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    recipe_env: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    pinned_cards: tuple[int, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """started, stopped or absent, if the request is valid."""
        return str(self.extra.get("state", "started"))

    @property
    def waits(self) -> bool:
        """Whether its figures follow from weights on the host that were not read yet."""
        return not self.cards and self.state != "absent"

    def as_dict(self) -> dict[str, Any]:
        """The public dictionary, for the caller to change."""
        result: dict[str, Any] = dict(self.extra)
        if self.state == "absent":
            given = {"name": self.name, "model": self.model, "cards": self.cards}
            return {**result, **{key: value for key, value in given.items() if value is not None}}
        for each in fields(self):
            if each.name != "extra":
                result[each.name] = getattr(self, each.name)
        result.update(warnings=list(self.warnings), args=dict(self.args))
        result["provenance"] = dict(self.provenance)
        if self.recipe_env:
            result["recipe_env"] = dict(self.recipe_env)
        else:
            del result["recipe_env"]
        if self.engine is None:
            del result["engine"]
        if self.pinned_cards is None:
            del result["pinned_cards"]
        else:
            result["pinned_cards"] = list(self.pinned_cards)
        return result


# The keys that resolving sets.
RESOLVED_KEYS = frozenset(each.name for each in fields(Spec)) - {"extra"}
