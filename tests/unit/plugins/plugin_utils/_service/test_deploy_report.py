# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment did on each host, by what its tasks registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import deploy_report

ANSWERED: dict[str, Any] = {"vllm_deploy_answer": {"changed": False}}
CHECKED = {**ANSWERED, "ascend_host_deployment": {"changed": False}}
LOST = {"unreachable": True, "msg": "no route to host"}

Report = Callable[..., dict[str, Any]]


def done(name: str, action: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "action": action, "reason": "why", "boot": "none", "files": [], **more}


@pytest.fixture
def ended(repository: Path) -> Report:
    schema = json.loads((repository / "vars/schemas/deploy.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)

    def report(registered: dict[str, Any], *, going: bool = False) -> dict[str, Any]:
        hosts = {"h1": registered}
        found = deploy_report.ended(hosts, ["h1"] if going else [], check=False)
        jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(found)))
        (result,) = found["results"]
        return {**result, "ok": found["ok"], "counts": found["services"]}

    return report


def test_what_is_done_in_two_runs_is_told_once(ended: Report) -> None:
    leader, member = done("chat", "restart", files=["/etc/vllm/chat.yaml"]), done("big", "none")
    first = {
        "changed": True,
        "services": [leader, {**member, "files": ["/etc/vllm/big.yaml"]}],
        "removed": ["old"],
        "status": [{"name": "chat", "state": "starting"}],
    }
    found = ended(
        {
            **CHECKED,
            "vllm_service_result": first,
            "vllm_service_members": {
                "changed": True,
                "services": [done("chat", "none"), done("big", "restart")],
            },
            "vllm_service_ready": {"services": [{"name": "chat", "state": "ready"}]},
        },
        going=True,
    )
    assert (found["state"], found["ok"]) == ("changed", True)
    assert {each["name"]: (each["action"], each["files"]) for each in found["services"]} == {
        "chat": ("restart", ["/etc/vllm/chat.yaml"]),
        "big": ("restart", ["/etc/vllm/big.yaml"]),
    }
    assert [each["state"] for each in found["services"]] == ["ready", None]
    assert found["counts"] == {"restart": 2, "remove": 1}


@pytest.mark.parametrize(
    ("registered", "state", "step", "words"),
    [
        ({"vllm_deploy_answer": LOST}, "unreachable", "reach", "no route"),
        ({**ANSWERED, "ascend_host_deployment": LOST}, "unreachable", "check", "no route"),
        (CHECKED, "unreachable", "other", "lost on the way"),
        ({**CHECKED, "vllm_deploy_ended": True}, "failed", "other", "has its message"),
        # Of a part of `site` before, which ended the run for this host.
        ({"ascend_host_deployment": {"changed": False}}, "failed", "other", "has its message"),
        (
            {**CHECKED, "vllm_deploy_ended": True, "ansible_failed_result": {"msg": "No account"}},
            "failed",
            "other",
            "No account",
        ),
        (
            {**CHECKED, "vllm_service_ready": {"failed": True, "msg": "chat has failed"}},
            "failed",
            "ready",
            "chat has failed",
        ),
    ],
)
def test_a_host_that_fell_out_has_the_step_and_the_reason(
    ended: Report, registered: dict[str, Any], state: str, step: str, words: str
) -> None:
    found = ended(registered)
    assert (found["state"], found["step"], found["ok"]) == (state, step, False)
    assert words in found["message"]
    assert found["refused"] == []


def test_what_is_rejected_is_told_with_its_service_and_is_not_done(ended: Report) -> None:
    refused = [{"name": "chat", "message": "vllm@chat.service is masked."}]
    result = {"failed": True, "msg": "...", "refused": refused, "services": [done("chat", "start")]}
    found = ended({**CHECKED, "__vllm_service_foreseen": result, "vllm_service_result": result})
    assert found["refused"] == [{"service": "chat", "message": "vllm@chat.service is masked."}]
    assert found["services"] == []
    held = {"vllm_service_result": {"changed": False, "held": {"big": "h2 has another version."}}}
    found = ended({**CHECKED, **held, "vllm_deploy_ended": True})
    assert (found["state"], found["step"]) == ("failed", "group")
    assert [each["service"] for each in found["refused"]] == ["big"]
    preflight = {"failed": True, "msg": "ERROR card 3: unhealthy"}
    found = ended({**ANSWERED, "ascend_host_deployment": preflight})
    assert found["refused"] == [{"service": "", "message": "ERROR card 3: unhealthy"}]


def test_a_run_that_was_killed_leaves_its_hosts_unknown() -> None:
    found = deploy_report.begun({"h1": ANSWERED, "h2": {"vllm_deploy_answer": LOST}}, check=False)
    assert (found["complete"], found["ok"]) == (False, False)
    assert found["hosts"] == {"unknown": 1, "unreachable": 1}


def test_hosts_beside_one_with_wrong_variables_are_unknown() -> None:
    found = deploy_report.rejected({"h1": ["a is wrong.", "b is wrong."], "h2": []}, check=True)
    assert (found["complete"], found["hosts"]) == (False, {"failed": 1, "unknown": 1})
    first, second = found["results"]
    assert [each["message"] for each in first["refused"]] == ["a is wrong.", "b is wrong."]
    assert "not contacted" in second["message"] and second["refused"] == []
