# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example repository with its service, and the collection as it is uploaded."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .api import serving
from .fleet import Fleet


@pytest.fixture(scope="package")
def tarball(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is uploaded, built of this checkout."""
    place = tmp_path_factory.mktemp("collection")
    dev = [str(repository / "tests" / "tools" / "dev"), "copy", str(place)]
    copy = subprocess.run(dev, capture_output=True, text=True, check=True).stdout.strip()
    build = ["ansible-galaxy", "collection", "build", "--output-path", str(place), copy]
    subprocess.run(build, capture_output=True, check=True)
    [built] = place.glob("*.tar.gz")
    return built


@pytest.fixture(scope="package")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a runner, which keeps the collection that a job has installed."""
    return tmp_path_factory.mktemp("runner")


@pytest.fixture
def fleet(repository: Path, tarball: Path, runner: Path, tmp_path: Path) -> Iterator[Fleet]:
    with serving() as service:
        it = Fleet(tmp_path / "fleet", runner, service)
        it.start(repository / "examples" / "repository", tarball)
        yield it
