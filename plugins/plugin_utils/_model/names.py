# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which model a user's name means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_PARTS = re.compile(r"[a-z]+|[0-9]+|[^\W\d_a-z]+")
_RELEASES = frozenset(("instruct", "thinking", "base", "chat", "it", "hf", "terminus", "exp"))


@dataclass(frozen=True)
class Match:
    """A model found by a name or a hub id; ``hub_id`` is the id that was asked for."""

    model: str
    hub_id: str | None = None


def parts(name: str) -> str:
    """A name without regard to case and to what separates its words and numbers.

    `Llama3.1-8B`, `llama-3.1-8b` and `Llama_3_1 8B` are equal, `Llama-31-8B` is another.
    """
    return "-".join(_PARTS.findall(name.lower()))


def bare(hub_id: str) -> str:
    """An id without its owner."""
    return hub_id.rsplit("/", 1)[-1]


def release(name: str) -> str:
    """A name without its owner, and without the words by which releases of one size differ."""
    words = parts(bare(name.rstrip("/"))).split("-")
    while len(words) > 2 and (words[-1] in _RELEASES or re.fullmatch("[0-9]{4}", words[-1])):
        words.pop()
    return "-".join(words)


def is_path(name: str) -> bool:
    """Whether a model's name is a path on the host."""
    return name.startswith("/")


def names_in_path(path: str) -> list[str]:
    """What the parts of a path can name, the last one first.

    The Hugging Face cache writes `models--Owner--Name/snapshots/REVISION`, the one of ModelScope
    `Owner/Name` with `___` for a dot.
    """
    steps = [step for step in path.replace("___", ".").split("/") if step]
    cached = [step[8:].replace("--", "/", 1) for step in steps if step.startswith("models--")]
    return [*cached, "/".join(steps[-2:]), *steps[-1:]]


class Names:
    """The names of all models; more exact ones count first.

    In this order: a model's name, a hub id, both without regard to case; then without regard to
    separators a model's name, a hub id, a hub id without its owner.
    """

    def __init__(self, models: Iterable[tuple[str, Iterable[str]]]) -> None:
        """``models``: names with their hub ids."""
        self._levels: tuple[dict[str, dict[str, Match]], ...] = ({}, {}, {}, {}, {})
        known: list[str] = []
        all_ids: dict[str, str] = {}
        for model, hub_ids in models:
            known.append(model)
            self._add(0, model.lower(), Match(model))
            self._add(2, parts(model), Match(model))
            for hub_id in hub_ids:
                if hub_id.lower() in all_ids:  # the first model that has it
                    continue
                all_ids[hub_id.lower()] = hub_id
                match = Match(model, hub_id)
                self._add(1, hub_id.lower(), match)
                self._add(3, _id_parts(hub_id), match)
                self._add(4, parts(bare(hub_id)), match)
        self._releases: dict[str, str] = {}
        for model in known:
            self._releases.setdefault(release(model), model)
        for hub_id, match in list(self._ids()):
            self._releases.setdefault(release(hub_id), match.model)
        self.all: tuple[str, ...] = (*known, *all_ids.values())

    def _add(self, level: int, key: str, match: Match) -> None:
        self._levels[level].setdefault(key, {}).setdefault(match.model, match)

    def meanings(self, name: str) -> tuple[Match, ...]:
        """The models that a name, a hub id or a path on the host can mean."""
        text = name.strip()
        if is_path(text):
            return next(filter(None, map(self.meanings, names_in_path(text))), ())
        keys = [text.lower(), text.lower(), parts(text), _id_parts(text), parts(text)]
        if "/" in text:  # the weights of another owner may be others
            keys[2] = keys[4] = ""
        for level, key in zip(self._levels, keys):
            if key in level:
                return tuple(level[key].values())
        return ()

    def _ids(self) -> Iterator[tuple[str, Match]]:
        for matches in self._levels[1].values():
            for match in matches.values():
                yield str(match.hub_id), match

    def of_other_release(self, name: str) -> str | None:
        """The model of which a name means another release, by the words that releases add."""
        return self._releases.get(release(name))

    def editions(self, name: str) -> tuple[str, ...]:
        """The models whose names add words to this one, as sizes and editions of one family do."""
        start = parts(bare(name)) + "-"
        known = self._levels[2].items()
        return tuple(model for key, each in known if key.startswith(start) for model in each)

    def of_other_owners(self, name: str) -> tuple[Match, ...]:
        """What the id of an owner that nobody lists would mean without its owner."""
        return self.meanings(bare(name)) if "/" in name and not is_path(name) else ()


def _id_parts(hub_id: str) -> str:
    owner, name = hub_id.rpartition("/")[::2]
    return f"{parts(owner)}/{parts(name)}"
