# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What upstream's tutorials set for throughput or latency, from `vars/recipes.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .._base.errors import AscendError
from .needs import Need, Subject

PURPOSES = ("throughput", "latency", "none")


@dataclass(frozen=True)
class Recipe:
    """An entry of the file, whose head says what its keys mean; `scope` has its conditions."""

    purpose: str
    scope: Need
    args: Mapping[str, Any]
    env: Mapping[str, str]
    written_for: str
    source: str

    @property
    def where(self) -> str:
        """What it holds for, in a message."""
        versions = dict.fromkeys((self.scope.since, self.scope.through))
        return f"{self.purpose} on vLLM {' to '.join(map(str, versions))} for {self.chips}"

    @property
    def chips(self) -> str:
        return ", ".join(self.scope.chips)


@lru_cache(maxsize=1)
def load_recipes() -> tuple[Recipe, ...]:
    """All entries, in the order of the file."""
    return tuple(
        Recipe(
            purpose=entry["purpose"],
            scope=Need.from_dict({key: entry[key] for key in _SCOPE if key in entry}),
            args=entry["args"],
            env=entry["env"],
            written_for=entry["written_for"],
            source=entry["source"],
        )
        for entry in vars_file("recipes.yml")["recipes"]
    )


_SCOPE = ("models", "except", "chips", "since", "through")


def recipe_of(purpose: str, subject: Subject) -> Recipe:
    """The recipe of a service. Raises AscendError where no tutorial has one, naming those there are."""
    for recipe in load_recipes():
        if recipe.purpose == purpose and recipe.scope.counts_for(subject):
            return recipe
    others = [each.where for each in load_recipes() if each.scope.is_named(subject)]
    known = f" There is {'; '.join(others)}." if others else " There is none for this model."
    chips = ", ".join(subject.chips) or "a host without a hardware profile"
    raise AscendError(
        f"recipe of {subject.names[0]} is {purpose}: no tutorial that was read has one for it on vLLM"
        f" {subject.version} and {chips}.{known} Leave recipe out, or write args and env yourself."
    )
