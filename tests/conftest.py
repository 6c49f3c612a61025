# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test shares: the collection as Ansible's own loader finds it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader

# `tests/tools/dev run` sets the path; without it Ansible's own search applies.
init_plugin_loader(os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep))

REPOSITORY = Path(__file__).resolve().parents[1]
# Modules of the folders of tests for each other, and the stand-in's parser.
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "simulator")]


# What takes longest comes first, so that no worker is left with it at the end.
ORDER = (
    "checks",
    "real",
    "upgrade",
    "runtime",
    "group",
    "service",
    "host",
    "weights",
    "plan",
    "monitoring",
    "simulator",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files: those named here, then the others; within each as pytest has them."""
    ranks = {name: rank for rank, name in enumerate(ORDER)}
    items.sort(
        key=lambda item: 99 if "unit" in item.path.parts else ranks.get(item.path.parent.name, 50)
    )


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Recordings and source documents beside the checkout; tests that need them skip without."""
    path = REPOSITORY.parent / "shared"
    if not path.is_dir():
        pytest.skip("the folder of recordings is not beside this checkout")
    return path
