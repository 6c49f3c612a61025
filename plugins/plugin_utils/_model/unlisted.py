# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An answer where no table has one: by an estimate, or on the word of the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._base.errors import AscendError
from .._base.words import counted
from .catalogue import Catalogue
from .estimate import NATIVE_CONTEXT, Device, Estimate, device_of, estimate
from .identify import Subject
from .parallelism import Parallelism
from .shape import shape_of
from .split import Split
from .workload import batched_tokens, unknown_draft, with_options, with_scaling

_WITHOUT_TABLE = {"table": None, "row": None, "updated": None}


@dataclass(frozen=True)
class Answer:
    """Cards, length in tokens, the least cards where they were looked for, and where it is from."""

    cards: int
    length: int
    min_cards: int | None
    provenance: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What is asked of a model without a row.

    Attributes:
        memory: nominal memory of a card in GB.
        complete: whether the request itself gives weights, cards and length.
        allow_untested: a length beyond the estimate is a warning.
        args: the request's options of the engine.
        configured: whether the request names a config.json on the controller.
    """

    subject: Subject
    parallelism: Parallelism
    memory: float
    profile: str | None
    utilization: float
    length: int | None
    complete: bool
    allow_untested: bool
    args: Mapping[str, Any]
    catalogue: Catalogue
    configured: bool = False

    @property
    def _what(self) -> str:
        return f"{self.subject.match.model} on cards of {self.memory:g} GB"

    def estimated(self) -> Answer:
        """By an estimate, or on the request's word where nothing can be estimated.

        Raises AscendError: neither is possible, or the request exceeds the estimate.
        """
        split = self._split()
        device = device_of(self.memory, self.profile)
        try:
            if device is None:
                raise AscendError("how much memory the framework sees of such a card is not known")
            found = self._estimate(device, split)
        except AscendError as error:
            if self.complete:
                return self.requested()
            config = "" if self.configured else " or name its config.json in config,"
            raise AscendError(
                f"{self._what} cannot be estimated: {error}. Add a row of your own"
                f" (ascend_model_tables),{config} or give path, cards and max_model_len to serve it on"
                " your own word."
            ) from error
        warnings = self._exceeding(found)
        text = (
            f"estimated, never run: {self._what} follows from {self.subject.source},"
            f" {found.weights_gib:.1f} GiB of weights on a card, its length limited by its"
            f" {found.limited_by}"
        )
        draft = unknown_draft(self.args, self.catalogue)
        if draft is not None:
            text += f"; the draft model {draft} is not counted, of which nothing is known"
        if found.borderline:
            text += f"; borderline: {found.doubt}"
        provenance = {**_WITHOUT_TABLE, "basis": "estimated", "estimate": found.as_dict()}
        if self.subject.directory:
            provenance["weights"] = self.subject.directory
        return Answer(
            cards=found.cards,
            length=found.longest if self.length is None else self.length,
            min_cards=None if self._cards is not None else found.cards,
            provenance=provenance,
            warnings=(*warnings, text),
        )

    def requested(self) -> Answer:
        """On the request's word, held against an estimate where one is possible.

        Raises AscendError: the request exceeds that.
        """
        if self.parallelism.cards is None or self.length is None:
            raise AscendError(f"{self._what} needs cards and max_model_len.")
        split = self._split()
        device = device_of(self.memory, self.profile)
        text = "nothing is known that they could be held against"
        warnings: tuple[str, ...] = ()
        provenance: Mapping[str, Any] = {**_WITHOUT_TABLE, "basis": "requested"}
        try:
            found = self._estimate(device, split) if device else None
        except AscendError:
            found = None
        if found is not None:
            warnings = self._exceeding(found)
            text = f"by estimate {found.longest} tokens fit, from {self.subject.source}"
            text += f", borderline: {found.doubt}" if found.borderline else ""
            provenance = {**provenance, "estimate": found.as_dict()}
        text = (
            f"requested, listed in no table: cards and length of {self._what} are those of the"
            f" request; {text}"
        )
        return Answer(
            self.parallelism.cards, self.length, None, dict(provenance), (*warnings, text)
        )

    @property
    def _cards(self) -> int | None:
        parallelism = self.parallelism
        if parallelism.cards is None and parallelism.product > 1:
            return parallelism.product
        return parallelism.cards

    def _split(self) -> Split | None:
        """The sizes that the request asks for. Raises AscendError for what the heads forbid."""
        cards = self._cards
        return None if cards is None else self.parallelism.split(cards, self.subject.facts)

    def _estimate(self, device: Device, split: Split | None) -> Estimate:
        facts = self.subject.facts
        shape = shape_of(self.subject.base or facts, self.subject.stored)
        shape = with_options(shape, self.args, self.catalogue)
        scaled = with_scaling(shape, facts, self.length, self.args)
        batched = batched_tokens(self.args)
        found = estimate(facts, scaled, device, self.utilization, split, self.length, batched)
        if scaled is shape:
            return found
        fits = found.limited_by == NATIVE_CONTEXT
        limit = "requested length" if fits else found.limited_by
        return replace(found, native_context=shape.native_context, limited_by=limit)

    def _exceeding(self, found: Estimate) -> tuple[str, ...]:
        """A warning that the request exceeds the estimate. Raises AscendError where it may not."""
        requested = self.length
        if found.longest if requested is None else requested <= found.high:
            return ()
        problem = (
            f"{self.subject.match.model} on {counted(found.cards, 'card')} of {self.memory:g} GB"
            f" should carry {found.longest} tokens at utilization {self.utilization:g} by estimate"
        )
        if requested is None:
            raise AscendError(f"{problem}. Give it more cards, or more gpu_memory_utilization.")
        limit = f" (limited by its {found.limited_by}); max_model_len is {requested}"
        if not self.allow_untested:
            raise AscendError(
                f"{problem}{limit}. {self._way(found)}, or set allow_untested to try it."
            )
        return (f"untested: {problem}{limit}",)

    def _way(self, found: Estimate) -> str:
        if found.limited_by == NATIVE_CONTEXT:
            return (
                f"Set max_model_len to {found.longest}, or give the scaling that its weights were made"
                " for in args (hf-overrides)"
            )
        return "Give it more cards, more gpu_memory_utilization or a shorter max_model_len"
