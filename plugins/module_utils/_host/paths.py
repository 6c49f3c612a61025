# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may enter and read what is at a path, and what is on the way to it. Paths are below `root`.

Facts alone: whether a user may read it is decided where the user is known.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any, Iterator, Mapping

from .files import below
from .weight_files import READ_BY_ENGINES

_MOST_LINKS = 40  # as many as the kernel follows
_MOST_FILES = 20000
_DEPTH = 3  # directories
_ACL = "system.posix_acl_access"
# Of an entry of an ACL, by the number of its kind in linux/posix_acl.h.
_ACL_KINDS = {0x01: "owner", 0x02: "user", 0x04: "owning_group", 0x08: "group", 0x10: "mask"}


class Names:
    """Names of users and groups by their numbers."""

    def __init__(self, users: Mapping[int, str], groups: Mapping[int, str]) -> None:
        self.users = users
        self.groups = groups


def path_facts(root: Path, path: str, names: Names) -> dict[str, Any]:
    """What is at an absolute path: {steps, entries, behind, broken}.

    steps: each directory on the way, by its path without links, and last what is there. A step has
    path, kind (directory, file, other, missing, unknown), mode, uid, gid, owner, group, and acl: the
    entries {kind, id, perms (4 to read, 2 to write, 1 to enter)} of an ACL, if it has one. `error` tells why
    a step is unknown.
    entries: below a directory, the files that engines read and the directories with them, one for each
    kind of owner and mode, with how many there are as `count`.
    behind: the directories in which links among them lead to files, and those on the way there.
    broken: a link among them that leads nowhere, or null.
    """
    steps = _steps(root, path, names)
    facts: dict[str, Any] = {"steps": steps, "entries": [], "behind": [], "broken": None}
    if steps[-1]["kind"] == "directory":
        facts.update(_entries(root, steps, names))
    return facts


def _steps(root: Path, path: str, names: Names) -> list[dict[str, Any]]:
    """The steps to a path; the last is what is there, or the first that is missing or unknown."""
    found = [_step(root, "/", names)]
    left = [part for part in path.split("/") if part not in ("", ".")]
    current, links = "/", 0
    while left and found[-1]["kind"] == "directory":
        part = left.pop(0)
        if part == "..":
            current = os.path.dirname(current)
            continue
        after = os.path.join(current, part)
        try:
            target = os.readlink(str(below(root, after)))
        except OSError:
            current = after
            found.append(_step(root, after, names))
            continue
        links += 1
        if links > _MOST_LINKS:
            found.append(_lost(after, "missing", "too many links"))
            break
        if target.startswith("/"):
            current = "/"
        left = [part for part in target.split("/") if part not in ("", ".")] + left
    if left and found[-1]["kind"] in ("file", "other"):
        return [*found, _lost(f"{found[-1]['path']}/{left[0]}", "missing", "Not a directory")]
    if found[-1]["kind"] == "directory" and found[-1]["path"] != current:
        found.append(_step(root, current, names))  # it ends with `..`
    return found


def _step(root: Path, path: str, names: Names) -> dict[str, Any]:
    try:
        at = str(below(root, path))
        return _described(path, os.stat(at), at, names)
    except FileNotFoundError:
        return _lost(path, "missing", "No such file or directory")
    except OSError as error:
        return _lost(path, "unknown", os.strerror(error.errno or 0))


def _lost(path: str, kind: str, error: str) -> dict[str, Any]:
    return {"path": path, "kind": kind, "error": error}


def _described(path: str, info: os.stat_result, at: str, names: Names) -> dict[str, Any]:
    kind = "other"
    if stat.S_ISDIR(info.st_mode):
        kind = "directory"
    elif stat.S_ISREG(info.st_mode):
        kind = "file"
    return {
        "path": path,
        "kind": kind,
        "mode": f"{stat.S_IMODE(info.st_mode):04o}",
        "uid": info.st_uid,
        "gid": info.st_gid,
        "owner": names.users.get(info.st_uid, str(info.st_uid)),
        "group": names.groups.get(info.st_gid, str(info.st_gid)),
        "acl": _acl(at),
    }


def _acl(at: str) -> list[dict[str, Any]] | None:
    """The entries of an ACL that the mode does not tell; None where there is none."""
    try:
        data = os.getxattr(at, _ACL)
    except OSError:
        return None
    if len(data) < 4 or struct.unpack("<I", data[:4])[0] != 2:
        return None
    found = []
    for start in range(4, len(data) - 7, 8):
        kind, perms, number = struct.unpack("<HHI", data[start : start + 8])
        if kind in _ACL_KINDS:
            found.append({"kind": _ACL_KINDS[kind], "perms": perms, "id": number})
    return found


def _entries(root: Path, steps: list[dict[str, Any]], names: Names) -> dict[str, Any]:
    top = str(steps[-1]["path"])
    kinds: dict[str, dict[str, Any]] = {}
    behind: dict[str, None] = {}
    broken = None
    for path in _files(root, top):
        at = str(below(root, path))
        try:
            entry = _described(path, os.stat(at), at, names)
            linked = os.path.islink(at)
        except OSError:
            broken = broken or path
            continue
        if linked:
            behind[os.path.dirname(_target(root, path))] = None
        key = str([entry[part] for part in ("kind", "mode", "uid", "gid", "acl")])
        kinds.setdefault(key, {**entry, "count": 0})["count"] += 1
    known = {step["path"] for step in steps}
    others: dict[str, dict[str, Any]] = {}
    for directory in behind:
        if not f"{directory}/".startswith(f"{top.rstrip('/')}/"):
            others.update((step["path"], step) for step in _steps(root, directory, names))
    return {
        "entries": list(kinds.values()),
        "behind": [step for path, step in others.items() if path not in known],
        "broken": broken,
    }


def _files(root: Path, top: str) -> Iterator[str]:
    """What engines read below a directory, and the directories in it; the first _MOST_FILES of them."""
    base, number = str(below(root, top)), 0
    for at, directories, names in os.walk(base):
        inside = os.path.relpath(at, base)
        depth = 0 if inside == "." else inside.count(os.sep) + 1
        directories[:] = sorted(d for d in directories if d[0] != "." and depth < _DEPTH)
        wanted = sorted(n for n in names if n[0] != "." and n.endswith(READ_BY_ENGINES))
        for name in [*directories, *wanted]:
            number += 1
            if number > _MOST_FILES:
                return
            yield os.path.normpath(os.path.join(top, inside, name))


def _target(root: Path, path: str) -> str:
    """Where a link leads, as a path below `root`."""
    at = str(below(root, path))
    target = os.path.join(os.path.dirname(path), os.readlink(at))
    return os.path.normpath(target)
