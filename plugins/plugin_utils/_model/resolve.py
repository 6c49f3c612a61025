# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A request, resolved against the tables: what the lookup ``inferops.ascend.model`` returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from .._base.errors import AscendError
from .._base.words import counted
from .catalogue import Catalogue
from .hub import Hub
from .identify import OnHost, Subject, complete, hub_ids, identify
from .names import is_path
from .parallelism import Parallelism
from .profiles import profile
from .request import Request, parse_card_memory
from .sharing import check_stated, counts_others
from .spec import Spec
from .startup import Engine, Startup
from .tables import Row
from .unlisted import Answer, Question

DEFAULT_CARD_MEMORY_GB = 64.0
# The engine's default up to vLLM 0.18.0; an estimate has no row that gives one.
ESTIMATE_UTILIZATION = 0.9
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Options:
    """The lookup's options.

    Attributes:
        card_memory_gb: nominal memory of one device, unless the request sets it.
        gpu_memory_utilization: in (0, 1], unless the request sets it; ``None``: the row's.
        estimate: estimate where no table has a row for this memory.
        allow_untested: turn the tables' limits into warnings.
        profile: a hardware profile, which makes an estimate sharper.
        engine_version: of vLLM or vllm-ascend, by which is decided what starts; ``None``: nothing is.
        any_length: the environment of all services lets vLLM start with any length.
        hub: where an estimate finds the configuration of a model that is not known; ``None``: nowhere.
        on_host: the weights of the one request that is resolved, where it may be estimated from
            their configuration. Before that was read, the spec has 0 cards.
        shares_cards: another service names the same cards as the one request that is resolved.
    """

    card_memory_gb: float = DEFAULT_CARD_MEMORY_GB
    gpu_memory_utilization: float | None = None
    estimate: bool = False
    allow_untested: bool = False
    profile: str | None = None
    engine_version: str | None = None
    any_length: bool = False
    hub: Hub | None = None
    on_host: OnHost | None = None
    shares_cards: bool = False


def with_profile(options: Options, memory: object, name: str | None) -> Options:
    """Options whose card memory is the one given, else the profile's, else 64 GB.

    Raises AscendError: there is no such profile, or the memory is malformed.
    """
    if memory is not None:
        return replace(options, card_memory_gb=parse_card_memory(memory), profile=name)
    if name is None:
        return options
    return replace(options, card_memory_gb=profile(name).card_memory_gb, profile=name)


def resolve(request: object, catalogue: Catalogue, options: Options) -> Spec:
    """The spec of one request, a `Request` or what `Request.parse` reads.

    With ``cluster``, which the plan writes, cards are those on this host, and the sizes multiply to
    the cards of all its hosts.

    Raises AscendError: the request is malformed, or exceeds what the tables allow.
    """
    parsed = request if isinstance(request, Request) else Request.parse(request)
    if parsed.model is None or parsed.state == "absent":
        # The model need not be known any more: what runs must still be removable.
        model = catalogue.name_of(parsed.model) if parsed.model else None
        return Spec(parsed.name or model or "", model, 0, extra={"state": "absent"})
    where = (options.hub, options.on_host) if options.estimate else ()
    subject = identify(parsed, catalogue, *where)
    part = parsed.gpu_memory_utilization or options.gpu_memory_utilization
    check_stated(parsed, subject.match.model, part)
    if not subject.known:
        return _unread(parsed, subject)
    return _Resolution(parsed, subject, catalogue, options).spec()


def _unread(request: Request, subject: Subject) -> Spec:
    """A service of which the weights on the host have to be read first."""
    huggingface, modelscope = hub_ids(request, subject)
    model = subject.match.model
    return Spec(
        name=request.name or model,
        model=model,
        cards=0,
        kind=request.kind or "",
        gpu_memory_utilization=request.gpu_memory_utilization or ESTIMATE_UTILIZATION,
        huggingface=huggingface,
        modelscope=modelscope,
        extra=_extra(request),
    )


def _extra(request: Request) -> Mapping[str, Any]:
    """The keys that pass through, with the path that names the model as the weights' path."""
    model = (request.model or "").strip()
    return {"path": model, **request.extra} if is_path(model) else request.extra


def memories_text(memories: Iterable[float]) -> str:
    """Such as `32, 64 GB`."""
    return ", ".join(f"{memory:g}" for memory in memories) + " GB"


def _cards(number: int) -> str:
    return counted(number, "card")


