# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module that writes what Prometheus reads, run by Ansible."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path


def write(directory: Path, *extra: str, umask: int = 0o022) -> None:
    arguments = json.dumps({"directory": str(directory), "files": {"rules/a.yml": "a: 1\n"}})
    command = ["ansible", "localhost", "-c", "local", "-m", "inferops.ascend.monitoring_files"]
    done = subprocess.run(
        [*command, "-a", arguments, *extra],
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_killed_run_left_is_removed_unless_another_one_is_writing(tmp_path: Path) -> None:
    left, other = (tmp_path / "rules" / f".inferops-ascend-{n}.yml.abcd_123" for n in "ab")
    left.parent.mkdir()
    left.write_text("half")
    other.write_text("of something else")
    write(tmp_path, "--check")
    assert left.exists()
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as a run has it
    write(tmp_path)
    assert left.exists() and (tmp_path / "rules" / "a.yml").read_text() == "a: 1\n"
    os.close(descriptor)
    write(tmp_path)
    assert sorted(path.name for path in left.parent.iterdir()) == [other.name, "a.yml"]


def test_prometheus_can_read_them_whatever_umask_root_works_with(tmp_path: Path) -> None:
    write(tmp_path, umask=0o077)
    assert (tmp_path / "rules").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "rules" / "a.yml").stat().st_mode & 0o777 == 0o644
