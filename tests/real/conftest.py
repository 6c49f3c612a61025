# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine has to have, and the table at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .engines import MissingError
from .machine import see_to_machine


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skip, with the reason, where the real engine cannot be had; all else that fails is a failure."""
    try:
        see_to_machine()
    except MissingError as error:
        pytest.skip(f"the real vLLM cannot be tried here: {error}")


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Add a row to the table at the end of the run: the engine, what happened, the seconds it took."""
    return lambda *cells: record_property(TABLE[0], [str(cell) for cell in cells])


TABLE = ("service over hosts", "event", "/health gone after", "completion after")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        value
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
        if name == TABLE[0]
    ]
    if not rows:
        return
    terminalreporter.section("services over hosts")
    widths = [max(map(len, cells)) for cells in zip(TABLE, *rows, strict=True)]
    for each in (TABLE, *rows):
        cells = (cell.ljust(width) for cell, width in zip(each, widths, strict=True))
        terminalreporter.line("  ".join(cells).rstrip())
