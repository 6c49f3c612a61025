# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services over several hosts, as verify sees them: by host, and each as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift, drift_report

from .readings import WANTED, card, plan, seen, served

HOSTS = ["npu-01", "npu-02"]
RUNS = "running since 2026-11-29 18:38:01 +0000"
WAITS = "waiting for rank 1 (npu-02, 10.0.0.2) since 2026-11-29 18:38:01 +0000"


def part(
    rank: int, status: str = RUNS, missing: tuple[int, ...] = (), **changed: Any
) -> dict[str, Any]:
    """The report of one host of the service chat."""
    group = {
        "rank": rank,
        "members": [{"host": host, "address": f"10.0.0.{host[-1]}"} for host in HOSTS],
        "digest": "d1",
        "status": status,
        "missing": list(missing),
        **changed,
    }
    state = "ready" if status == RUNS else "starting"
    answer = {"http": served(("Qwen3-14B", 32768), ("chat", 32768))} if not rank else {}
    unit = "vllm@chat.service"
    comparison = drift.compare(
        HOSTS[rank],
        [{**WANTED[0], "hosts": HOSTS, "rank": rank}],
        converged={"services": [plan("chat")]},
        status={
            "services": [seen("chat", state, [0, 1], group=group, headless=bool(rank), **answer)]
        },
        facts={
            "npu": {"cards": [card(n, (7, unit)) for n in (0, 1)], "problems": []},
            "services": [{"unit": unit, "pids": [42, 7], "cards": [0, 1]}],
        },
    )
    return drift_report.as_dict(comparison)


def as_one(*reports: dict[str, Any]) -> tuple[str, str]:
    (found,) = drift_report.summary(list(reports))["groups"]
    assert (found["name"], found["hosts"]) == ("chat", HOSTS)
    return found["result"], found["message"]


def test_a_member_without_an_api_is_right_and_the_service_is_one_line() -> None:
    reports = [part(0), part(1)]
    assert all(each["ok"] for each in reports)
    assert drift_report.lines(reports)[-4:] == [
        "Services over several hosts:",
        "  ok       chat (npu-01, npu-02): all 2 members run since 2026-11-29",
        "           18:38:01 +0000.",
        "Hosts: 2 ok; services: 2 ok.",
    ]


def test_the_rank_that_is_missing_is_named_with_since_when() -> None:
    lost = drift_report.as_dict(
        drift.compare("npu-02", [], status={"unreachable": True, "msg": "no route"})
    )
    waiting = part(0, WAITS + "; lost rank 1 (npu-02): no word for 10 s", (1,))
    (finding,) = waiting["services"][0]["findings"]
    assert finding["code"] == "member" and "lost rank 1" in finding["message"]
    assert as_one(waiting, lost) == ("differs", f"{WAITS}; npu-02 was not reached.")


def test_members_with_other_addresses_or_settings_are_a_difference() -> None:
    words = "the files of its hosts have different {}; run deploy on all of them."
    other = part(1, digest="d2")
    assert other["ok"]
    comparison, message = as_one(part(0), other)
    assert comparison == "differs" and message.endswith(words.format("settings"))
    moved = [{"host": "npu-01", "address": "10.9.9.9"}, {"host": "npu-02", "address": "10.0.0.2"}]
    comparison, message = as_one(part(0), part(1, members=moved))
    assert comparison == "differs" and message.endswith(words.format("addresses"))


def test_a_run_over_some_of_its_hosts_tells_what_it_does_not_know() -> None:
    comparison, message = as_one(part(1))
    assert comparison == "unknown" and message.endswith("; npu-01 is not part of this run.")


def test_hosts_that_list_different_members_are_two_services() -> None:
    alone = drift.compare("npu-02", WANTED[:1])
    comparison, message = as_one(part(0), drift_report.as_dict(alone))
    assert comparison == "differs"
    assert message.endswith("; the variables of npu-02 do not list it over these hosts.")


def test_a_run_does_not_pass_while_its_hosts_have_different_settings() -> None:
    apart, alike = [part(0), part(1, digest="d2")], [part(0), part(1)]
    assert not drift_report.summary(apart)["ok"]
    assert list(drift_report.failures(apart)) == ["npu-01"]
    assert drift_report.summary(alike)["ok"]
    assert drift_report.failures(alike) == {}


def test_the_file_is_as_its_schema_describes_it(repository: Path) -> None:
    schema = json.loads((repository / "vars/schemas/verify.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    lost = drift.compare("npu-03", [], status={"unreachable": True, "msg": "no route"})
    reports = [part(0), part(1, WAITS, (1,)), drift_report.as_dict(lost)]
    reports.append(drift_report.missing("npu-04"))
    data = {**drift_report.summary(reports), "results": reports}
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(data)))
    assert data["groups"] and data["hosts"]["unreachable"] == data["hosts"]["failed"] == 1
