# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the weights of a host say of their model: its configuration and their size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .._base.reading import read_json
from .files import below

# Names of labels, which nothing here needs; a classifier has thousands of them.
_LEFT_OUT = ("id2label", "label2id")
_WEIGHTS = (".safetensors", ".bin")


def configuration(root: Path, directory: str) -> dict[str, Any] | None:
    """{config, weight_bytes} of a directory; None where it has no config.json that can be read.

    weight_bytes: by the index of the weights, else by their files, else None.
    """
    at = below(root, directory)
    config = _mapping(at / "config.json")
    if config is None:
        return None
    kept = {key: value for key, value in config.items() if key not in _LEFT_OUT}
    return {"config": kept, "weight_bytes": weight_bytes(at)}


def _mapping(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def weight_bytes(at: Path) -> int | None:
    """Bytes of the weights in a directory: by their index, else by their files, else None."""
    try:
        names = sorted(os.listdir(str(at)))
    except OSError:
        return None
    for name in names:
        if name.endswith(".index.json"):
            metadata = (_mapping(at / name) or {}).get("metadata")
            total = metadata.get("total_size") if isinstance(metadata, dict) else None
            if isinstance(total, (int, float)) and total > 0:
                return int(total)
    for suffix in _WEIGHTS:
        sizes = []
        for name in names:
            if name.endswith(suffix):
                try:
                    sizes.append((at / name).stat().st_size)
                except OSError:
                    return None
        if sum(sizes):
            return sum(sizes)
    return None
