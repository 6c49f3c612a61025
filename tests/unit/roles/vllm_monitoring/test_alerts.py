# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each alert fires where it should and is silent where it should, as promtool evaluates it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

CHAT = 'host="h1",service="chat",replica="chat",model="Qwen3-14B"'
ENGINE = f'{CHAT},engine="0"'
UP = f'up{{job="vllm",{CHAT}}}'
OTHER = 'up{job="vllm",host="h2",service="chat",replica="chat",model="Qwen3-14B"}'
CARD = 'host="h1",id="3"'
INFO = f'inferops_service_card_info{{{CHAT},id="3"}}'
HEALTH = f"npu_chip_info_health_status{{{CARD}}}"
SERVER = 'haproxy_server_status{job="haproxy",host="gw",proxy="model-chat",server="chat:h1",state="DOWN"}'
DRAINED, MAINTAINED = SERVER.replace("DOWN", "DRAIN"), SERVER.replace("DOWN", "MAINT")
BACKEND = 'haproxy_backend_status{job="haproxy",host="gw",proxy="model-chat",state="DOWN"}'

Series = dict[str, str]


class Case(NamedTuple):
    """fires, silent: values by series, one a minute. labels: of the alert that fires, after so many minutes."""

    fires: Series
    silent: Series
    labels: Series = {}
    minutes: int = 30


def waiting(values: str) -> Series:
    return {f"vllm:num_requests_waiting{{{ENGINE}}}": values}


def ttft(seconds_bucket: str) -> Series:
    """100 requests a minute that all fall into one bucket."""
    name = "vllm:time_to_first_token_seconds_bucket"
    return {
        f'{name}{{{ENGINE},le="1.0"}}': "0x40" if seconds_bucket != "1.0" else "0+100x40",
        f'{name}{{{ENGINE},le="20.0"}}': "0+100x40",
        f'{name}{{{ENGINE},le="+Inf"}}': "0+100x40",
        "inferops_first_token_seconds_limit": "10x40",
    }


def running(tokens: str, ended: str) -> Series:
    return {
        f"vllm:num_requests_running{{{ENGINE}}}": "2x40",
        f"vllm:generation_tokens_total{{{ENGINE}}}": tokens,
        f"vllm:prompt_tokens_total{{{ENGINE}}}": "500x40",
        f'vllm:request_success_total{{{ENGINE},finished_reason="stop"}}': ended,
        f'vllm:request_success_total{{{ENGINE},finished_reason="abort"}}': "0x40",
    }


CASES = {
    "VllmReplicaDown": Case(
        {UP: "1 0x40", OTHER: "1x40"}, {UP: "1 0 1x40"}, {"host": "h1", "replica": "chat"}
    ),
    "VllmServiceDown": Case(
        {UP: "0x40", OTHER: "0x40"}, {UP: "0x40", OTHER: "1x40"}, {"service": "chat"}
    ),
    "VllmReplicasMissing": Case(
        {UP: "1x40", 'inferops_service_replicas_expected{service="chat"}': "2x40"},
        {
            UP: "1x40",
            OTHER: "0x40",  # known, though it does not answer
            'inferops_service_replicas_expected{service="chat"}': "2x40",
        },
        {"service": "chat"},
    ),
    "VllmKvCacheFull": Case(
        {f"vllm:gpu_cache_usage_perc{{{ENGINE}}}": "0.99x40", **waiting("3x40")},
        {f"vllm:kv_cache_usage_perc{{{ENGINE}}}": "0.99x40", **waiting("0x40")},
        {"replica": "chat"},
    ),
    "VllmRequestsWaiting": Case(waiting("1x40"), waiting("1x8 0 1x8 0 1x8 0 1x8"), {"host": "h1"}),
    "VllmPreemptions": Case(
        {f"vllm:num_preemptions_total{{{ENGINE}}}": "0+1x40"},
        {f"vllm:num_preemptions_total{{{ENGINE}}}": "7x40"},
        {"replica": "chat"},
    ),
    "VllmSlowFirstToken": Case(ttft("20.0"), ttft("1.0"), {"service": "chat"}),
    "VllmHangs": Case(running("9x40", "4x40"), running("0+5x40", "4x40"), {"replica": "chat"}),
    "VllmServerErrors": Case(
        {
            f'http_requests_total{{job="vllm",{CHAT},status="5xx",handler="/v1/chat/completions"}}': "0+1x40"
        },
        {
            f'http_requests_total{{job="vllm",{CHAT},status="4xx",handler="/v1/chat/completions"}}': "0+1x40"
        },
        {"replica": "chat"},
    ),
    "NpuUnhealthy": Case(
        {HEALTH: "0x40", INFO: "1x40"}, {HEALTH: "1x40", INFO: "1x40"}, {"service": "chat"}
    ),
    "NpuUnknown": Case({HEALTH: "-1x40"}, {HEALTH: "1x40", INFO: "1x40"}, {"id": "3"}),
    "NpuErrorCode": Case(
        {f"npu_chip_info_error_code_1{{{CARD}}}": "2147x40", HEALTH: "1x40"},
        {f"npu_chip_info_error_code{{{CARD}}}": "0x40", HEALTH: "1x40"},
        {"id": "3", "host": "h1"},
    ),
    "NpuCardsMissing": Case(
        {'machine_npu_nums{host="h1"}': "7x40", 'inferops_host_cards_expected{host="h1"}': "8x40"},
        {'machine_npu_nums{host="h1"}': "8x40", 'inferops_host_cards_expected{host="h1"}': "8x40"},
        {"host": "h1"},
    ),
    "NpuMemoryErrors": Case(
        {
            f"npu_chip_info_hbm_ecc_double_bit_error_cnt{{{CARD}}}": "1x40",
            HEALTH: "1x40",
            INFO: "1x40",
        },
        {f"npu_chip_info_hbm_ecc_double_bit_error_cnt{{{CARD}}}": "-1x40", HEALTH: "1x40"},
        {"service": "chat"},
    ),
    "NpuHot": Case(
        {
            f"npu_chip_info_temperature{{{CARD}}}": "91x40",
            HEALTH: "1x40",
            "inferops_card_temperature_limit": "90x40",
        },
        {f"npu_chip_info_temperature{{{CARD}}}": "91x40", HEALTH: "1x40"},  # no limit is set
        {"id": "3"},
    ),
    "NpuExporterDown": Case(
        {'up{job="npu-exporter",host="h1"}': "0x40", UP: "1x40"},
        {'up{job="npu-exporter",host="h1"}': "0x40", UP: "0x40"},
        {"host": "h1"},
    ),
    "GatewayDown": Case(
        {'up{job="haproxy",host="gw"}': "0x40"}, {'up{job="haproxy",host="gw"}': "1x40"}
    ),
    "GatewayServerDown": Case({SERVER: "1x40"}, {SERVER: "1 0x40"}, {"server": "chat:h1"}),
    "GatewayServerDrained": Case(
        {DRAINED: "1x30 0x69", MAINTAINED: "0x30 1x69"},
        {DRAINED: "1x40 0x59", MAINTAINED: "0x50 1x49"},
        {"server": "chat:h1"},
        90,
    ),
    "GatewayModelDown": Case({BACKEND: "1x40"}, {BACKEND: "0x40"}, {"proxy": "model-chat"}),
}


