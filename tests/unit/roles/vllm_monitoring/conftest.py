# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's Prometheus and promtool, for what the role writes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def programs(repository: Path) -> Path:
    """The directory of `prometheus` and `promtool`."""
    if shutil.which("apt-get") is None:
        pytest.skip("Prometheus is unpacked from Debian's package, and there is no apt-get here")
    command = [str(repository / "tests" / "tools" / "dev"), "prometheus"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def promtool(programs: Path) -> Path:
    return programs / "promtool"


@pytest.fixture(scope="session")
def rules(repository: Path) -> Path:
    """The recording rules and alerts that the role writes as they are."""
    return repository / "roles" / "vllm_monitoring" / "files" / "rules" / "inferops_ascend.yml"
