# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a variable of a host is set: in which file of group_vars or host_vars, or elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    OutOfBounds,
    read_bytes,
)

EXTENSIONS = (".yml", ".yaml", ".json")
COMMAND_LINE = "-e"


def variable_files(directory: Path, kind: str, name: str) -> list[Path]:
    """The files that Ansible reads for a host or group, in its order.

    directory: that of an inventory source or a playbook. kind: `host_vars` or `group_vars`.
    """
    start = directory / kind / name
    if start.is_dir():
        return sorted(path for path in start.rglob("*") if path.is_file())
    found = [start.with_name(start.name + ending) for ending in ("", *EXTENSIONS)]
    return [path for path in found if path.is_file()]


@dataclass
class Origins:
    """Where variables are set.

    directories: of the inventory's sources and of the playbook, in Ansible's order. load: what is in a file of
    variables, also an encrypted one; None where it cannot be read. command_line: the variables of `-e`. sizes: how
    many hosts a group has.
    """

    directories: Sequence[Path]
    load: Callable[[Path], object]
    command_line: Mapping[str, Any]
    sizes: Mapping[str, int]
    _contents: dict[tuple[str, str], list[tuple[Path, Mapping[str, Any]]]] = field(
        default_factory=dict
    )

    def of(
        self, name: str, value: object, host: str, groups: Iterable[str], source: str | None
    ) -> str | None:
        """Where a host's variable has its value from: `group_vars/ascend.yml, line 3`, a file of the inventory, or
        `-e`; None where nothing shows it, as for one that a play has set.

        value: as it is written. groups: of the host. source: the file of the inventory that has the host.
        """
        if name in self.command_line:
            return COMMAND_LINE
        found = [
            (path, content[name]) for path, content in self._read(host, groups) if name in content
        ]
        # The nearest to the host that has this value; a list of a file is the same object as in its variables.
        for path, written in found:
            if written is value or written == value:
                return _place(path, name)
        if source and os.path.isfile(source) and _line(Path(source), name):
            return _place(Path(source), name)
        return _place(found[0][0], name) if found else None

    def _read(self, host: str, groups: Iterable[str]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """Files of a host with their content, what goes before others first."""
        nearest = sorted({*groups, "all"}, key=lambda group: (self.sizes.get(group, 0), group))
        nearest.sort(key="all".__eq__)
        for kind, name in [("host_vars", host), *(("group_vars", group) for group in nearest)]:
            yield from self._entity(kind, name)

    def _entity(self, kind: str, name: str) -> list[tuple[Path, Mapping[str, Any]]]:
        key = (kind, name)
        if key not in self._contents:
            files = [
                path
                for directory in reversed(self.directories)
                for path in reversed(variable_files(directory, kind, name))
            ]
            read = ((path, self.load(path)) for path in files)
            self._contents[key] = [(p, each) for p, each in read if isinstance(each, Mapping)]
        return self._contents[key]


def _line(path: Path, name: str) -> int | None:
    """The line of a file, from 1 on, that sets a variable; None where none is found, as in an encrypted file."""
    try:
        text = read_bytes(path).decode("utf-8", "replace")
    except (OSError, OutOfBounds):
        return None
    found = re.search(
        rf"^[^#\n]*?(?<![\w.-])[\"']?{re.escape(name)}[\"']?\s*[:=]", text, re.MULTILINE
    )
    return text.count("\n", 0, found.start()) + 1 if found else None


def _place(path: Path, name: str) -> str:
    """A file, from the current directory if it is below it, and the line."""
    line = _line(path, name)
    relative = os.path.relpath(path)
    shown = str(path) if relative.startswith("..") else relative
    return f"{shown}, line {line}" if line else shown
