# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estimate held against everything that was published: tables, and memory that engines printed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.configuration import (
    Attention,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    Device,
    Estimate,
    device_of,
    estimate,
    overheads,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.shape import (
    Shape,
    shape_of,
    stored_as,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.split import Split
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.tables import Row, Table

DATA = Path(__file__).parents[3] / "data"
CATALOGUE = load_catalogue()


def data(name: str, key: str) -> list[dict[str, Any]]:
    content = yaml.safe_load((DATA / name).read_text(encoding="utf-8"))
    return list(content[key])


@dataclass(frozen=True)
class Comparison:
    """A row beside its estimate: the least cards, and the longest on the row's own cards."""

    row: Row
    least: Estimate | None
    on_cards: Estimate | None
    reason: str = ""

    @property
    def same_cards(self) -> bool:
        return self.least is not None and self.least.cards == self.row.min_cards

    @property
    def above_native(self) -> bool:
        native = self.on_cards.native_context if self.on_cards else None
        return native is not None and (self.row.max_model_len or 0) > native

    @property
    def too_short(self) -> bool:
        return self.on_cards is not None and self.on_cards.longest < (self.row.max_model_len or 0)

    def __str__(self) -> str:
        row = self.row
        text = f"row {row.number:2} {row.model}, {row.card_memory_gb:g} GB:"
        text += f" {row.min_cards} cards, {row.max_model_len} tokens"
        if self.least is None or self.on_cards is None:
            return f"{text}; not estimated: {self.reason}"
        text += f"; estimated {self.least.cards} cards, on the row's {self.on_cards.longest} tokens"
        text += f" ({self.on_cards.low} to {self.on_cards.high})"
        text += f", limited by its {self.on_cards.limited_by}"
        text += f"; borderline: {self.least.doubt}" if self.least.borderline else ""
        return text + (f"; above its native context {row.max_model_len}" * self.above_native)


def shape_of_row(row: Row) -> tuple[Any, Shape]:
    """Facts and shape of a row's model, or of that whose quantised weights it means."""
    facts = CATALOGUE.facts(row.model)
    quantised = stored_as(row.model)
    if quantised and not facts.num_hidden_layers:
        match = CATALOGUE.find(quantised[0])
        if match:
            facts = CATALOGUE.facts(match.model)
            return facts, shape_of(facts, quantised[1])
    return facts, shape_of(facts)


def compare(row: Row) -> Comparison:
    device = device_of(row.card_memory_gb, None)
    assert device is not None and row.min_cards is not None
    try:
        facts, shape = shape_of_row(row)
        share = row.gpu_memory_utilization
        least = estimate(facts, shape, device, share)
        return Comparison(row, least, estimate(facts, shape, device, share, Split(row.min_cards)))
    except AscendError as error:
        return Comparison(row, None, None, str(error))


def comparisons(table: Table) -> list[Comparison]:
    return [compare(row) for row in table.rows if row.supported]


def table(name: str) -> Table:
    return next(each for each in CATALOGUE.tables if each.name == name)


def splits() -> Iterator[tuple[dict[str, Any], float, tuple[float, float, float]]]:
    """What was neither weights nor cache on a rank, beside the expected, most and least overhead."""
    for given in data("memory_splits.yml", "splits"):
        rest = given["visible"] * given["utilization"] - given["weights"] - given["cache"]
        shape = Shape(Attention((), state=int(given.get("hybrid", False))), 0, 1, 1)
        device = Device(given["visible"], given.get("chip") == "310P")
        expected, most, least = overheads(shape, device, given["ranks"])
        yield given, rest, (expected.gib, most.gib, least.gib)


def report() -> str:
    """Every difference, for people."""
    lines = []
    for each in CATALOGUE.tables:
        found = comparisons(each)
        same = sum(one.same_cards for one in found)
        missed = [one for one in found if not one.same_cards or one.too_short]
        lines.append(f"{each.name}: the same number of cards in {same} of {len(found)} rows")
        lines += [f"  {one}" for one in missed]
    lines.append("memory splits: GiB that were neither weights nor cache; expected, most, least")
    for given, rest, (expected, most, least) in splits():
        inside = "outside" if not least <= rest <= most else "inside"
        why = f" ({given['left_out']})" if "left_out" in given else ""
        lines.append(
            f"  {rest:5.2f} {inside} {expected:5.2f} {most:5.2f} {least:5.2f}  {given['source']}{why}"
        )
    return "\n".join(lines)
