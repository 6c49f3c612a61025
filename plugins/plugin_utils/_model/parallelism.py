# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a service is split over its cards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._base.errors import AscendError
from .._base.words import counted
from .estimate import tensor_parallel_fault
from .facts import Facts
from .request import Request
from .split import Split


@dataclass(frozen=True)
class Parallelism:
    """Cards on all hosts and the sizes that the request gives, or that follow from it.

    Attributes:
        data: data-parallel ranks of all services that belong together; ranks: of this service.
        context: prefill-context-parallel size.
    """

    model: str
    cards: int | None
    tensor: int | None
    pipeline: int | None
    data: int | None
    ranks: int | None
    context: int = 1

    @classmethod
    def of(cls, request: Request, model: str, facts: Facts) -> Parallelism:
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
        ranks = request.ranks
        found = cls(model, cards, tensor, pipeline, ranks.size, ranks.here, ranks.context)
        if tensor is not None and cards is None:
            return found.with_cards(found.product)
        if cards is not None and (cards % found.product or (tensor and cards != found.product)):
            raise AscendError(
                f"{model} requests {found.requested}, and the number of cards is the product of"
                f" {_listed(found.factors, 'and')}. Write {found.ways(cards, facts)}."
            )
        return found

    def with_cards(self, cards: int) -> Parallelism:
        """The same sizes on a number of cards."""
        return Parallelism(
            self.model, cards, self.tensor, self.pipeline, self.data, self.ranks, self.context
        )

    @property
    def product(self) -> int:
        """Of the sizes that are given."""
        return (self.ranks or 1) * (self.tensor or 1) * (self.pipeline or 1) * self.context

    @property
    def factors(self) -> list[str]:
        """The sizes by name, those that need no word left out."""
        here = "data_parallel_size" if self.ranks == self.data else "its data-parallel ranks"
        names = [here, "tensor_parallel_size", "pipeline_parallel_size"]
        return [*names, "prefill-context-parallel-size"] if self.context > 1 else names

    @property
    def requested(self) -> str:
        """Cards and sizes as the request gives them."""
        given = [f"{self.cards} cards"]
        for name, size in (
            (self.factors[0], self.ranks),
            ("tensor_parallel_size", self.tensor),
            ("pipeline_parallel_size", self.pipeline),
            ("prefill-context-parallel-size", self.context if self.context > 1 else None),
        ):
            if size is not None:
                given.append(f"{name} {size}")
        return _listed(given, "and")

    def ways(self, cards: int, facts: Facts) -> str:
        """The sizes that add up to a number of cards."""
        rest = cards // self.context
        if cards % self.context:
            return f"a number of cards that {self.context} divides"
        tensor = max(
            size
            for size in range(1, min(self.tensor or rest, rest) + 1)
            if rest % size == 0 and tensor_parallel_fault(facts, size) is None
        )
        more = rest // tensor
        if more == 1:
            return f"tensor_parallel_size {tensor} alone"
        copies = "ranks share the experts" if facts.has_experts else "each rank has all weights"
        alone = (
            "" if tensor_parallel_fault(facts, rest) else f", or tensor_parallel_size {rest} alone"
        )
        return (
            f"tensor_parallel_size {tensor} with data_parallel_size {more} ({copies}) or with"
            f" pipeline_parallel_size {more} (layers in {more} stages){alone}"
        )

    def least(self, minimum: int, facts: Facts) -> int:
        """The least cards of this service for a model that needs `minimum`.

        Each data-parallel rank has a copy of a dense model; of a mixture of experts the ranks of all
        services share the experts, which are most of it.
        """
        ranks = self.ranks or 1
        if facts.is_dense:
            return minimum * ranks
        return -(-minimum * ranks // (self.data or 1))

    def count(self, minimum: int, facts: Facts) -> int:
        """The cards requested, or the least number that a model of `minimum` and the sizes allow."""
        if self.cards is not None:
            return self.cards
        return -(-self.least(minimum, facts) // self.product) * self.product

    def split(self, cards: int, facts: Facts) -> Split:
        """The sizes on a number of cards. Raises AscendError for what the heads forbid."""
        tensor = self.tensor or cards // self.product
        split = Split(tensor, self.pipeline or 1, self.data or 1, self.ranks, self.context)
        fault = tensor_parallel_fault(facts, tensor)
        if fault is None:
            return split
        limit = max(2 * tensor, 8)
        sizes = [n for n in range(1, limit + 1) if tensor_parallel_fault(facts, n) is None]
        best = max((n for n in sizes if cards % n == 0), default=1)
        raise AscendError(
            f"{self.model} cannot be split over {tensor} cards: {fault}. The sizes up to {limit}"
            f" that work are {', '.join(map(str, sizes))}: set cards to one of them, or keep"
            f" {counted(cards, 'card')} with tensor_parallel_size {best} and"
            f" pipeline_parallel_size {cards // best}."
        )


def _listed(items: Iterable[str], word: str) -> str:
    *first, last = items
    return f"{', '.join(first)} {word} {last}" if first else last
