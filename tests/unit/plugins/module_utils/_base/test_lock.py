# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.lock import exclusive


def test_what_a_killed_run_started_still_holds_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with exclusive(path, 1, "installing") as descriptor:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(descriptor,))
    try:
        with pytest.raises(HostError, match="Another run is installing"), exclusive(
            path, 0.3, "installing"
        ):
            pass
    finally:
        child.kill()
        child.wait()
    with exclusive(path, 1, "installing"):
        pass


def test_two_runs_do_not_interleave(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, os, sys, time\n"
            f"f = os.open({lock!r}, os.O_RDWR | os.O_CREAT)\n"
            "fcntl.flock(f, fcntl.LOCK_EX); os.write(f, str(os.getpid()).encode())\n"
            "print('held', flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    refused = pytest.raises(HostError, match=rf"process {holder.pid} on this host, or what it")
    with refused, exclusive(lock, 0.3, "changing these services"):
        pytest.fail("two runs hold the lock at once")
    holder.kill()
    holder.wait()
    with exclusive(lock, 0.3, "changing these services"):
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(OSError), exclusive(str(tmp_path / "lock"), 0.1, "installing"):
        pass
    assert precious.read_text() == "keep"
