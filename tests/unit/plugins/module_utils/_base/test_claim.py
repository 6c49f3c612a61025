# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that one run has claimed is changed by no other, and a run that has ended keeps nobody out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base import claim


def run(name: str, **more: Any) -> dict[str, Any]:
    return {"run": name, "pid": 4711, "user": "eve\x1bc", "host": "ctl", "since": "noon", **more}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "claim.json")


def test_another_run_is_kept_out_and_told_whose_it_is(path: str) -> None:
    claim.take(run("a"), path)
    claim.take(run("a"), path)
    claim.check(run("a"), path)
    claim.check({}, path)
    for try_it in (claim.check, claim.take):
        with pytest.raises(claim.ClaimedError) as rejected:
            try_it(run("b"), path)
        assert "process 4711 of eve on ctl, since noon" in str(rejected.value)
        # Tasks before may have set up accounts or fetched weights.
        assert "No service was changed here" in str(rejected.value)
        assert rejected.value.claim["run"] == "a"


def test_check_mode_is_kept_out_where_a_change_follows(path: str) -> None:
    claim.take(run("a"), path)
    claim.foresee(run("b", foresee=False), path)
    claim.foresee({}, path)
    claim.foresee(run("a", foresee=True), path)
    with pytest.raises(claim.ClaimedError):
        claim.foresee(run("b", foresee=True), path)


def test_it_is_free_for_others_when_it_is_released_has_ended_or_is_taken_over(path: str) -> None:
    claim.take(run("a"), path)
    claim.release(run("b"), path)
    with pytest.raises(claim.ClaimedError):
        claim.check(run("b"), path)
    claim.release(run("a"), path)
    claim.check(run("b"), path)
    claim.take(run("a"), path)
    claim.take(run("b", ended=["a"]), path)
    with pytest.raises(claim.ClaimedError):
        claim.check(run("a"), path)
    claim.take(run("c", take_over=True), path)
    with pytest.raises(claim.ClaimedError):
        claim.check(run("b"), path)


def test_one_that_nobody_keeps_ends_by_itself(path: str) -> None:
    claim.take(run("a"), path)
    stored = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**stored, "until": stored["until"] - claim.LIFETIME - 1}))
    claim.check(run("b"), path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run": "a", "until": "soon"}', "nonsense"])
def test_what_is_no_claim_keeps_nobody_out(path: str, text: str) -> None:
    Path(path).write_text(text)
    claim.check(run("b"), path)
    claim.release(run("b"), path)
    claim.take(run("b"), path)
