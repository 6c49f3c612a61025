# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the campaign is given, its seed and whether all of it runs, and the table of figures at its end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

import pytest
import yaml
from integration.hosts import started
from integration.service.role import SCENARIO, Host
from integration.upgrade.conftest import books, fleet

from .target import AFTER, BEFORE, UNIT, Target

# The fixtures of an upgrade, for the races of one.
__all__ = ["books", "fleet"]

# Set here for the workers as well, which inherit it.
SEED = os.environ.setdefault("CAMPAIGN_SEED", str(int(time.time())))
ALL = os.environ.get("CAMPAIGN") == "all"
COLUMNS = ("section", "what", "tried", "result", "seconds")


@pytest.fixture
def everything() -> bool:
    """Whether all of it runs, as `make campaign` has it, or the short form of `make test`."""
    return ALL


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance that is the same again for the same test and seed."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Iterator[Callable[..., None]]:
    """Add a row to the table: section, what, how many were tried, what came of it."""
    begun = time.monotonic()
    yield lambda *cells: record_property(
        COLUMNS[0], [*map(str, cells), f"{time.monotonic() - begun:.0f}"]
    )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A host with the runs `before` and `after`; it is as `after` leaves it."""
    directory = tmp_path_factory.mktemp("campaign")
    inventory = directory / "inventory.yml"
    with started(SCENARIO, inventory, "--host", "h1:a2-64g"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
        address = yaml.safe_load(inventory.read_text())["all"]["hosts"]["h1"]["ansible_host"]
        settings = {
            "ascend_host_profile": "atlas-800i-a2-64g",
            "vllm_service_shutdown_timeout": 1,
            "vllm_service_free_timeout": 0,
        }
        it = Target(Host("h1", inventory, directory, address, settings))
        # An engine that loads ignores SIGTERM: its stop would take half a minute.
        it.host.sh(
            "mkdir -p /etc/systemd/system/vllm@.service.d && printf '[Service]\\nTimeoutStopSec=1\\n'"
            " > /etc/systemd/system/vllm@.service.d/fast.conf"
        )
        it.record("before", BEFORE)
        it.record("after", AFTER, **UNIT)
        yield it


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seed, also where no test came to a figure, and the figures."""
    form = "campaign" if ALL else "short form of the campaign"
    terminalreporter.section(f"the {form}; CAMPAIGN_SEED={SEED} repeats it")
    rows = [
        value
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for name, value in report.user_properties
        if name == COLUMNS[0]
    ]
    widths = [max(len(row[number]) for row in [COLUMNS, *rows]) for number in range(len(COLUMNS))]
    for cells in [COLUMNS, *sorted(rows)] if rows else []:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        terminalreporter.write_line(line.rstrip())
