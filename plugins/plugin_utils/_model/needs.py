# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a model needs to start on a version of the engine, from `vars/model_needs.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .options import dashed, engine_number, number


@dataclass(frozen=True)
class Subject:
    """A service as the needs see it.

    Attributes:
        names: of the model, as the tables have it first, and as it was asked for.
        config: figures of the configuration of the model's weights.
        quantization: what quantised them; None: nothing did, or it is not known.
        chips: names of the profile's chips; empty if there is no profile.
        version: of vLLM or vllm-ascend.
        args: the user's over the row's.
    """

    names: tuple[str, ...]
    kind: str
    version: str
    config: Mapping[str, Any] = field(default_factory=dict)
    chips: tuple[str, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    quantization: str | None = None

    @property
    def number(self) -> tuple[int, ...]:
        """The version of vLLM, to compare; empty if it is none."""
        return engine_number(self.version)


@dataclass(frozen=True)
class Need:
    """An entry of the file, whose head says what its keys mean."""

    models: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    config: str | None = None
    quantization: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    other_chips: tuple[str, ...] = ()
    since: str | None = None
    through: str | None = None
    unless_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    args: Mapping[str, Any] = field(default_factory=dict)
    refuse: str | None = None
    instead: str | None = None
    warning: str | None = None

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Need:
        """An entry as it is written, already checked."""
        given = {each.name: entry[each.name] for each in fields(cls) if each.name in entry}
        for name in ("models", "kinds", "quantization", "chips", "other_chips"):
            given[name] = tuple(given.get(name, ()))
        return cls(**given, excluded=tuple(entry.get("except", ())))

    def is_named(self, subject: Subject) -> bool:
        """Whether the conditions on the name hold."""
        named = not self.models or _named(subject.names, self.models)
        return named and not _named(subject.names, self.excluded)

    @property
    def of_weights(self) -> bool:
        """Whether it is the configuration of the weights that it depends on, and not their name."""
        return not self.models and (self.config is not None or bool(self.quantization))

    def counts_for(self, subject: Subject) -> bool:
        """Whether all conditions hold."""
        version = subject.number
        return (
            bool(version)
            and self.is_named(subject)
            and (not self.kinds or subject.kind in self.kinds)
            and (self.config is None or self.config in subject.config)
            and (not self.quantization or subject.quantization in self.quantization)
            and (not self.chips or bool(set(self.chips) & set(subject.chips)))
            and not set(self.other_chips) & set(subject.chips)
            and (self.since is None or version >= number(self.since))
            and (self.through is None or version <= number(self.through))
            and not any(
                str(value) in self.unless_args.get(dashed(option), ())
                for option, value in subject.args.items()
            )
        )


def _named(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns)


@lru_cache(maxsize=1)
def load_needs() -> tuple[Need, ...]:
    """All entries, in the order of the file."""
    return tuple(Need.from_dict(entry) for entry in vars_file("model_needs.yml")["needs"])


def needs_of(subject: Subject) -> list[Need]:
    """The entries that count for a service."""
    return [need for need in load_needs() if need.counts_for(subject)]
