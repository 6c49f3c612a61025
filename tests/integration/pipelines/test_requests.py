# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pull or merge request that changes what is served, in the example's pipelines."""

from __future__ import annotations

from .fleet import Fleet, services

NEW = {"qwen3-32b": "`npu-01` 2-3"}


def test_a_new_model_shows_in_one_comment_however_often_it_is_planned(
    fleet: Fleet,
) -> None:
    fleet.add_model("Qwen3-32B")
    fleet.commit("Serve Qwen3-32B")
    fleet.request()
    stale = fleet.github("plan")
    assert not stale.ok
    [comment] = fleet.service.ours
    assert services(comment) == NEW
    assert "+  - name: qwen3-32b" in comment, "the files that are to be committed"

    written = fleet.run("ansible-playbook", "inferops.ascend.plan")
    assert written.returncode == 0, written.stdout
    fleet.commit("Plan it")
    fleet.request()
    current = fleet.github("plan")
    assert current.ok, current.output
    [comment] = fleet.service.ours
    assert services(comment) == NEW
    assert "Not what is committed" not in comment
    assert not (fleet.work / "inventory" / "host_vars" / "db-01").exists()


def test_a_model_without_room_has_the_reason_in_the_comment(fleet: Fleet) -> None:
    fleet.add_model("Qwen3-235B-A22B\n    replicas: 9")
    fleet.commit("Serve too much")
    fleet.request()
    assert not fleet.github("plan").ok
    [comment] = fleet.service.ours
    assert "There is no plan" in comment
    assert "- service qwen3-235b-a22b needs 16 cards" in " ".join(comment.split())


def test_cards_that_were_moved_by_hand_pass_and_are_shown(fleet: Fleet) -> None:
    path = fleet.work / "inventory" / "host_vars" / "npu-02" / "vllm_service_instances.yml"
    path.write_text(path.read_text().replace("cards: [1]", "cards: [5]"))
    fleet.commit("Move a service")
    fleet.request()
    moved = fleet.gitlab("plan")
    assert moved.ok, moved.output
    [comment] = fleet.service.ours
    assert "-    cards: [5]" in comment


def test_a_request_from_a_fork_is_planned_without_a_comment(fleet: Fleet) -> None:
    fleet.request()
    job = fleet.github("plan", fork=True)
    assert job.ok, job.output
    assert "Fleet plan" in job.summary
    assert fleet.service.ours == []
