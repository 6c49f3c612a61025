# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What models take on kinds of hosts: one row for each model and kind, whatever is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .._base.errors import AscendError
from .._base.values import shown
from .._base.words import counted
from .._model.catalogue import Catalogue
from .._model.estimate import device_of
from .._model.resolve import resolve
from .._model.spec import Spec
from .._model.terms import resolve_terms
from .._model.versions import row_of
from .capacity_hosts import HostKind

# Whether the engine starts with a row's figures.
YES, NO, UNKNOWN = "yes", "no", "unknown"
# The bases of figures that somebody ran the model for.
RAN = ("measured", "calibrated")

# What a request says of its size.
_SIZES = (
    "cards",
    "max_model_len",
    "data_parallel_size",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "cluster",
)

# What would change many rows alike.
LONGER_BY_ESTIMATE = (
    "by estimate these cards carry a longer max_model_len: the playbook calibrate tries it on a host, and"
    " writes a row of your own (ascend_model_tables)"
)
ESTIMATES_ARE_OFF = "a deploy takes an estimate only with vllm_service_estimate: true"
NOT_MEASURED = (
    "nobody measured it: the playbook calibrate does on a host, and writes a row of your own"
    " (ascend_model_tables), which goes before it"
)
COMMON = (LONGER_BY_ESTIMATE, ESTIMATES_ARE_OFF, NOT_MEASURED)


@dataclass(frozen=True)
class Estimate:
    """What the formula says of a row, at the row's utilization; lengths in tokens.

    Attributes:
        cards: the least number that carries the row's length.
        max_model_len: the longest on the row's cards. low, high: the same by a careful and by a
            generous calculation. limited_by: what it ends at.
        reason: why there is no estimate, or not all of its figures.
    """

    cards: int | None = None
    max_model_len: int | None = None
    low: int | None = None
    high: int | None = None
    limited_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Row:
    """A model on one kind of host. ``None``: not known, or it does not apply.

    Attributes:
        asked: the model as it was asked for. profile: the name of the kind of host.
        cards: the least number. max_model_len: the longest on it.
        borderline: whether a careful and a generous estimate disagree about cards and length.
        starts: whether the engine starts with it: yes (somebody ran the model, and nothing is known
            against it), no or unknown. starts_reason: why not, or what is doubted.
        change: what would change the row, a sentence each.
        reason: why there are no figures.
    """

    asked: str
    profile: str
    engine_version: str
    card_memory_gb: float
    model: str | None = None
    cards: int | None = None
    max_model_len: int | None = None
    native_context: int | None = None
    gpu_memory_utilization: float | None = None
    basis: str | None = None
    table: str | None = None
    row: int | None = None
    borderline: bool | None = None
    starts: str = UNKNOWN
    starts_reason: str | None = None
    estimate: Estimate | None = None
    change: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """In plain types, as the file has it."""
        return {**asdict(self), "change": list(self.change), "warnings": list(self.warnings)}


def rows_of(models: Sequence[Any], kind: HostKind, catalogue: Catalogue) -> list[Row]:
    """A row for each model, in order; `*` is every row of the tables for the kind's memory."""
    rows = []
    formula = catalogue.without_rows()
    for model in models:
        if isinstance(model, str) and model == "*":
            try:
                terms = resolve_terms(["*"], catalogue, replace(kind.options, engine_version=None))
                listed = [spec.model for spec in terms]
            except AscendError as error:
                rows.append(_without_figures("*", kind, str(error)))
                continue
            rows += [_Question(name, kind, catalogue, formula).row() for name in listed]
        else:
            rows.append(_Question(model, kind, catalogue, formula).row())
    return rows


def _without_figures(asked: str, kind: HostKind, reason: str) -> Row:
    return Row(asked, kind.name, kind.engine_version, kind.memory, reason=reason)


def _asked(model: object) -> str:
    name = model.get("model") if isinstance(model, Mapping) else model
    return name.strip() if isinstance(name, str) else shown(name)


