# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads YAML of users within bounds: reading it, and going through all of it, ends."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    DEEPEST,
    OutOfBounds,
)

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Values of a file, those counted again that aliases repeat. The files of this collection have some 20,000.
_MOST_VALUES = 1_000_000


def parse_yaml(text: str | bytes, loader: Any = LOADER) -> Any:
    """What a text of YAML means.

    Raises OutOfBounds, a ValueError, for more values than are read (aliases may repeat a value many
    times) and for mappings and lists in each other that are too deep or contain themselves;
    yaml.YAMLError and ValueError for other text that is not read.
    """
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        _Count().of(node, 0)
        return reader.construct_document(node)
    except RecursionError:
        raise _too_deep() from None
    finally:
        reader.dispose()


class _Count:
    """Counts the values of a document with its aliases followed, each node once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def of(self, node: Any, depth: int) -> tuple[int, int]:
        """(values, levels) of a node, itself included. Raises OutOfBounds."""
        known = self._known.get(id(node))
        if known is None:
            if depth > DEEPEST:
                raise _too_deep()
            if id(node) in self._open:
                raise OutOfBounds("a mapping or list in it contains itself")
            self._open.add(id(node))
            values, levels = 1, 1
            for child in _children(node):
                count, below = self.of(child, depth + 1)
                values, levels = values + count, max(levels, below + 1)
            self._open.discard(id(node))
            known = self._known[id(node)] = (values, levels)
        if known[0] > _MOST_VALUES:
            raise OutOfBounds(f"it has more than {_MOST_VALUES} values, aliases followed")
        if depth + known[1] > DEEPEST:
            raise _too_deep()
        return known


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _too_deep() -> OutOfBounds:
    return OutOfBounds(f"it has mappings and lists in each other deeper than {DEEPEST} levels")
