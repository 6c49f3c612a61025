# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The group guard as one program, which a host runs without this collection."""

from __future__ import annotations

import ast
from functools import lru_cache

from .._base import data

_SOURCES = ("group_states", "group_link", "group_children", "group_guard")  # as they import
_START = '''\
"""Runs the engine of a service that spans hosts on all its members, or on none.

Made of plugins/module_utils/_service/group_*.py of the collection inferops.ascend.
"""

from __future__ import annotations
'''


@lru_cache(maxsize=1)
def group_program() -> str:
    """The text of the program: its source files without the imports of each other."""
    parts = [_START]
    for name in _SOURCES:
        path = data.ROOT / "plugins" / "module_utils" / "_service" / f"{name}.py"
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        dropped: set[int] = set()
        body = ast.parse(text).body
        for node in body:
            internal = isinstance(node, ast.ImportFrom) and (
                node.level or node.module == "__future__"
            )
            if internal or node is body[0]:  # that is its docstring
                dropped |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        first = body[0].lineno
        kept = [
            line for number, line in enumerate(lines, 1) if number > first and number not in dropped
        ]
        parts.append("\n".join(kept).strip("\n") + "\n")
    header = "# SPDX-FileCopyrightText: The inferops.ascend authors\n# SPDX-License-Identifier: GPL-3.0-or-later\n"
    return header + "\n\n".join(parts)
