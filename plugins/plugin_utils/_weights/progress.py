# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a download is, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def size(count: float) -> str:
    """Bytes as people read them: `29.5 GB` (10^9), or MB below that."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def progress_line(state: Mapping[str, Any], rate: float | None) -> str:
    """One line of how far a model is.

    state: {model, phase, done, total, error}, bytes; rate: bytes per second, None if not known.
    """
    done, total, phase = state["done"], state["total"], state["phase"]
    line = f"{state['model']}: {phase}"
    if phase == "failed":
        return f"{line}: {state['error']}"
    if not total or phase in ("done", "waiting", "listing", "checking"):
        return line
    line += f" {min(100, 100 * done // total)} % ({size(done)} of {size(total)})"
    if rate and done < total:
        line += f", {rate / 1e6:.1f} MB/s, {duration((total - done) / rate)} left"
    return line


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`."""
    whole = int(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
