# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a host's installations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.lock import held
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import InstallError


def test_what_a_killed_run_started_still_holds_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with held(path, 1) as descriptor:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(descriptor,))
    try:
        with pytest.raises(InstallError, match="Another run is installing"), held(path, 0.3):
            pass
    finally:
        child.kill()
        child.wait()
    with held(path, 1):
        pass
