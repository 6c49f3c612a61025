# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What upstream's tutorials set for throughput or latency, from `vars/recipes.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .._base.errors import AscendError
from .needs import Need, Subject
from .options import number

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
    def since(self) -> tuple[int, ...]:
        """The first version that it was read for, to compare."""
        return number(str(self.scope.since))

    def was_read_for(self, version: tuple[int, ...]) -> bool:
        """Whether the tutorial of this version was read for it."""
        return self.since <= version <= number(str(self.scope.through))

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
    """The recipe of a service: that of its version, or else of the nearest older one that was read.

    Raises AscendError where no tutorial has one, naming those there are.
    """
    known = [
        each
        for each in load_recipes()
        if each.purpose == purpose and each.scope.is_named(subject) and each.since <= subject.number
    ]
    newest = max((each.since for each in known), default=())
    for recipe in known:
        if recipe.since == newest and replace(recipe.scope, through=None).counts_for(subject):
            return recipe
    others = [each.where for each in load_recipes() if each.scope.is_named(subject)]
    there_is = f" There is {'; '.join(others)}." if others else " There is none for this model."
    chips = ", ".join(subject.chips) or "a host without a hardware profile"
    raise AscendError(
        f"recipe of {subject.names[0]} is {purpose}: no tutorial that was read has one for it on vLLM"
        f" {subject.version} and {chips}.{there_is} Leave recipe out, or write args and env yourself."
    )
