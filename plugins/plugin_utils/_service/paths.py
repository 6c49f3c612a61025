# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the files of a service are on its host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def weights_directory(spec: Mapping[str, Any], weights_dir: str) -> str | None:
    """The directory of a spec's weights: its `path`, else by hub id; None if neither is known."""
    if spec.get("path"):
        return str(spec["path"])
    hub_id = spec.get("huggingface") or spec.get("modelscope")
    return f"{weights_dir.rstrip('/')}/{hub_id}" if hub_id else None
