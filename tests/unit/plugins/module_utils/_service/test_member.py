# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a member of a service over several hosts tells about it, by its guard and its journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service import status
from ansible_collections.inferops.ascend.plugins.module_utils._service.journal import phases_of
from ansible_collections.inferops.ascend.plugins.module_utils._service.member import Membership
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

BOTH = "all 2 members are here, starting"
RUNS = "running since 2026-11-29 18:38:01 +0000"
NOW = 1795977481.0 + 60  # a minute later
WAITS = "waiting for rank 1 (npu-02, 10.0.0.2) since 2026-11-29 18:38:01 +0000"
LOADED = "INFO:     Application startup complete."


def check(
    root: Path,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    *lines: str,
    rank: int = 0,
    port: int = 1,
    **request: Any,
) -> dict[str, Any]:
    """What is reported of a member with this status of its guard and these lines of its journal."""
    members = [{"host": f"npu-0{n}", "address": f"10.0.0.{n}"} for n in (1, 2)]
    described = {"rank": rank, "members": members, "port": 20000, "digest": "d1"}
    folder = root / "etc/vllm"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chat.yaml").write_text(f"port: {port}\nhost: 127.0.0.1\n")
    (folder / "chat.group.json").write_text(f"# managed\n{json.dumps(described)}")
    entries = [{"MESSAGE": line, "_SYSTEMD_INVOCATION_ID": "one"} for line in reversed(lines)]
    journal = "\n".join(json.dumps(entry) for entry in entries).encode()
    monkeypatch.setattr(status, "run", lambda *_given: journal)
    values = {"ActiveState": "active", "MainPID": "10", "InvocationID": "one", "StatusText": text}
    service = status.ServiceCheck(
        status.StatusRequest("chat", **request),
        "vllm@.service",
        {**values, "ExecMainStartTimestampMonotonic": "1000000"},
        status.Limits(timeout=5.0),
        phases_of(causes.phases()),
        causes.failures(),
        {},
        root,
    )
    return service.facts(3600.0, NOW)


def test_it_says_for_whom_it_waits_and_not_whom_it_lost_before() -> None:
    member = Membership({"rank": 0}, f"{WAITS}; lost rank 2 (npu-03): its connection ended")
    assert (member.missing, member.since) == ([1], NOW - 60)
    assert not Membership({"rank": 0}, "").is_complete
    assert Membership({"rank": 0}, "stopping").since is None


@pytest.mark.parametrize(("rank", "missing"), [(0, [1]), (1, [0])])
def test_a_member_that_waits_is_starting_though_its_engine_has_served(
    rank: int, missing: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = WAITS.replace("rank 1", f"rank {missing[0]}") + "; 10.0.0.2 (npu-02) has other settings"
    lines = (f"group: {BOTH}", LOADED, "NPU out of memory.", f"group: {text}")
    found = check(tmp_path, text, monkeypatch, *lines, rank=rank)
    assert (found["state"], found["phase"], found["elapsed"]) == ("starting", None, 60.0)
    assert found["group"]["missing"] == missing
    assert found["cause"]["id"] == "group-other-settings"


def test_a_refusal_that_has_passed_is_no_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"group: {WAITS}; 10.0.0.2 (npu-02) has other settings"
    assert check(tmp_path, WAITS, monkeypatch, line)["cause"] is None


def test_an_engine_that_its_guard_started_again_begins_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = "Loading safetensors checkpoint shards:  25% Completed | 1/4"
    lines = (f"group: {BOTH}", LOADED, f"group: {WAITS}", f"group: {BOTH}", again)
    found = check(tmp_path, RUNS, monkeypatch, *lines)
    assert (found["state"], found["phase"], found["percent"]) == ("starting", "weights", 25)
    assert found["elapsed"] == 60.0


def test_a_member_is_ready_when_all_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = check(tmp_path, RUNS, monkeypatch, rank=1)
    assert (found["state"], found["http"]["error"], found["headless"]) == ("ready", None, True)
    found = check(tmp_path, BOTH, monkeypatch, rank=1)
    assert found["state"] == "starting"


def test_a_leader_completes_when_that_is_asked_and_only_then(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(completes=500)
    assert check(tmp_path, RUNS, monkeypatch, port=port)["state"] == "ready"
    dead = check(tmp_path, RUNS, monkeypatch, LOADED, port=port, completion=True)
    assert (dead["state"], dead["http"]["error"]) == ("unhealthy", "/v1/completions answers 500")


def test_a_completion_has_the_key_of_the_service(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(key="opensesame")
    (tmp_path / "etc/vllm").mkdir(parents=True)
    (tmp_path / "etc/vllm/chat.env").write_text('VLLM_API_KEY="opensesame"\n')
    found = check(tmp_path, RUNS, monkeypatch, port=port, completion=True)
    assert (found["state"], found["http"]["error"]) == ("ready", None)
