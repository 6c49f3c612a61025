# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `ascend-sim` of a simulated host: changes its state for a test.

  ascend-sim show
  ascend-sim set FIELD=VALUE...             fields of the host: error=-8020 layout=hbm-wide
  ascend-sim card LOGIC_ID FIELD=VALUE...   fields of a card ('*': all): health=Alarm missing=true
  ascend-sim drop LOGIC_ID                  lose a card as at a restart: the numbers of the others close up
  ascend-sim behaviour MODEL FIELD=VALUE... how the stand-in vLLM serves MODEL ('*': any)
  ascend-sim reset                          everything as it was installed
  ascend-sim boot                           what the driver does at boot; run by ascend-sim.service
A VALUE is JSON, or else a word. Device nodes follow the physical ids at once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ascend_sim as sim
import hccn_tool

PCI = Path("/sys/bus/pci/devices")
TMPFILES = Path("/etc/tmpfiles.d/ascend-sim.conf")
HOST_ERRORS = (None, "-8005", "-8020", "hang")


def make_nodes(state: dict[str, Any]) -> None:
    """Write tmpfiles.d and apply it; nodes of cards that are no longer there are removed.

    /etc/hccn.conf follows as well, on a host whose cards have a network.
    """
    if sim.has_network(state):
        hccn_tool.CONF.write_text(hccn_tool.conf(state))
    text = sim.tmpfiles(state)
    wanted = {line.split()[1] for line in text.splitlines() if line.startswith("c!")}
    if TMPFILES.exists() and TMPFILES.read_text() != text:
        # The numbers follow the card's place, so nodes of another list may be wrong.
        for node in Path("/dev").glob("davinci[0-9]*"):
            node.unlink()
    for node in Path("/dev").glob("davinci[0-9]*"):
        if str(node) not in wanted:
            node.unlink()
    TMPFILES.write_text(text)
    subprocess.run(["systemd-tmpfiles", "--create", "--boot", str(TMPFILES)], check=True)
    make_bus(state)


def make_bus(state: dict[str, Any]) -> None:
    """The driver's table in the directory of every card in sysfs, in whose place a file system is."""
    if not os.path.ismount(PCI):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "none", str(PCI)], check=True)
    for directory in PCI.iterdir():
        shutil.rmtree(directory)
    table = sim.bus_table(state)
    for card in sim.cards_of(state):
        directory = PCI / card["bus_id"].lower()
        directory.mkdir(exist_ok=True)
        # Of a processing accelerator. Gloo, which the real engine uses, reads it of every device.
        (directory / "class").write_text("0x120000\n")
        file = directory / "devdrv_sysfs_bdf_to_devid"
        file.touch(0o440)
        file.write_text(table)


def value(text: str) -> Any:
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    # An error code is a word in the state, though it looks like a number.
    return text if text.startswith("-8") else parsed


def assign(target: dict[str, Any], words: list[str]) -> None:
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise SystemExit(f"ascend-sim: {word!r} is not FIELD=VALUE")
        target[key] = value(text)


def main() -> int:
    words = sys.argv[1:]
    verb = words[0] if words else ""
    if verb == "show" and len(words) == 1:
        print(sim.state_path().read_text(), end="")
        return 0
    if verb == "reset" and len(words) == 1:
        sim.write_state(json.loads(sim.state_path().with_name("initial.json").read_text()))
        sim.state_path().with_name("behaviour.json").unlink(missing_ok=True)
        make_nodes(sim.load_state())
        return 0
    if verb == "set" and len(words) > 1:
        with sim.editing() as state:
            assign(state, words[1:])
            if state["error"] not in HOST_ERRORS:
                raise SystemExit(f"ascend-sim: error is one of {HOST_ERRORS}")
        make_nodes(sim.load_state())
        return 0
    if verb == "drop" and len(words) == 2:
        with sim.editing() as state:
            sim.drop(state, int(words[1]))
        make_nodes(sim.load_state())
        return 0
    if verb == "boot" and len(words) == 1:
        make_bus(sim.load_state())
        return 0
    if verb == "card" and len(words) > 2:
        with sim.editing() as state:
            chosen = [c for c in state["cards"] if words[1] in ("*", str(c["logic_id"]))]
            if not chosen:
                raise SystemExit(f"ascend-sim: no card with logic id {words[1]}")
            for card in chosen:
                assign(card, words[2:])
        make_nodes(sim.load_state())
        return 0
    if verb == "behaviour" and len(words) > 2:
        path = sim.state_path().with_name("behaviour.json")
        entries = json.loads(path.read_text()) if path.exists() else {}
        assign(entries.setdefault(words[1], {}), words[2:])
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(entries, indent=1) + "\n")
        partial.replace(path)
        return 0
    print(__doc__, file=sys.stderr)
    return 2
