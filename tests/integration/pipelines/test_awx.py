# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example's playbooks for AWX, by ansible-runner, which runs the jobs of AWX."""

from __future__ import annotations

import json
import shlex
from typing import Any

from .fleet import Fleet


def job(fleet: Fleet, playbook: str, **survey: str) -> tuple[str, str, dict[str, Any]]:
    """Run a playbook of the project over the inventory that AWX has imported.

    Returns the status of the job, what it printed, and its artifacts.
    """
    place = fleet.root / "awx"
    inventory = fleet.run("ansible-inventory", "-i", "inventory", "--list", "--export").stdout
    script = place / "inventory" / "hosts"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"#!/bin/sh\necho {shlex.quote(inventory)}\n", encoding="utf-8")
    script.chmod(0o700)
    fleet.git("clone", "-q", str(fleet.origin), str(place / "project"))
    settings = place / "env"
    settings.mkdir()
    (settings / "extravars").write_text(json.dumps(survey), encoding="utf-8")
    (settings / "envvars").write_text(json.dumps({"PLAN_REMOTE": str(fleet.origin)}))
    fleet.run("ansible-runner", "run", str(place), "-p", f"awx/{playbook}.yml", "--ident", "job")
    made = place / "artifacts" / "job"
    events = [json.loads(path.read_text()) for path in (made / "job_events").glob("*-*.json")]
    [end] = [each["event_data"] for each in events if each["event"] == "playbook_on_stats"]
    status = (made / "status").read_text(encoding="utf-8")
    return status, (made / "stdout").read_text(encoding="utf-8"), end["artifact_data"]


def test_a_plan_is_an_artifact_and_a_branch_that_the_pipeline_takes(fleet: Fleet) -> None:
    fleet.install()
    fleet.add_model("Qwen3-32B")
    fleet.commit("Serve Qwen3-32B, without its plan")
    fleet.push("main")
    status, output, artifacts = job(fleet, "plan", plan_branch="planned")
    assert status == "successful", output
    plan = artifacts["fleet_plan"]
    assert plan["state"] == "written"
    assert [each["service"] for each in plan["changes"]] == ["qwen3-32b"]
    fleet.git("pull", "-q", "origin", "planned")
    current = fleet.run("ansible-playbook", "inferops.ascend.plan", "-e", "vllm_plan_locked=true")
    assert current.returncode == 0, current.stdout


def test_an_impossible_plan_fails_the_job_and_is_an_artifact(fleet: Fleet) -> None:
    fleet.install()
    fleet.add_model("Qwen3-235B-A22B\n    replicas: 9")
    fleet.commit("Serve too much")
    fleet.push("main")
    status, _output, artifacts = job(fleet, "plan", plan_branch="planned")
    assert status == "failed"
    assert artifacts["fleet_plan"]["state"] == "failed"
    assert "planned" not in fleet.git("ls-remote", "origin")


def test_the_result_of_a_comparison_is_an_artifact_also_if_no_host_is_reached(fleet: Fleet) -> None:
    fleet.install()
    fleet.refuse_connections()
    status, output, artifacts = job(fleet, "verify")
    assert status == "failed"
    assert artifacts["vllm_verify"]["hosts"]["unreachable"] == 2, output
    assert artifacts["vllm_verify"]["ok"] is False
