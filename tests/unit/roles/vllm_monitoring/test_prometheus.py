# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's Prometheus over stand-ins of vLLM 0.9.1, 0.18.0 and 0.23.0, of npu-exporter and of a gateway."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ...simulator.hosts import until
from .fleet import Prometheus, watched


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, programs: Path, rules: Path, repository: Path
) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("watched")
    options = repository / "vars" / "vllm_options.json"
    with watched(directory, programs, rules, options) as made:
        yield made


@pytest.fixture(scope="module")
def dashboard(repository: Path) -> Path:
    return (
        repository / "roles" / "vllm_monitoring" / "files" / "dashboards" / "inferops_ascend.json"
    )


def expressions(dashboard: Path) -> list[str]:
    """Of every panel, with the variables as Grafana fills them in."""
    panels = json.loads(dashboard.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    for name, value in (("$__rate_interval", "1m"), ("$service", ".*"), ("$host", ".*")):
        found = [expr.replace(name, value) for expr in found]
    return found


def test_promtool_takes_all_that_is_written(
    prometheus: Prometheus, promtool: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = next(tmp_path_factory.getbasetemp().glob("watched*/watch/prometheus.yml"))
    done = subprocess.run(
        [promtool, "check", "config", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inferops_ascend_plan.yml" in done.stdout
    health = [
        (rule["name"], rule.get("lastError"))
        for group in prometheus.ask("rules")["groups"]
        for rule in group["rules"]
        if rule["health"] == "err"
    ]
    assert not health


def test_every_panel_has_rows(prometheus: Prometheus, dashboard: Path) -> None:
    missing = set(expressions(dashboard))

    def rows() -> bool:
        missing.difference_update({expr for expr in missing if prometheus.rows(expr)})
        return not missing

    # A ratio of rates has none before a request was served.
    load(prometheus)
    until(rows, 180)


def load(prometheus: Prometheus) -> None:
    """Requests to each service, whose addresses Prometheus knows."""
    for target in prometheus.ask("targets")["activeTargets"]:
        if target["labels"]["job"] != "vllm":
            continue
        address = target["scrapeUrl"].replace("/metrics", "/v1/completions")
        body = json.dumps({"prompt": "one two", "max_tokens": 3}).encode()
        urllib.request.urlopen(address, body, timeout=10).read()


def test_one_name_has_the_cache_of_every_version(prometheus: Prometheus) -> None:
    rows = prometheus.rows("inferops:kv_cache_usage:ratio")
    assert {row["metric"]["service"] for row in rows} == {"old", "chat", "new"}
    assert {row["metric"]["engine_version"] for row in rows} == {"0.9.1", "0.18.0", "0.23.0"}


def test_a_card_carries_the_names_of_its_services(prometheus: Prometheus) -> None:
    used = prometheus.rows("inferops:service_card_memory_used:mb")
    assert {(row["metric"]["service"], row["metric"]["id"]) for row in used} == {
        ("old", "0"),
        ("chat", "0"),
        ("chat", "1"),
        ("new", "2"),
    }
    cards = prometheus.rows("inferops:card_services:info")
    free = [row["metric"]["id"] for row in cards if "service" not in row["metric"]]
    assert sorted(free) == ["3", "4", "5", "6", "7"]


def test_what_is_wrong_waits_to_fire_and_the_rest_is_silent(prometheus: Prometheus) -> None:
    """Every alert is evaluated; a lost replica, a server that is down, and warm cards are seen."""
    expected = {"VllmReplicasMissing", "GatewayServerDown", "NpuHot"}

    def pending() -> set[str]:
        return {each["labels"]["alertname"] for each in prometheus.ask("alerts").get("alerts", [])}

    until(lambda: expected <= pending(), 180)
    assert pending() == expected


def test_annotations_are_rendered(prometheus: Prometheus) -> None:
    found = {}

    def alert() -> bool:
        for each in prometheus.ask("alerts").get("alerts", []):
            found[each["labels"]["alertname"]] = each["annotations"]
        return "NpuHot" in found and "VllmReplicasMissing" in found

    until(alert, 180)
    assert found["VllmReplicasMissing"]["summary"] == "lost has fewer replicas than planned"
    assert "--limit h1" in found["NpuHot"]["description"]


def test_the_dashboard_is_what_its_program_makes(dashboard: Path, repository: Path) -> None:
    place = repository / "tests" / "tools" / "dashboard.py"
    spec = importlib.util.spec_from_file_location("dashboard_of_the_role", place)
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert program.text() == dashboard.read_text()


def test_panels_are_valid_as_rules(dashboard: Path, promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": "panel", "expr": expr} for expr in expressions(dashboard)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=none", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
