# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory for a test, and the page of a plan in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.html import (
    html,
)

from .chromium import Chromium, chromium
from .pages import FOUR, thousand
from .site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "inventory"
    root.mkdir()
    return Site(root)


@pytest.fixture
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path outside of the inventory for `vllm_plan_json`."""
    return tmp_path_factory.mktemp("report") / "plan.json"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("pages")
    files = {}
    for name, plan in (("four", FOUR), ("thousand", thousand())):
        files[name] = directory / f"{name}.html"
        files[name].write_text(html(plan), encoding="utf-8")
    return files


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser: Chromium, files: dict[str, Path]) -> Chromium:
    """The page of four hosts, on a desk, in light."""
    browser.scripts(True)
    browser.scheme("light")
    browser.size(1280)
    browser.open(files["four"])
    return browser
