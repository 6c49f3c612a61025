# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The style of Python, YAML, roles and the changelog, types of the logic, what Galaxy checks, and the docsite."""

from __future__ import annotations

import pytest

from .command import passes

COMMANDS = (
    "ruff check .",
    "ruff format --check .",
    "yamllint --strict .",
    "tests/tools/lint-collection",
    "antsibull-changelog lint",
    "tests/tools/types",
    "tests/tools/release --check",
    "tests/tools/docsite --check",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_passes(command: str) -> None:
    passes(*command.split())
