# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rollout reads and writes on a host: its record, and the engines that are there."""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Any, Mapping

from .._base.files import read_text, remove_leftovers, write_atomically
from .._base.process import find
from .environments import read_json, states
from .run import Environments
from .spec import EnvironmentSpec, Module

RECORD = "/var/lib/inferops-ascend/rollout.json"
DROP_INS = "/etc/systemd/system/*/placement.conf"
_UNIT = re.compile(
    r"^Environment=INFEROPS_IMAGE=(\S+)\nEnvironment=INFEROPS_VERSION=(\S+)$", re.MULTILINE
)


def read_record(path: str = RECORD) -> dict[str, Any]:
    """The record of the last rollout; {} where there is none or it cannot be read."""
    return read_json(path) or {}


def write_record(record: Mapping[str, Any], path: str = RECORD) -> None:
    """Write the record completely or not at all."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    remove_leftovers([path])
    write_atomically(path, json.dumps(record) + "\n")


def read_environments(module: Module, root: str) -> dict[str, Any]:
    """The environments of the host, of which `previous` was current before the current one."""
    outcome = Environments(module, EnvironmentSpec(root)).compare()
    return {
        "current": outcome.current,
        "previous": outcome.previous,
        "environments": [
            {"name": state.name, "distributions": state.record.get("distributions")}
            for state in states(root).values()
            if state.kind == "complete"
        ],
    }


def read_images(
    module: Module, engine: str, record: Mapping[str, Any], drop_ins: str = DROP_INS
) -> dict[str, Any]:
    """Images that services of the host run from, or ran from before, and which are still there."""
    units: list[tuple[str, str]] = []
    for path in sorted(glob.glob(drop_ins)):
        units += _UNIT.findall(read_text(path) or "")
    known = [image for image, _version in units]
    known += [str(record[key]) for key in ("before", "after") if record.get(key)]
    present = []
    # A missing program is reported, with the way out, where the image is loaded.
    program = find(engine)
    for image in dict.fromkeys(known):
        if program is None:
            break
        command = [program, "image", "inspect", "--format", "{{.Id}}", image]
        if module.run_command(command)[0] == 0:
            present.append(image)
    return {"units": units, "images": present}
