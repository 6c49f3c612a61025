# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a file or a text of JSON contains, reading it ends, and the error is one of ours."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base import files, reading
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from hypothesis import given, settings
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "deeper than 100 levels"),
        ("[" * 101 + "]" * 101, "deeper than 100 levels"),
        ('{"a":' * 300 + "1" + "}" * 300, "deeper than 100 levels"),
        ('{"a": 1e400}', "the number 1e400 is too large"),
        ("9" * 5000, "has more than 1000 digits"),
    ],
)
def test_json_out_of_bounds_is_an_error_of_ours(text: str, words: str) -> None:
    with pytest.raises(reading.OutOfBounds, match=words):
        reading.parse_json(text)


def test_depth_of_real_files_passes() -> None:
    assert reading.parse_json("[" * 100 + "]" * 100)
    assert reading.parse_json('{"time_step_limit": [0.0, Infinity]}')["time_step_limit"][1] > 1e300


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.text(alphabet='[]{}",:0123456789eE+-.\\ntfu ', max_size=200) | JSON.map(repr))
def test_any_text_is_read_or_is_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        reading.parse_json(text)


def test_a_pipe_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    begin = time.monotonic()
    for path in (tmp_path / "config.json", Path("/dev/zero"), tmp_path):
        with pytest.raises(reading.OutOfBounds, match="it is not a file"):
            reading.read_json(path)
    with pytest.raises(HostError, match=r"config\.json cannot be read: it is not a file"):
        files.read_text(str(tmp_path / "config.json"))
    assert time.monotonic() - begin < 5


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(reading.OutOfBounds, match="more than 100000000 bytes"):
        reading.read_bytes(path)
    path.write_bytes(b"12345")
    assert reading.read_bytes(path, 5) == b"12345"
    with pytest.raises(reading.OutOfBounds, match="more than 4 bytes"):
        reading.read_bytes(path, 4)
    assert reading.read_text("/proc/self/status").startswith("Name:")
