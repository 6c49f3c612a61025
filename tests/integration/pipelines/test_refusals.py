# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of the example that contact hosts, where they end before or at the first contact."""

from __future__ import annotations

from .fleet import Fleet


def test_a_stale_plan_that_was_merged_is_not_deployed(fleet: Fleet) -> None:
    fleet.add_model("Qwen3-32B")
    fleet.commit("Serve Qwen3-32B, without its plan")
    fleet.push("main")
    job = fleet.github("deploy")
    assert not job.ok
    assert "stale for 1 host: npu-01" in job.output
    assert "PLAY [Download the weights" not in job.output


def test_hosts_that_are_not_reached_have_an_issue(fleet: Fleet) -> None:
    fleet.refuse_connections()
    job = fleet.gitlab("drift")
    assert not job.ok
    [issue] = fleet.service.open
    assert "### npu-01: unreachable" in issue["description"]
    assert "### npu-02: unreachable" in issue["description"]
    assert "db-01" not in job.output
