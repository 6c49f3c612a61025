# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a model on a host, as far as reading them is cheap. Paths are below `root`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from .._base.reading import OutOfBounds, open_regular
from .files import below

# What an engine reads. Of weights the size counts, of the rest the content.
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
_TEXTS = (".json", ".txt", ".model", ".py", ".jinja", ".tiktoken")
READ_BY_ENGINES = _WEIGHTS + _TEXTS
_SMALL = 32 << 20  # bytes up to which the content is read
_DEPTH = 3  # directories


def weight_files(root: Path, directory: str) -> dict[str, str] | None:
    """By name below the directory, the size of each file and, of small texts, a digest.

    None where the directory has no such file. Hidden files, and what no engine reads, are left out.
    """
    top = str(below(root, directory))
    found: dict[str, str] = {}
    for path, directories, names in os.walk(top):
        inside = os.path.relpath(path, top)
        depth = 0 if inside == "." else inside.count(os.sep) + 1
        directories[:] = sorted(d for d in directories if d[0] != "." and depth < _DEPTH)
        for name in names:
            if name[0] != "." and name.endswith(READ_BY_ENGINES):
                at = os.path.join(path, name)
                found[os.path.relpath(at, top)] = _mark(at)
    return found or None


def _mark(path: str) -> str:
    try:
        size = os.path.getsize(path)
        if path.endswith(_WEIGHTS) or size > _SMALL:
            return f"{size} bytes"
        with open_regular(path) as file:
            return f"{size} bytes, sha256 {hashlib.sha256(file.read()).hexdigest()[:16]}"
    except OutOfBounds as error:
        return f"unreadable: {error}"
    except OSError as error:
        return f"unreadable: {os.strerror(error.errno or 0)}"
