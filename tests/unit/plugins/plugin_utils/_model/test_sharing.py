# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of services that have a card together with others."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.identify import OnHost
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.sharing import shared_positions
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms

from .resolving import CATALOGUE, rejection, spec, user_table

SMALL = {"model": "bge-m3", "share": True, "gpu_memory_utilization": 0.3}


def test_a_part_of_the_memory_is_served_by_an_estimate_with_one_warning() -> None:
    found = spec(SMALL)
    assert (found["share"], found["gpu_memory_utilization"]) == (True, 0.3)
    assert (found["cards"], found["min_cards"], found["max_model_len"]) == (1, 1, 8192)
    assert found["provenance"]["basis"] == "estimated"
    (warning,) = found["warnings"]
    assert warning.startswith("estimated, never run: bge-m3")
    assert (
        "row 41: 8192 tokens on 1 card at utilization 0.95) is valid at 0.95 and above" in warning
    )


def test_the_part_that_the_row_was_measured_with_keeps_its_basis() -> None:
    found = spec({**SMALL, "gpu_memory_utilization": 0.95})
    assert (found["provenance"]["basis"], found["warnings"]) == ("measured", [])


def test_an_estimate_is_never_longer_than_the_row(tmp_path: Path) -> None:
    table = user_table(tmp_path, "  - {model: Qwen3-8B, min_cards: 1, max_model_len_k: 8}\n")
    asked = {"model": "Qwen3-8B", "share": True, "gpu_memory_utilization": 0.5}
    assert spec(asked, table)["max_model_len"] == 8192
    assert "is 16384; the longest" in rejection({**asked, "max_model_len": "16K"}, table)


def test_a_part_that_does_not_hold_the_weights() -> None:
    asked = {"model": "Qwen3-14B", "share": True, "gpu_memory_utilization": 0.4}
    assert rejection(asked) == (
        "Qwen3-14B on 1 card of 64 GB should carry 0 tokens at utilization 0.4 by estimate. Give it"
        " more cards, or more gpu_memory_utilization."
    )
    untested = spec(asked, allow_untested=True)
    assert untested["max_model_len"] == 32768
    assert "untested: Qwen3-14B on 1 card" in untested["warnings"][-1]


def test_what_has_to_be_stated() -> None:
    alone = {"model": "bge-m3", "share": True}
    assert rejection(alone) == (
        "bge-m3 has share: true, so its part of the memory of each card has to be stated. Write"
        " gpu_memory_utilization beside it, such as 0.3."
    )
    assert rejection({**SMALL, "share": "yes"}) == (
        "share of bge-m3 is 'yes'; write true or false."
    )
    cluster = {"leader": "h1", "rank": 0, "hosts": ["h1", "h2"]}
    spanning = {"model": "Qwen3-8B", "share": True, "gpu_memory_utilization": 0.4, "cards": 1}
    assert "spans several hosts" in rejection({**spanning, "cluster": cluster})


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"engine_version": "0.13.0"}, "the version is 0.13.0 (vllm-ascend issues 5917 and 7308)"),
        ({"engine_version": "0.17.0rc1"}, "vllm-ascend before 0.18.0"),
        (
            {"engine_version": "0.23.0", "profile": "atlas-300i-duo-96g", "estimate": True},
            "chips 310P",
        ),
    ],
)
def test_engines_that_count_the_memory_of_others(where: dict[str, object], why: str) -> None:
    assert why in rejection(SMALL, **where)
    (first, *_others) = spec(SMALL, allow_untested=True, **where)["warnings"]
    assert first.startswith("untested: bge-m3 shares its cards") and why in first


def test_engines_that_count_their_memory_alone() -> None:
    for version in ("0.18.0rc1", "0.18.0", "0.23.0"):
        assert len(spec(SMALL, engine_version=version)["warnings"]) == 1


def test_requests_that_name_the_same_cards_share_them() -> None:
    one, other = {"model": "a", "cards": [1, 0]}, {"model": "b", "cards": [0, 1]}
    assert shared_positions(["c", one, other, {"model": "d", "cards": [0]}]) == {1, 2}
    assert shared_positions([one, {**other, "share": False}]) == set()
    assert shared_positions([one, {**other, "state": "absent"}]) == set()


def test_terms_that_name_the_same_cards_are_estimated() -> None:
    """As the host's services are, so that roles which resolve them otherwise agree."""
    terms = [{"model": "bge-m3", "cards": [0], "gpu_memory_utilization": 0.3}, "Qwen3-14B"]
    with pytest.raises(AscendError, match="is valid at 0.95 and above"):
        resolve_terms(terms, CATALOGUE, Options())
    specs = resolve_terms([*terms, {**SMALL, "cards": [0]}], CATALOGUE, Options())
    assert [spec.provenance["basis"] for spec in specs] == ["estimated", "measured", "estimated"]


def test_a_part_is_asked_for_before_the_weights_are_read() -> None:
    asked = {"model": "/data/unknown", "share": True}
    assert "has to be stated" in rejection(asked, estimate=True, on_host=OnHost())
