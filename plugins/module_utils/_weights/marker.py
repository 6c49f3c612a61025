# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run downloaded and verified, remembered in a file of the directory; and checksums."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Callable

from .._base.errors import HostError
from .._base.files import write_atomically
from .._base.reading import open_regular
from .completeness import read_json

MARKER = ".inferops-ascend.json"
MADE_BY = "inferops.ascend.model_weights"
CHUNK = 1 << 20


def digest_of(path: str, kind: str, seen: Callable[[int], None] = lambda count: None) -> str | None:
    """Hash a file: kind `sha256`, or `git` for the SHA-1 that git gives a blob.

    `seen` is called with each number of bytes read. None where this host's Python refuses SHA-1.
    """
    hasher: Any
    if kind == "sha256":
        hasher = hashlib.sha256()
    else:
        try:
            hasher = hashlib.sha1()
        except ValueError:
            return None
        hasher.update(b"blob %d\0" % os.path.getsize(path))
    with open_regular(path) as handle:
        for block in iter(lambda: handle.read(CHUNK), b""):
            hasher.update(block)
            seen(len(block))
    return str(hasher.hexdigest())


def wrong_digest(path: str, digest: str, seen: Callable[[int], None] = lambda count: None) -> str:
    """The hash that a file has in place of `kind:HEX`; empty where it is right or not known."""
    kind, _colon, wanted = digest.partition(":")
    found = digest_of(path, kind, seen) if kind else None
    return "" if found in (None, wanted) else str(found)


def read_marker(directory: str) -> dict[str, Any] | None:
    """The marker of a directory that this collection made; None for any other."""
    try:
        marker = read_json(os.path.join(directory, MARKER))
    except (OSError, HostError):
        return None
    if not isinstance(marker, dict) or marker.get("made_by") != MADE_BY:
        return None
    files = marker.get("files")
    if not isinstance(files, dict) or not all(isinstance(each, dict) for each in files.values()):
        return None
    return marker


def write_marker(path: str, marker: dict[str, Any]) -> None:
    """Write a marker completely or not at all, readable by everybody."""
    text = json.dumps(dict(marker, made_by=MADE_BY), indent=1, sort_keys=True)
    write_atomically(path, text + "\n", 0o644)


def remembered(path: str, digest: str) -> dict[str, Any]:
    """The marker's entry of a file whose digest was found right just now."""
    status = os.stat(path)
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "digest": digest}


def is_remembered(path: str, entry: Any) -> bool:
    """Whether a file is still as it was when its entry was made, by size and time."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (
        isinstance(entry, dict)
        and status.st_size == entry.get("size")
        and status.st_mtime_ns == entry.get("mtime_ns")
    )
