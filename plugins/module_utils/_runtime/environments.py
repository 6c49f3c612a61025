# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual environments side by side in one directory, one of which is `current`.

An environment is made under its final name, because a virtual environment cannot be moved: its
programs begin with the path of its interpreter. What tells a complete one from a half-made one is
therefore a marker, written last; `current` is never pointed at one without it. Complete environments
are not changed again, since services run from them.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from typing import Any, NamedTuple, Sequence

from .._base import reading
from .._base.errors import HostError

# Written first and last. An environment with neither is somebody else's.
BUILDING = ".building"
COMPLETE = ".complete"
# Its time of change tells when an environment was current last.
USED = ".used"
CURRENT = "current"
TOOLS = "tools"
# What is being removed has this before its name, so that half of it is never taken for complete.
REMOVING = ".removing-"
SWITCHING = ".switching-"


class State(NamedTuple):
    """One directory below the root. `kind`: complete, building (ours, half-made) or foreign.

    `made` and `last_current` are seconds since the epoch, 0 for never.
    """

    name: str
    kind: str
    record: dict[str, Any]
    made: float = 0.0
    last_current: float = 0.0


def read_json(path: str) -> dict[str, Any] | None:
    """A mapping that was written to a file; None where there is none, {} where it cannot be read."""
    try:
        data = reading.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def states(root: str) -> dict[str, State]:
    """The environments below the root by name, the last made or current first."""
    found = []
    for path in glob.glob(os.path.join(glob.escape(root), "*")):
        name = os.path.basename(path)
        if os.path.islink(path) or not os.path.isdir(path):
            continue
        record = read_json(os.path.join(path, COMPLETE))
        if record is not None:
            made = os.stat(os.path.join(path, COMPLETE)).st_mtime
            used = 0.0
            with contextlib.suppress(FileNotFoundError):
                used = os.stat(os.path.join(path, USED)).st_mtime
            found.append(State(name, "complete", record, made, used))
        elif os.path.lexists(os.path.join(path, BUILDING)):
            found.append(State(name, "building", {}))
        else:
            found.append(State(name, "foreign", {}))
    found.sort(key=lambda state: (-max(state.made, state.last_current), state.name))
    return {state.name: state for state in found}


def current(root: str) -> str | None:
    """The name that `current` leads to, None where there is no such link.

    Of a link that leads out of the root it is the complete path.

    Raises HostError where something other than a link is in its place.
    """
    path = os.path.join(root, CURRENT)
    try:
        target = os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        raise HostError(
            f"{path} is not a link, and this role switches versions by one. Move it away, for "
            f"example to {root}/handmade."
        ) from None
    full = os.path.normpath(os.path.join(root, target))
    return os.path.basename(full) if os.path.dirname(full) == os.path.normpath(root) else full


def users(root: str, proc: str = "/proc", units: Sequence[str] = ()) -> dict[str, str]:
    """Environments below the root that something runs from: {name: who}.

    Read are the words, programs, directories and mapped files of processes, and the texts of the
    files `units`, which may name an environment for the next start.
    """
    roots = {os.path.abspath(root), os.path.realpath(root)}
    pattern = re.compile(
        b"(?:" + b"|".join(re.escape(os.fsencode(each)) for each in sorted(roots)) + b")"
        rb"/([A-Za-z0-9][A-Za-z0-9._+-]*)/"
    )
    found: dict[str, str] = {}

    def note(data: bytes, who: str) -> None:
        for match in pattern.findall(data):
            found.setdefault(os.fsdecode(match), who)

    for pid in sorted(filter(str.isdigit, os.listdir(proc)), key=int):
        if int(pid) == os.getpid():
            continue
        directory = os.path.join(proc, pid)
        for part in ("cmdline", "maps"):
            with contextlib.suppress(OSError, reading.OutOfBounds):
                note(reading.read_bytes(os.path.join(directory, part)), f"process {pid}")
        for part in ("exe", "cwd"):
            with contextlib.suppress(OSError):
                target = os.readlink(os.path.join(directory, part))
                note(os.fsencode(target) + b"/", f"process {pid}")
    for path in units:
        with contextlib.suppress(OSError, reading.OutOfBounds):
            note(reading.read_bytes(path), path)
    return found


def unit_files() -> list[str]:
    """Units and drop-ins that were written on this host."""
    found: list[str] = []
    for top in ("/etc/systemd/system", "/run/systemd/system"):
        for pattern in ("*.service", "*/*.conf", "*/*.service"):
            found += glob.glob(os.path.join(top, pattern))
    return sorted(found)
