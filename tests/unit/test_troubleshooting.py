# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/troubleshooting.md says that a user sees is what the collection prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

GAP = "…"
ANSIBLES = {
    "Missing sudo password",
    "Failed to connect to the host via ssh",
    "No inventory was parsed",
    "is using the discovered Python interpreter",
}


def joined(node: ast.expr) -> str:
    """A text of the code; what is put into it is a gap."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(joined(part) for part in node.values)
    return GAP


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield re.sub(r"\{\{.*?\}\}|\{\w+\}", GAP, value, flags=re.DOTALL)


@pytest.fixture(scope="module")
def printed(repository: Path) -> list[str]:
    found: list[str] = []
    for path in repository.glob("plugins/**/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [joined(node) for node in ast.walk(tree) if isinstance(node, ast.expr)]
    for pattern in ("vars/failures/*.yml", "roles/*/tasks/*.yml", "playbooks/*.yml"):
        for path in repository.glob(pattern):
            found += texts(yaml.safe_load(path.read_text(encoding="utf-8")))
    return [" ".join(text.split()) for text in set(found) if len(text) > len(GAP)]


def test_every_text_on_the_page_is_one_that_is_printed(
    repository: Path, printed: list[str]
) -> None:
    page = (repository / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    seen = [cell for line in page.splitlines() for cell in re.findall(r"^\| `([^`]+)` \|", line)]
    assert len(seen) > 40
    unknown = []
    for quoted in set(seen) - ANSIBLES:
        pattern = ".*".join(re.escape(part) for part in quoted.split(GAP))
        if not any(re.search(pattern, text) for text in printed):
            unknown.append(quoted)
    assert not unknown
