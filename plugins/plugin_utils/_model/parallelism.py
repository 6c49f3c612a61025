# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a service is split over its cards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .._base.errors import AscendError
from .._base.words import counted
from .cluster import DATA_PARALLEL, NATIVE, RAY
from .estimate import tensor_parallel_fault
from .facts import Facts
from .needs import Subject
from .options import facts_of
from .request import Request
from .spans import NEWEST, Span, span_of
from .split import Split


@dataclass(frozen=True)
class Parallelism:
    """Cards on all hosts and the sizes that the request gives, or that follow from it.

    Attributes:
        data: data-parallel ranks of all services that belong together; ranks: of this service.
        context: prefill-context-parallel size.
        hosts: that it spans; span: how, if it spans several.
    """

    model: str
    cards: int | None
    tensor: int | None
    pipeline: int | None
    data: int | None
    ranks: int | None
    context: int = 1
    hosts: int = 1
    span: Span | None = None

    @classmethod
    def of(cls, request: Request, model: str, facts: Facts, version: str | None) -> Parallelism:
        """Raises AscendError for sizes whose product is not the number of cards.

        version: of the engine, by which defaults over hosts are chosen.
        """
        ranks = request.ranks
        found = cls(
            model,
            request.cards,
            request.tensor_parallel_size,
            request.pipeline_parallel_size,
            ranks.size,
            ranks.here,
            ranks.context,
        )
        if request.spans > 1:
            return found._over_hosts(request, facts, version)
        if request.cluster.engine is not None:
            raise AscendError(
                f"{model} has the engine {request.cluster.engine} and no cluster; the key tells how a"
                " service spans hosts. Leave it out."
            )
        if found.tensor is not None and found.cards is None:
            return replace(found, cards=found.product)
        return found._checked(facts)

    def _checked(self, facts: Facts) -> Parallelism:
        cards = self.cards
        if cards is not None and (cards % self.product or (self.tensor and cards != self.product)):
            raise AscendError(
                f"{self.model} requests {self.requested}, and the number of cards is the product of"
                f" {_listed(self.factors, 'and')}. Write {self.ways(cards, facts)}."
            )
        return self

    def _over_hosts(self, request: Request, facts: Facts, version: str | None) -> Parallelism:
        """With the sizes that the request leaves out, as upstream spans hosts."""
        here, hosts = self.cards, request.spans
        if here is None:
            raise AscendError(
                f"{self.model} spans {hosts} hosts and does not state how many cards it takes on"
                " this one. Write cards, as the playbook plan does."
            )
        subject = Subject(
            request.names(self.model), "", version or NEWEST, facts.config, (), request.args
        )
        experts = facts.has_experts or request.args.get("enable-expert-parallel") is True
        engine = request.cluster.engine
        if engine is None and (self.data or 1) > 1:
            engine = DATA_PARALLEL
        elif engine is None and ((self.pipeline or 1) > 1 or (self.tensor or 1) > here):
            # Ranks of a mixture do not have stages over hosts; the request asks for what a dense has.
            engine = span_of(Subject((), "", version or NEWEST), False, here).engine
        span = span_of(subject, experts, here, engine)
        if span.engine == NATIVE and version and "nnodes" not in facts_of(version):
            raise AscendError(
                f"{self.model} spans {hosts} hosts by the engine native, which vLLM has from 0.13.0"
                f" on, and the version is {version}. Write engine: {DATA_PARALLEL} or {RAY}."
            )
        whole = replace(self, cards=here * hosts, span=span, hosts=hosts)
        within = [n for n in range(1, here + 1) if here % n == 0]
        within = [n for n in within if tensor_parallel_fault(facts, n) is None]
        if span.engine == DATA_PARALLEL:
            return whole._in_ranks(within, facts)
        return whole._in_stages(within, facts)

    def _in_ranks(self, within: list[int], facts: Facts) -> Parallelism:
        """Data-parallel ranks, one or more on each host. within: sizes that a host's cards allow."""
        cards, hosts = self.cards or 0, self.hosts
        here, inner = cards // hosts, (self.pipeline or 1) * self.context
        tensor, preferred = self.tensor, self.span.tensor if self.span else None
        if tensor is None and self.data and cards % (self.data * inner) == 0:
            tensor = cards // (self.data * inner)
        if tensor is None:
            fit = [n for n in within if here % (n * inner) == 0]
            tensor = preferred if preferred in fit else max(fit, default=1)
        data = self.data or cards // (tensor * inner)
        sizes = replace(self, tensor=tensor, data=data, ranks=data, pipeline=self.pipeline or 1)
        sizes._checked(facts)
        if data % hosts:
            raise AscendError(
                f"{self.model} spans {hosts} hosts with {here} cards each by data-parallel ranks, and"
                f" data_parallel_size {data} x tensor_parallel_size {tensor} does not put the same"
                f" number of ranks on each, every rank within a host. Write data_parallel_size"
                f" {hosts * max(here // (max(within) * inner), 1)} and tensor_parallel_size"
                f" {max(within)}, or leave both out."
            )
        return sizes

    def _in_stages(self, within: list[int], facts: Facts) -> Parallelism:
        """Tensor parallel within a host and stages over hosts, unless the sizes are given."""
        cards = self.cards or 0
        if (self.data or 1) > 1:
            raise AscendError(
                f"{self.model} spans {self.hosts} hosts by the engine"
                f" {self.span.engine if self.span else None}, which takes no data-parallel ranks, and"
                f" has data_parallel_size {self.data}. Write engine: {DATA_PARALLEL}, or leave"
                " data_parallel_size out."
            )
        tensor, pipeline = self.tensor, self.pipeline
        if tensor is None:
            rest = cards // ((pipeline or 1) * self.context)
            tensor = rest if pipeline else max(within)
        pipeline = pipeline or max(cards // (tensor * self.context), 1)
        return replace(self, tensor=tensor, pipeline=pipeline, data=1, ranks=1)._checked(facts)

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
        given = [f"{self.cards} cards" + (f" on {self.hosts} hosts" if self.hosts > 1 else "")]
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
