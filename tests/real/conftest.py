# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine has to have, and the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .engines import SERVING, MissingError, matrix_versions
from .machine import see_to_machine
from .parsers import Parser
from .readers import Reader

VERSIONS = [*matrix_versions(), SERVING]


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skip, with the reason, where the real engine cannot be had; all else that fails is a failure."""
    try:
        see_to_machine()
    except MissingError as error:
        pytest.skip(f"the real vLLM cannot be tried here: {error}")


@pytest.fixture(scope="session")
def starting() -> Iterator[dict[str, Future[Parser]]]:
    """The parsers by version. Loading one takes some 10 s of one core; the next loads meanwhile."""
    started: dict[str, Future[Parser]] = {}
    with ThreadPoolExecutor(1) as pool:

        class Ahead(dict[str, "Future[Parser]"]):
            def __missing__(self, version: str) -> Future[Parser]:
                self[version] = pool.submit(Parser, version)
                return self[version]

        started = Ahead()
        yield started
        for each in started.values():
            each.result().close()


@pytest.fixture(scope="module", params=VERSIONS)
def parser(request: pytest.FixtureRequest, starting: Any) -> Iterator[Parser]:
    version = request.param
    one: Parser = starting[version].result()
    following = VERSIONS[VERSIONS.index(version) + 1 :]
    if following:
        _unused = starting[following[0]]
    yield one
    one.close()
    del starting[version]


@pytest.fixture
def reader(parser: Parser, tmp_path: Path) -> Reader:
    return Reader(parser, tmp_path)


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
