# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a download is, in words."""

from __future__ import annotations

from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.progress import (
    duration,
    progress_line,
)


def test_progress_in_words() -> None:
    state = {
        "model": "Qwen3-14B",
        "phase": "fetching",
        "done": 11 * 10**9,
        "total": 29_540_067_328,
        "error": "",
    }
    assert progress_line(state, 112.3e6) == (
        "Qwen3-14B: fetching 37 % (11.0 GB of 29.5 GB), 112.3 MB/s, 3 min left"
    )
    assert (
        progress_line({**state, "phase": "failed", "error": "no room"}, None)
        == "Qwen3-14B: failed: no room"
    )
    assert progress_line({**state, "phase": "waiting"}, None) == "Qwen3-14B: waiting"


def test_durations_in_words() -> None:
    assert [duration(each) for each in (45.2, 100, 5399, 12_000)] == [
        "45 s",
        "2 min",
        "90 min",
        "3 h 20 min",
    ]