def alerts(rules: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def tried(name: str, case: Case, count: int) -> dict[str, Any]:
    """A case in promtool's form: how many of the alert fire, 1 or 0."""
    series, labels = (case.fires, case.labels) if count else (case.silent, {})
    chosen = {"alertname": name, "alertstate": "firing", **labels}
    matchers = ",".join(f'{label}="{value}"' for label, value in chosen.items())
    return {
        "name": f"{name} {'fires' if count else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count(ALERTS{{{matchers}}}) or vector(0)",
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": "{}", "value": count}],
            }
        ],
    }


def run_cases(
    promtool: Path, rules: Path, directory: Path, cases: Sequence[dict[str, Any]]
) -> None:
    """Have promtool try cases in its form."""
    file = directory / "cases.yml"
    tests = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": list(cases)}
    file.write_text(yaml.safe_dump(tests))
    command = [promtool, "test", "rules", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_cases(rules: Path) -> None:
    assert {rule["alert"] for rule in alerts(rules)} == set(CASES)


@pytest.mark.parametrize("count", [1, 0], ids=["fires", "silent"])
def test_alerts_fire_and_are_silent(
    promtool: Path, rules: Path, tmp_path: Path, count: int
) -> None:
    tests = [tried(name, case, count) for name, case in CASES.items()]
    run_cases(promtool, rules, tmp_path, tests)


def test_an_alert_leads_to_its_page_and_to_a_playbook(rules: Path, repository: Path) -> None:
    page = (repository / "docs" / "oncall.md").read_text(encoding="utf-8")
    playbooks = {path.stem for path in (repository / "playbooks").glob("*.yml")}
    for rule in alerts(rules):
        notes = rule["annotations"]
        assert f"\n### {rule['alert']}\n" in page, rule["alert"]
        assert notes["runbook_url"].endswith(f"docs/oncall.md#{rule['alert'].lower()}")
        command = notes["description"].split("ansible-playbook inferops.ascend.")[1]
        assert command.split()[0] in playbooks | {"gateway"}, rule["alert"]


def test_the_page_names_units_that_there_are(repository: Path) -> None:
    page = (repository / "docs" / "oncall.md").read_text(encoding="utf-8")
    units = {path.name.split(".")[0] for path in repository.glob("roles/*/templates/*.service.j2")}
    commands = re.findall(r"(?:systemctl [a-z]+|journalctl -u) ([a-z-]+@?)", page)
    assert {"vllm-gateway", "vllm@", "npu-exporter"} <= set(commands) <= units


def test_an_error_code_is_printed_with_all_its_digits(
    promtool: Path, rules: Path, tmp_path: Path
) -> None:
    (rule,) = (each for each in alerts(rules) if each["alert"] == "NpuErrorCode")
    description = (
        "/dev/davinci3 of h1 has the error code 2160197632; the service chat runs on it. Run:"
        " ansible-playbook inferops.ascend.verify -i INVENTORY --limit h1"
    )
    expected = {
        "exp_labels": {
            "severity": "warning",
            **dict(re.findall(r'(\w+)="([^"]*)"', f'{CHAT},id="3"')),
        },
        "exp_annotations": {
            "summary": "Card 3 of h1 has an error code",
            "description": description,
            "runbook_url": rule["annotations"]["runbook_url"],
        },
    }
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f"npu_chip_info_error_code{{{CARD}}}", "values": "2160197632x40"},
            {"series": HEALTH, "values": "1x40"},
            {"series": INFO, "values": "1x40"},
        ],
        "alert_rule_test": [
            {"eval_time": "10m", "alertname": "NpuErrorCode", "exp_alerts": [expected]}
        ],
    }
    run_cases(promtool, rules, tmp_path, [case])
