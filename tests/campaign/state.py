# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copied to a host: prints as JSON who owns which cards there, and what a killed run has left."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

SYSTEMD = Path("/etc/systemd/system")
CARDS = re.compile(r"^(?:Environment=)?ASCEND_RT_VISIBLE_DEVICES=([0-9,]+)$", re.MULTILINE)


def numbers(text: str) -> list[int]:
    found = CARDS.search(text)
    return [int(word) for word in found.group(1).split(",")] if found else []


def process(name: str) -> list[int] | None:
    words = subprocess.run(
        ["systemctl", "show", "-P", "MainPID", f"vllm@{name}"], stdout=subprocess.PIPE, check=True
    ).stdout
    if not int(words):
        return None
    try:
        environ = Path(f"/proc/{int(words)}/environ").read_bytes()
    except OSError:
        return None
    return numbers(environ.replace(b"\0", b"\n").decode("utf-8", "replace"))


def main() -> None:
    drop_ins = {
        path.parent.name[len("vllm@") : -len(".service.d")]: path.read_text("utf-8")
        for path in SYSTEMD.glob("vllm@*.service.d/placement.conf")
    }
    wanted = SYSTEMD.glob("multi-user.target.wants/vllm@*.service")
    enabled = sorted(path.name[len("vllm@") : -len(".service")] for path in wanted)
    names = sorted({*drop_ins, *enabled})
    leftovers = [
        *SYSTEMD.glob("**/.inferops-ascend-*"),
        *Path("/etc/vllm").glob(".inferops-ascend-*"),
    ]
    leftovers += [path for path in SYSTEMD.glob("vllm@*.d") if not any(path.iterdir())]
    print(
        json.dumps(
            {
                "files": {name: numbers(text) for name, text in drop_ins.items()},
                "enabled": enabled,
                "processes": {
                    name: cards for name in names for cards in [process(name)] if cards is not None
                },
                "configured": sorted(path.name for path in Path("/etc/vllm").glob("*")),
                "leftovers": sorted(map(str, leftovers)),
            }
        )
    )


main()