class _Resolution:
    """One request against one model; collects warnings on the way."""

    def __init__(
        self, request: Request, subject: Subject, catalogue: Catalogue, options: Options
    ) -> None:
        self.request = request
        self.subject = subject
        self.model = subject.match.model
        self.catalogue = catalogue
        self.options = options
        self.facts = subject.facts
        self.warnings = list(request.warnings)
        self.memory = request.card_memory_gb or options.card_memory_gb
        self.length = request.max_model_len
        self.utilization = request.gpu_memory_utilization or options.gpu_memory_utilization
        self.parallelism = Parallelism.of(request, self.model, self.facts, options.engine_version)
        self.cards = self.parallelism.cards
        self.shares = request.share or (options.shares_cards and self.utilization is not None)
        self._check_sharing()

    def _check_sharing(self) -> None:
        options = self.options
        fault = self.shares and counts_others(self.model, options.engine_version, options.profile)
        if fault and not options.allow_untested:
            raise AscendError(f"{fault[0]}. {fault[1]}, or set allow_untested to try it.")
        self.warnings += [f"untested: {fault[0]}"] if fault else []

    # -- the row ------------------------------------------------------------------------------

    def spec(self) -> Spec:
        rows = self.catalogue.rows(self.model) if self.subject.listed else ()
        here = [row for row in rows if row.card_memory_gb == self.memory]
        if here:
            return self._by_row(here[0], here[1:])
        question = self._without_row()
        if self.options.estimate:
            return self._by_answer(question, question.estimated())
        supported = [row for row in rows if row.supported]
        if self.options.allow_untested and supported:
            return self._by_other_memory(supported)
        if question.complete:
            return self._by_answer(question, question.requested())
        if not self.subject.listed:
            raise AscendError(
                f"No table lists {self.model}. Set estimate for an estimate from"
                f" {self.subject.source}, or give path (or huggingface or modelscope), cards and"
                " max_model_len to serve it on your own word."
            )
        listed = sorted({row.card_memory_gb for row in supported})
        instead = (
            f"the tables list it for {memories_text(listed)}"
            if listed
            else "the tables do not list it"
        )
        raise AscendError(
            f"No table lists {self.model} on cards of {self.memory:g} GB; {instead}. Add a row"
            " of your own (ascend_model_tables), set estimate for an estimate from the model's"
            " size, or set allow_untested to take the nearest row."
        )

    def _by_other_memory(self, rows: Sequence[Row]) -> Spec:
        smaller = [row for row in rows if row.card_memory_gb < self.memory]
        nearest = (
            max(row.card_memory_gb for row in smaller)
            if smaller
            else min(row.card_memory_gb for row in rows)
        )
        row = next(row for row in rows if row.card_memory_gb == nearest)
        self.warnings.append(
            f"untested: no table lists {self.model} on cards of {self.memory:g} GB; its row for"
            f" {nearest:g} GB ({row.source}) is used instead"
        )
        return self._by_row(row, [])

    def _by_row(self, row: Row, later: Sequence[Row]) -> Spec:
        if row.min_cards is None or row.max_model_len is None:
            return self._unsupported(row, later)
        part = self.utilization
        below = part is not None and part < row.gpu_memory_utilization
        condition = f"its row ({row.source}) is valid at {row.gpu_memory_utilization:g} and above"
        if below and not self.shares:
            self._limit(
                f"gpu_memory_utilization of {self.model} is {part:g}; {condition}",
                f"Set gpu_memory_utilization to {row.gpu_memory_utilization:g} or leave it out, write"
                " share: true for an estimate of what it has beside other services on the card",
                row,
                later,
            )
        least = self.parallelism.least(row.min_cards, self.facts)
        if self.cards is not None and self.cards < least:
            ranks = self.parallelism.ranks or 1
            each = f" for {counted(ranks, 'data-parallel rank')}" if self.parallelism.ranks else ""
            sizes = (
                f": {self.parallelism.ways(least, self.facts)}" if self.parallelism.tensor else ""
            )
            self._limit(
                f"{self.model} requests {_cards(self.cards)}; it needs at least"
                f" {least} of {row.card_memory_gb:g} GB{each} ({row.source})",
                f"Give it {_cards(least)}{sizes}",
                row,
                later,
            )
        if self.length is not None and self.length > row.max_model_len:
            self._limit(
                f"max_model_len of {self.model} is {self.length}; {row.longest} is"
                f" {row.max_model_len} ({row.source})",
                f"Set max_model_len to {row.max_model_len} or less",
                row,
                later,
            )
        cards = self.parallelism.count(row.min_cards, self.facts)
        if row.warning and cards == row.min_cards:
            self.warnings.append(f"{row.warning} ({row.source})")
        if below and self.shares:
            try:
                return self._by_part(cards, row, condition)
            except AscendError as error:
                if not self.options.allow_untested:
                    raise
                self.warnings.append(f"untested: {error}")
        return self._assemble(
            cards,
            row.max_model_len if self.length is None else self.length,
            row.gpu_memory_utilization if self.utilization is None else self.utilization,
            row.min_cards,
            row.provenance,
            row.args,
        )

    def _by_part(self, cards: int, row: Row, condition: str) -> Spec:
        """With less memory than the row was measured with: no longer than the row, by an estimate."""
        parallelism = replace(self.parallelism, cards=cards)
        question = replace(self._without_row(), parallelism=parallelism)
        answer = question.estimated()
        *others, text = answer.warnings
        length = min(answer.length, row.max_model_len or answer.length)
        warnings = (*others, f"{text}; {condition}")
        answer = replace(answer, length=length, min_cards=row.min_cards, warnings=warnings)
        return self._by_answer(question, answer, row.args)

    def _unsupported(self, row: Row, later: Sequence[Row]) -> Spec:
        problem = (
            f"{self.model} is not supported on cards of {row.card_memory_gb:g} GB ({row.source})"
        )
        others = sorted({r.card_memory_gb for r in self.catalogue.rows(self.model) if r.supported})
        way = (
            f"Use cards of {memories_text(others)}"
            if others
            else "Add a row of your own (ascend_model_tables)"
        )
        if not self.options.allow_untested or self.cards is None or self.length is None:
            raise AscendError(
                f"{problem}.{self._instead(row, later)} {way}, or set allow_untested and give both"
                " cards and max_model_len to try it."
            )
        self.warnings.append(f"untested: {problem}")
        utilization = self.utilization
        if utilization is None:
            utilization = row.gpu_memory_utilization
        return self._assemble(self.cards, self.length, utilization, None, row.provenance, row.args)

    def _limit(self, problem: str, way: str, row: Row, later: Sequence[Row]) -> None:
        if self.options.allow_untested:
            self.warnings.append(f"untested: {problem}")
            return
        raise AscendError(
            f"{problem}. {way}, or set allow_untested to try it.{self._instead(row, later)}"
        )

    def _instead(self, row: Row, later: Sequence[Row]) -> str:
        """Where a later table has a row that allows the complete request: which, and how to prefer it."""
        for other in later:
            if other.table == row.table or other.min_cards is None or other.max_model_len is None:
                continue
            if (
                (self.cards is None or self.cards >= other.min_cards)
                and (self.length is None or self.length <= other.max_model_len)
                and (self.utilization is None or self.utilization >= other.gpu_memory_utilization)
            ):
                file = other.file.rsplit("/", 1)[-1]
                return (
                    f" The table {other.table} allows it (row {other.number}:"
                    f" {other.max_model_len} tokens on {_cards(other.min_cards)} at"
                    f" {other.gpu_memory_utilization:g}); to prefer that table, name its file in"
                    f" ascend_model_tables: [{file}]."
                )
        return ""

    # -- without a row ------------------------------------------------------------------------

    def _without_row(self) -> Question:
        return Question(
            subject=self.subject,
            parallelism=self.parallelism,
            memory=self.memory,
            profile=self.options.profile,
            utilization=ESTIMATE_UTILIZATION if self.utilization is None else self.utilization,
            length=self.length,
            complete=complete(self.request),
            allow_untested=self.options.allow_untested,
            args=self.request.args,
            catalogue=self.catalogue,
            configured="config" in self.request.extra,
        )

    def _by_answer(
        self, question: Question, answer: Answer, row_args: Mapping[str, Any] = _NONE
    ) -> Spec:
        self.warnings.extend(answer.warnings)
        return self._assemble(
            answer.cards,
            answer.length,
            question.utilization,
            answer.min_cards,
            answer.provenance,
            row_args,
        )

    # -- the rest -----------------------------------------------------------------------------

    def _assemble(
        self,
        cards: int,
        length: int,
        utilization: float,
        min_cards: int | None,
        provenance: dict[str, Any],
        row_args: Mapping[str, Any],
    ) -> Spec:
        split = self.parallelism.split(cards, self.facts)
        request, options = self.request, self.options
        engine = Engine(
            options.engine_version, options.profile, options.allow_untested, options.any_length
        )
        read = not self.subject.listed and self.subject.base is None
        startup = Startup(
            self.model, self.facts, request, engine, "config" in request.extra or read
        )
        startup.check_weights(split, self.memory)
        span = self.parallelism.span
        if span is not None:
            row_args = {**span.args, **row_args}
            if span.sources and span.tensor in (None, split.tensor):
                provenance = {**provenance, "split": list(span.sources)}
                self.warnings += [span.unverified] if span.unverified else []
        startup.decide(length, row_args)
        huggingface, modelscope = hub_ids(request, self.subject)
        return Spec(
            name=request.name or self.model,
            model=self.model,
            kind=request.kind or self.facts.kind or "generate",
            cards=cards // request.spans,
            data_parallel_size=split.data,
            tensor_parallel_size=split.tensor,
            pipeline_parallel_size=split.pipeline,
            engine=span.engine if span else None,
            max_model_len=startup.length,
            gpu_memory_utilization=utilization,
            native_context=self.facts.native_context,
            huggingface=huggingface,
            modelscope=modelscope,
            min_cards=min_cards,
            card_memory_gb=int(self.memory) if self.memory % 1 == 0 else self.memory,
            warnings=(*self.warnings, *startup.warnings),
            args=startup.args,
            recipe_env=startup.env,
            provenance=provenance,
            pinned_cards=request.pinned_cards,
            extra=_extra(request),
        )
