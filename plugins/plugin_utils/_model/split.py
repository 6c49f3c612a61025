# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sizes by which a model is split over cards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """Sizes, each at least 1.

    Attributes:
        data: data-parallel ranks, over all services that share the experts.
        ranks: those among them that this service runs, on all its hosts; None: all.
        context: prefill-context-parallel size, an option of the engine.
    """

    tensor: int
    pipeline: int = 1
    data: int = 1
    ranks: int | None = None
    context: int = 1

    @property
    def cards(self) -> int:
        """What this service takes, on all its hosts."""
        ranks = self.data if self.ranks is None else self.ranks
        return ranks * self.tensor * self.pipeline * self.context

    @property
    def expert_ranks(self) -> int:
        """Over how many cards of a stage experts are split, with expert parallelism and without it.

        FusedMoEParallelConfig.make in vllm/model_executor/layers/fused_moe: without it, each expert
        is divided over the tensor-parallel cards of all data-parallel ranks.
        """
        return self.data * self.tensor * self.context
