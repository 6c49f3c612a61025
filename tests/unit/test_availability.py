# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a service over several hosts is down, as docs/cluster.md has it."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    loader = SourceFileLoader("availability", str(repository / "tests" / "tools" / "availability"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("members", [1, 4, 16])
@pytest.mark.parametrize("start", [60, 900])
def test_the_simulation_is_down_as_long_as_the_formula(
    tool: ModuleType, members: int, start: float
) -> None:
    case = {"mtbf": 10 * 86400, "repair": 600, "start": start, "notice": 10}
    down = 1 - tool.availability(members, **case)
    assert 1 - tool.simulate(members, **case, failures=20000) == pytest.approx(down, rel=0.05)


def test_a_failure_that_needs_no_repair_is_down_until_it_is_noticed_and_started(
    tool: ModuleType,
) -> None:
    case = {"mtbf": 86400, "repair": 0, "start": 50, "notice": 10}
    down = 1 - tool.simulate(1, **case, failures=20000)
    assert down == pytest.approx(60 / (86400 + 10), rel=0.02)


def test_the_table_of_the_document_is_what_the_script_prints(
    tool: ModuleType, repository: Path
) -> None:
    assert tool.main([]) in (repository / "docs" / "cluster.md").read_text(encoding="utf-8")
