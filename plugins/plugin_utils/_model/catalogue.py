# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tables that count, in the order in which they are searched, with the facts of their models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._base.data import VARS
from .._base.errors import AscendError
from .._base.values import shown
from .facts import Facts, load_facts
from .names import Match, Names, bare, is_path
from .tables import Row, Table, shipped_table, user_table

SHIPPED_TABLES = ("ascend-64gb.yml", "ascend-vllm-0.7.2.yml", "vllm-ascend-tutorials.yml")


class Catalogue:
    """The tables in the order in which they are searched, and the facts of their models."""

    def __init__(
        self,
        tables: Sequence[Table],
        facts: Mapping[str, Facts],
        find_file: Callable[[str], str | None] | None = None,
    ) -> None:
        """``find_file``: turns a path as the user wrote it into that of a file, or ``None``."""
        self.tables = tuple(tables)
        self.find_file = find_file
        self._spelling = {name.lower(): name for name in facts}
        self._rows: dict[str, list[Row]] = {}
        for table in self.tables:
            for row in table.rows:
                self._spelling.setdefault(row.model.lower(), row.model)
                self._rows.setdefault(row.model.lower(), []).append(row)
        self._shipped = facts
        known = ((model, self.facts(model)) for model in self._spelling.values())
        self.names = Names((model, each.huggingface + each.modelscope) for model, each in known)

    def find(self, name: str) -> Match | None:
        """The model of a name, a hub id or a path; None: there is none, or more than one."""
        meanings = self.names.meanings(name)
        return meanings[0] if len(meanings) == 1 else None

    def name_of(self, name: str) -> str:
        """The model's name; of one that is not known as written, or the last part of a path."""
        match = self.find(name)
        if match:
            return match.model
        return bare(name.strip().rstrip("/")) if is_path(name.strip()) else name

    def rows(self, model: str) -> tuple[Row, ...]:
        """The model's rows for any memory, in table order."""
        return tuple(self._rows.get(model.lower(), ()))

    def facts(self, model: str) -> Facts:
        """The shipped facts, overridden by what the rows give; an earlier row wins."""
        known = self._shipped.get(self._spelling[model.lower()], Facts())
        own: dict[str, Any] = {}
        for row in self.rows(model):
            own = {**row.own, **own}
        if "native_context" in own:
            own["unverified"] = tuple(f for f in known.unverified if f != "native_context")
        return replace(known, **own) if own else known

    def without_rows(self) -> Catalogue:
        """The same models with the same facts, as if no table listed any of them."""
        facts = {model: self.facts(model) for model in self._spelling.values()}
        return Catalogue((), facts, self.find_file)

    def memories(self) -> tuple[float, ...]:
        """Every card memory (GB) for which `*` matches a row."""
        return tuple(sorted({row.card_memory_gb for table in self._listing for row in table.rows}))

    @property
    def _listing(self) -> tuple[Table, ...]:
        """The tables that `*` lists: those whose figures were found by running the engine, or
        computed; what is only documented is left out."""
        return tuple(table for table in self.tables if table.basis != "documented")

    def every_row(self, card_memory_gb: float) -> Iterator[Row]:
        """What `*` matches: the supported rows for this memory, in table order, each model once.

        A table of basis "documented" is left out, and one that is superseded by another loaded
        table where that table has rows for this memory.
        """
        covering = {
            table.name
            for table in self._listing
            if any(row.card_memory_gb == card_memory_gb for row in table.rows)
        }
        given: set[str] = set()
        for table in self._listing:
            if table.superseded_by in covering:
                continue
            here = [row for row in table.rows if row.card_memory_gb == card_memory_gb]
            yield from (row for row in here if row.supported and row.model.lower() not in given)
            given.update(row.model.lower() for row in here)


def load_catalogue(
    user_tables: object = None, find_file: Callable[[str], str | None] | None = None
) -> Catalogue:
    """The user's tables in their order, then the shipped ones, with the shipped facts.

    Args:
        user_tables: a path, or a list of paths; ``None`` for none. The name of a shipped file
            (``ascend-vllm-0.7.2.yml``) moves that table to its place in the list.
        find_file: turns a path as the user wrote it into the path of a file, or ``None``.

    Raises AscendError: a file is missing or malformed; the message names file, row and field.
    """
    if user_tables is None:
        user_tables = []
    if isinstance(user_tables, (str, Path)):
        user_tables = [user_tables]
    if not isinstance(user_tables, (list, tuple)):
        raise AscendError(
            f"The model tables (ascend_model_tables) are {shown(user_tables)}, which is not a list"
            " of paths. Write a list, as in ascend_model_tables: [files/my-models.yml]."
        )
    files: list[Path] = []
    for entry in user_tables:
        if not isinstance(entry, (str, Path)) or not str(entry).strip():
            raise AscendError(
                f"The model tables (ascend_model_tables) contain {shown(entry)}, which is not a path."
                " Write a list of paths, as in ascend_model_tables: [files/my-models.yml]."
            )
        files.append(_locate(str(entry), find_file))
    shipped = [VARS / "model_tables" / name for name in SHIPPED_TABLES]
    tables: dict[str, Table] = {}
    for file in dict.fromkeys([*files, *shipped]):
        table = shipped_table(file) if file in shipped else user_table(file)
        if table.name in tables:
            raise AscendError(
                f"The model tables {tables[table.name].file} and {file} are both named"
                f" {table.name!r}. Give one of them another name in its field `table`."
            )
        tables[table.name] = table
    return Catalogue(list(tables.values()), load_facts(), find_file)


def _locate(entry: str, find_file: Callable[[str], str | None] | None) -> Path:
    path = Path(entry).expanduser()
    found = find_file(str(path)) if find_file else (str(path) if os.path.exists(path) else None)
    if found is None:
        if entry in SHIPPED_TABLES:
            return VARS / "model_tables" / entry
        raise AscendError(
            f"The model table {shown(entry, 200)} (ascend_model_tables) does not exist."
            " Give an absolute path, or one relative to the playbook or its files/ or vars/."
        )
    path = Path(found)
    if path.is_dir():
        raise AscendError(
            f"The model table {path} (ascend_model_tables) is a directory."
            " Name the files in it, one by one."
        )
    return path.resolve()