class _Question:
    """One model on one kind of host; ``formula``: a catalogue by which only an estimate answers."""

    def __init__(
        self, request: Any, kind: HostKind, catalogue: Catalogue, formula: Catalogue
    ) -> None:
        self.request = request
        self.asked = _asked(request)
        self.kind = kind
        self.catalogue = catalogue
        self.formula = formula
        # The figures as such; what the engine makes of them is asked apart.
        self.options = replace(
            kind.options, estimate=True, allow_untested=False, engine_version=None
        )

    def row(self) -> Row:
        try:
            spec = resolve(self.request, self.catalogue, self.options)
        except AscendError as error:
            return _without_figures(self.asked, self.kind, str(error))
        if spec.state == "absent":
            reason = "its state is absent, for which there is nothing to serve"
            return _without_figures(self.asked, self.kind, reason)
        basis = spec.provenance.get("basis")
        starts, starts_reason, shorter = self._starts(spec)
        estimate, borderline = self._own(spec) if basis == "estimated" else self._beside(spec)
        return Row(
            asked=self.asked,
            profile=self.kind.name,
            engine_version=self.kind.engine_version,
            card_memory_gb=self.kind.memory,
            model=spec.model,
            cards=spec.cards,
            max_model_len=spec.max_model_len,
            native_context=spec.native_context,
            gpu_memory_utilization=spec.gpu_memory_utilization,
            basis=basis,
            table=spec.provenance.get("table"),
            row=spec.provenance.get("row"),
            borderline=borderline,
            starts=starts,
            starts_reason=starts_reason,
            estimate=estimate,
            change=tuple(self._changes(spec, shorter, estimate)),
            warnings=spec.warnings,
        )

    # -- whether it starts --------------------------------------------------------------------

    def _starts(self, spec: Spec) -> tuple[str, str | None, int | None]:
        """Whether it starts, why (not), and the length with which it does where it is a shorter one."""
        version = self.kind.engine_version
        options = replace(self.options, engine_version=version)
        try:
            started = resolve(self.request, self.catalogue, options)
        except AscendError as error:
            return NO, str(error), None
        new = [text for text in started.warnings if text not in spec.warnings]
        if started.max_model_len < spec.max_model_len:
            return NO, "; ".join(new), started.max_model_len
        doubts = [text for text in new if text.startswith(f"on vLLM {version}: ")]
        if doubts or not self._ran(spec) or row_of(version) is None:
            return UNKNOWN, "; ".join(doubts) or None, None
        return YES, None, None

    def _ran(self, spec: Spec) -> bool:
        """Whether a table has the model as run; for a 310P, which has kernels of its own, on that."""
        device = device_of(self.kind.memory, self.kind.options.profile)
        if device is not None and device.is_310p:
            return spec.provenance.get("basis") in RAN
        return any(each.basis in RAN for each in self.catalogue.rows(str(spec.model)))

    # -- the estimate beside it ---------------------------------------------------------------

    def _own(self, spec: Spec) -> tuple[Estimate, bool]:
        """The estimate that a row consists of, and whether it is borderline."""
        found = spec.provenance["estimate"]
        return _estimate(spec.cards, found), bool(found["borderline"])

    def _beside(self, spec: Spec) -> tuple[Estimate, bool | None]:
        """The estimate beside a row's own figures, and whether these are borderline by it."""
        native = spec.native_context
        length = min(spec.max_model_len, native) if native else spec.max_model_len
        cards = reason = None
        try:
            cards = self._estimated(spec, max_model_len=length).cards
        except AscendError as error:
            reason = str(error)
        try:
            found = self._estimated(spec, cards=spec.cards).provenance["estimate"]
        except AscendError as error:
            return Estimate(cards, reason=reason or str(error)), None
        estimate = _estimate(cards, found, reason)
        return estimate, found["longest_low"] < length <= found["longest_high"]

    def _estimated(self, spec: Spec, **size: int) -> Spec:
        """The spec by the formula alone, for this number of cards or this length.

        Raises AscendError: there is no estimate of the model, or none that carries the length.
        """
        given = self.request if isinstance(self.request, Mapping) else {"model": self.asked}
        kept = {key: value for key, value in given.items() if key not in _SIZES}
        kept["gpu_memory_utilization"] = spec.gpu_memory_utilization
        return resolve({**kept, **size}, self.formula, self.options)

    # -- what would change it -----------------------------------------------------------------

    def _changes(self, spec: Spec, shorter: int | None, estimate: Estimate | None) -> list[str]:
        found = []
        native, basis = spec.native_context, spec.provenance.get("basis")
        if shorter is not None:
            found.append(f"it starts with max_model_len {shorter}, which a deploy takes")
        hosts = self._hosts(spec)
        if hosts:
            found.append(hosts)
        longest = estimate.max_model_len if estimate else spec.max_model_len
        limited = isinstance(self.request, Mapping) and "max_model_len" in self.request
        if estimate and longest is not None and longest > spec.max_model_len and not limited:
            found.append(LONGER_BY_ESTIMATE)
        if native and max(longest or 0, spec.max_model_len) < native:
            found += self._longer(spec, native)
        if basis == "estimated" and not self.kind.options.estimate:
            found.append(ESTIMATES_ARE_OFF)
        if basis not in RAN:
            found.append(NOT_MEASURED)
        return found

    def _hosts(self, spec: Spec) -> str | None:
        has = self.kind.cards
        if has is None or spec.cards <= has:
            return None
        if not has:
            return "a host of this kind has no cards for services"
        hosts = -(-spec.cards // has)
        return f"it takes {hosts} hosts: one of this kind has {counted(has, 'card')} for services"

    def _longer(self, spec: Spec, native: int) -> list[str]:
        try:
            cards = self._estimated(spec, max_model_len=native).cards
        except AscendError:
            return []
        if cards <= spec.cards:
            return []
        return [f"its native context of {native} tokens takes {counted(cards, 'card')} by estimate"]


def _estimate(cards: int | None, found: Mapping[str, Any], reason: str | None = None) -> Estimate:
    return Estimate(
        cards=cards,
        max_model_len=found["longest"],
        low=found["longest_low"],
        high=found["longest_high"],
        limited_by=found["limited_by"],
        reason=reason,
    )


def agreement(rows: Sequence[Row]) -> tuple[int, int]:
    """(measured rows whose estimate has the same number of cards, measured rows)."""
    measured = [row for row in rows if row.basis == "measured"]
    same = [row for row in measured if row.estimate and row.estimate.cards == row.cards]
    return len(same), len(measured)


def as_file(
    kinds: Sequence[HostKind], rows: Sequence[Row], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """All of it in plain types, as `vars/schemas/capacity.schema.json` describes it."""
    return {
        "profiles": [
            {
                "name": kind.name,
                "hosts": list(kind.hosts),
                "cards": kind.cards,
                "card_memory_gb": kind.memory,
                "engine_version": kind.engine_version,
                "contacted": kind.contacted,
            }
            for kind in kinds
        ],
        "rows": [row.as_dict() for row in rows],
        "left_out": [{"host": host, "reason": text} for host, text in left_out.items()],
    }
