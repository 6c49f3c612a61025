# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that Prometheus takes, as text: targets, what the fleet should be, and scrape jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from .fleet import Fleet, WatchedHost, WatchedService

HEADER = "# Written by the role inferops.ascend.vllm_monitoring; the next run replaces it.\n"
PREFIX = "inferops_"
JOBS = ("vllm", "npu-exporter", "haproxy")


@dataclass(frozen=True)
class Limits:
    """Limits that alerts compare with; None: the alert never fires.

    first_token_seconds: of the 95th percentile. card_temperature: degrees Celsius.
    """

    first_token_seconds: float | None = None
    card_temperature: float | None = None


def files(fleet: Fleet, limits: Limits, targets: str) -> dict[str, str]:
    """Text by path, relative to the directory of the role.

    targets: the directory in which Prometheus finds the files of targets.
    """
    found = {target_file(job): dump(list(groups)) for job, groups in target_groups(fleet).items()}
    found["rules/inferops_ascend_plan.yml"] = dump(plan_rules(fleet, limits))
    found["scrape_configs/inferops_ascend.yml"] = dump({"scrape_configs": scrape_jobs(targets)})
    return found


def target_file(job: str) -> str:
    return f"targets/{PREFIX}{job.replace('-', '_')}.yml"


def dump(value: object) -> str:
    """YAML as Prometheus reads it, with the line that says whose it is."""
    return HEADER + str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))


# -- targets --------------------------------------------------------------------------------------


def target_groups(fleet: Fleet) -> dict[str, list[dict[str, Any]]]:
    """Groups of targets by job, as file_sd takes them."""
    services: list[dict[str, Any]] = []
    exporters: list[dict[str, Any]] = []
    for host in fleet.hosts:
        services += [_service_target(host, each) for each in host.services if each.target]
        if host.exporter:
            exporters.append(_group(host.exporter, {"host": host.name, "chip": host.chip}))
    gateways = [_group(target, {"host": name}) for name, target in fleet.gateways.items()]
    return dict(zip(JOBS, (services, exporters, gateways), strict=True))


def _service_target(host: WatchedHost, service: WatchedService) -> dict[str, Any]:
    labels = {
        "host": host.name,
        "service": service.service,
        "replica": service.replica,
        "model": service.model,
        "engine_version": service.engine_version,
        "chip": host.chip,
    }
    return _group(service.target, {**labels, **({"__scheme__": "https"} if service.https else {})})


def _group(target: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "targets": [target],
        "labels": {name: value for name, value in labels.items() if value},
    }


# -- rules ----------------------------------------------------------------------------------------


def plan_rules(fleet: Fleet, limits: Limits) -> dict[str, Any]:
    """Series of what the fleet should be, recorded because nothing on the hosts tells it."""
    rules = [
        _record("inferops_service_replicas_expected", number, {"service": name})
        for name, number in fleet.expected().items()
    ]
    for host in fleet.hosts:
        if host.cards and host.exporter:
            rules.append(_record("inferops_host_cards_expected", host.cards, {"host": host.name}))
    rules += [
        _record("inferops_service_card_info", 1, labels) for labels in _card_rows(fleet.hosts)
    ]
    for name, value in (
        ("inferops_first_token_seconds_limit", limits.first_token_seconds),
        ("inferops_card_temperature_limit", limits.card_temperature),
    ):
        rules += [] if value is None else [_record(name, value, {})]
    return {"groups": [{"name": "inferops-plan", "rules": rules}]}


def _card_rows(hosts: Iterable[WatchedHost]) -> Iterator[dict[str, str]]:
    """A row for each service and card; a card that services share has several."""
    for host in hosts:
        for service in host.services:
            for card in service.cards:
                yield {
                    "host": host.name,
                    "service": service.service,
                    "replica": service.replica,
                    "model": service.model,
                    "id": str(card),
                }


def _record(name: str, value: float, labels: Mapping[str, str]) -> dict[str, Any]:
    rule: dict[str, Any] = {"record": name, "expr": f"vector({value:g})"}
    return {**rule, "labels": dict(labels)} if labels else rule


# -- scrape jobs ----------------------------------------------------------------------------------


def scrape_jobs(targets: str) -> Sequence[dict[str, Any]]:
    """The jobs. targets: the directory in which Prometheus finds the files of targets."""
    return [
        {
            "job_name": job,
            # Its samples have the time at which a card was read, and a dead collector would look
            # alive for five minutes.
            **({"honor_timestamps": False} if job == "npu-exporter" else {}),
            "file_sd_configs": [
                {"files": [f"{targets.rstrip('/')}/{target_file(job).split('/')[1]}"]}
            ],
        }
        for job in JOBS
    ]
