# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which option list counts for a version of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import (
    facts_of,
    list_of,
    load_options,
    missing_list,
    named_list,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.versions import rows


@pytest.mark.parametrize(
    "version", ["0.18.0", "v0.18.0", "0.18.0.post1", "0.18.0+empty", "0.18.0rc1"]
)
def test_a_version_has_its_own_list_and_so_have_rebuilds_and_candidates(version: str) -> None:
    assert (list_of(version), missing_list(version)) == ("0.18.0", None)


@pytest.mark.parametrize(
    ("version", "listed"),
    [
        ("0.19.1", "0.18.0"),
        ("0.14.0rc1", "0.13.0"),  # of vLLM 0.14.1
        ("0.30.0rc2", "0.23.0"),
        ("0.33.0", "0.32.0"),
        ("0.41.2rc3", "0.32.0"),  # no row
        ("0.7.3", "0.9.1"),  # none is older
    ],
)
def test_another_version_has_the_nearest_older_list_and_says_so(version: str, listed: str) -> None:
    assert list_of(version) == listed
    assert missing_list(version) == (
        f"vLLM {version} has no option list here; args are read by that of vLLM {listed}"
    )


def test_every_row_of_the_matrix_has_a_list() -> None:
    for row in rows():
        own = load_options()[list_of(row.vllm_ascend)]
        assert "max-model-len" in own


@pytest.mark.parametrize("version", ["newest", "", "_about", "0.18", "0.18.x"])
def test_what_is_no_version_is_rejected(version: str) -> None:
    with pytest.raises(AscendError, match="not a version. Write it as in 0.18.0"):
        list_of(version)


@pytest.mark.parametrize("name", ["banana", "0.23", 0.23, ["a"]])
def test_what_names_no_list_is_rejected_as_what_it_is(name: object) -> None:
    with pytest.raises(AscendError, match="vllm_runtime_row, options: .* is neither a version"):
        named_list(name, "0.18.0")


def test_a_file_that_is_no_list_is_named(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    with pytest.raises(AscendError, match="options.json cannot be read: No such file"):
        facts_of(named_list(str(file), ""))
    file.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(AscendError, match="options.json cannot be read: .*the playbook inferops"):
        facts_of(named_list(str(file), ""))
