# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many error texts of the trackers are recognised, as docs/readiness.md has it."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import yaml


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    loader = SourceFileLoader("recognised", str(repository / "tests" / "tools" / "recognised"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_document_tells_how_many_the_script_counts(tool: ModuleType, repository: Path) -> None:
    document = (repository / "docs" / "readiness.md").read_text(encoding="utf-8")
    for quarter in ("2025Q3", "2026Q3"):
        assert tool.main([quarter]).splitlines()[-1] in document


def test_no_text_is_counted_twice(repository: Path) -> None:
    path = repository / "tests" / "unit" / "data" / "tracker_texts.yml"
    issues = [each["issue"] for each in yaml.safe_load(path.read_text(encoding="utf-8"))]
    assert len(issues) == len(set(issues)) >= 40
