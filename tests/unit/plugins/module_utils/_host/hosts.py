# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host below a temporary root."""

from __future__ import annotations

from pathlib import Path


def script(path: Path, body: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def put(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def process(
    root: Path, pid: int, unit: str, environ: dict[str, str] | None = None, command: str = ""
) -> None:
    put(root, f"proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")
    put(root, f"proc/{pid}/environ", "".join(f"{k}={v}\0" for k, v in (environ or {}).items()))
    put(root, f"proc/{pid}/cmdline", "".join(f"{word}\0" for word in command.split()))
