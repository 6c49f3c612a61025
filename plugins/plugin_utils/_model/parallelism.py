# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a service is split over its cards."""

from __future__ import annotations

from dataclasses import dataclass

from .._base.errors import AscendError
from .._base.words import counted
from .estimate import tensor_parallel_fault
from .facts import Facts
from .request import Request


@dataclass(frozen=True)
class Parallelism:
    """Cards on all hosts and the sizes that the request gives, or that follow from it."""

    model: str
    cards: int | None
    tensor: int | None
    pipeline: int | None

    @classmethod
    def of(cls, request: Request, model: str) -> Parallelism:
        """Raises AscendError for sizes whose product is not the number of cards."""
        cards, spans = request.cards, request.spans
        tensor, pipeline = request.tensor_parallel_size, request.pipeline_parallel_size
        if spans > 1:
            if cards is None:
                raise AscendError(
                    f"{model} spans {spans} hosts and does not state how many cards it takes on"
                    " this one. Write cards, as the playbook plan does."
                )
            if tensor is None and pipeline is None:  # layers are split within a host
                tensor, pipeline = cards, spans
            cards *= spans
        if cards is None:
            cards = tensor * pipeline if tensor and pipeline else None
        elif tensor and not pipeline and cards % tensor == 0:
            pipeline = cards // tensor
        elif pipeline and not tensor and cards % pipeline == 0:
            tensor = cards // pipeline
        elif (tensor or pipeline) and (tensor or 1) * (pipeline or 1) != cards:
            raise AscendError(
                f"{model} requests {cards} cards, tensor_parallel_size {tensor or 1} and"
                f" pipeline_parallel_size {pipeline or 1}; the product of the two sizes is the"
                f" number of cards. Leave the sizes out for tensor_parallel_size {cards}, or make"
                f" the product {cards}."
            )
        return cls(model, cards, tensor, pipeline)

    def count(self, minimum: int) -> int:
        """The cards requested, or the least number from `minimum` on that a given size divides."""
        if self.cards is not None:
            return self.cards
        group = self.tensor or self.pipeline or 1
        return -(-minimum // group) * group

    def split(self, cards: int, facts: Facts) -> tuple[int, int]:
        """Tensor- and pipeline-parallel size. Raises AscendError for what the heads forbid."""
        tensor = self.tensor or cards // (self.pipeline or 1)
        pipeline = self.pipeline or cards // tensor
        fault = tensor_parallel_fault(facts, tensor)
        if fault is None:
            return tensor, pipeline
        limit = max(2 * tensor, 8)
        sizes = [n for n in range(1, limit + 1) if tensor_parallel_fault(facts, n) is None]
        best = max((n for n in sizes if cards % n == 0), default=1)
        raise AscendError(
            f"{self.model} cannot be split over {tensor} cards: {fault}. The sizes up to {limit}"
            f" that work are {', '.join(map(str, sizes))}: set cards to one of them, or keep"
            f" {counted(cards, 'card')} with tensor_parallel_size {best} and"
            f" pipeline_parallel_size {cards // best}."
        )
