# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which environments of a host are in use."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._runtime.environments import users


def test_who_uses_an_environment(tmp_path: Path) -> None:
    root, proc = tmp_path / "vllm", tmp_path / "proc"
    root.mkdir()
    for pid, part, text in (
        ("10", "cmdline", f"{root}/1/bin/python3\0{root}/current/bin/vllm\0serve\0"),
        ("11", "maps", f"7f00 r-xp 0 08:01 1 {root}/2/lib/x.so\n"),
        ("12", "cmdline", f"vi\0{root}\0"),
    ):
        (proc / pid).mkdir(parents=True)
        (proc / pid / part).write_text(text)
    unit = root / "a.conf"
    unit.write_text(f"ExecStart={root}/3/bin/vllm serve\n")
    assert users(str(root), str(proc), [str(unit)]) == {
        "1": "process 10",
        "current": "process 10",
        "2": "process 11",
        "3": str(unit),
    }


def test_a_process_of_this_machine_is_seen(tmp_path: Path) -> None:
    root = tmp_path
    (root / "2" / "bin").mkdir(parents=True)
    (root / "2" / "bin" / "sleep").symlink_to("/bin/sleep")
    process = subprocess.Popen([str(root / "2" / "bin" / "sleep"), "60"])
    try:
        assert users(str(root)) == {"2": f"process {process.pid}"}
    finally:
        process.kill()
        process.wait()
