# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the role's Grafana dashboard: `tests/tools/dev run python tests/tools/dashboard.py`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
)

FILE = "roles/vllm_monitoring/files/dashboards/inferops_ascend.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
SERVICE = 'service=~"$service", host=~"$host"'
# Recorded series of services have no host.
NAMED = 'service=~"$service"'
HOST = 'host=~"$host"'


class Query(NamedTuple):
    expr: str
    legend: str


class Graph(NamedTuple):
    """A panel. unit: of Grafana's. number: show the newest value alone."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    number: bool = False


def per_second(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{SERVICE}}}[$__rate_interval]))"


def quantile(share: str, metric: str) -> str:
    rate = f"rate({metric}_bucket{{{SERVICE}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (service, le) ({rate}))"


ROWS: dict[str, tuple[Graph, ...]] = {
    "Services": (
        Graph(
            "Replicas that answer",
            "Beside what the plan asks for",
            "short",
            (
                Query(f'sum by (service) (up{{job="vllm", {SERVICE}}})', "{{service}}"),
                Query(
                    f"inferops_service_replicas_expected{{{NAMED}}}",
                    "{{service}} planned",
                ),
            ),
        ),
        Graph(
            "Requests running and waiting",
            "",
            "short",
            (
                Query(
                    f"sum by (service) (vllm:num_requests_running{{{SERVICE}}})",
                    "{{service}} running",
                ),
                Query(
                    f"sum by (service) (vllm:num_requests_waiting{{{SERVICE}}})",
                    "{{service}} waiting",
                ),
            ),
        ),
        Graph(
            "KV cache in use",
            "Requests wait or are preempted when it is full",
            "percentunit",
            (Query(f"inferops:kv_cache_usage:ratio{{{SERVICE}}}", "{{host}} {{replica}}"),),
        ),
        Graph(
            "Time to the first token",
            "Values above 2560 s count as that",
            "s",
            (
                Query(
                    quantile("0.5", "vllm:time_to_first_token_seconds"),
                    "{{service}} half",
                ),
                Query(
                    quantile("0.95", "vllm:time_to_first_token_seconds"),
                    "{{service}} 95 %",
                ),
            ),
        ),
        Graph(
            "Time between tokens",
            "The 95th percentile; one name for what vLLM renamed in 0.11",
            "s",
            (
                Query(
                    f"inferops:inter_token_latency_seconds:p95_rate5m{{{NAMED}}}",
                    "{{service}}",
                ),
            ),
        ),
        Graph(
            "Time of a request",
            "The 95th percentile",
            "s",
            (
                Query(
                    quantile("0.95", "vllm:e2e_request_latency_seconds"),
                    "{{service}}",
                ),
            ),
        ),
        Graph(
            "Tokens a second",
            "",
            "short",
            (
                Query(
                    per_second("vllm:prompt_tokens_total", "service"),
                    "{{service}} prompt",
                ),
                Query(
                    per_second("vllm:generation_tokens_total", "service"),
                    "{{service}} generated",
                ),
            ),
        ),
        Graph(
            "Requests that ended",
            "By reason; failed ones too, despite the name of the metric",
            "reqps",
            (
                Query(
                    per_second("vllm:request_success_total", "service, finished_reason"),
                    "{{service}} {{finished_reason}}",
                ),
            ),
        ),
        Graph(
            "HTTP answers by status",
            "",
            "reqps",
            (
                Query(
                    per_second("http_requests_total", "service, status"),
                    "{{service}} {{status}}",
                ),
            ),
        ),
        Graph(
            "Share of prompt tokens found in the prefix cache",
            "",
            "percentunit",
            (
                Query(
                    f"sum by (service) (inferops:prefix_cache_hits:rate5m{{{SERVICE}}})"
                    f" / (sum by (service) (inferops:prefix_cache_queries:rate5m{{{SERVICE}}}) > 0)",
                    "{{service}}",
                ),
            ),
        ),
        Graph(
            "Preemptions",
            "Requests that lost their place in the KV cache",
            "short",
            (
                Query(
                    f"sum by (service) (increase(vllm:num_preemptions_total{{{SERVICE}}}[$__rate_interval]))",
                    "{{service}}",
                ),
            ),
        ),
        Graph(
            "Alerts that fire",
            "",
            "short",
            (
                Query(
                    'count by (alertname, severity) (ALERTS{alertstate="firing"}) or vector(0)',
                    "{{alertname}}",
                ),
            ),
            number=True,
        ),
    ),
    "Cards": (
        Graph(
            "Memory in use by service",
            "MB as npu-smi prints them; a card that services share counts for each",
            "decmbytes",
            (
                Query(
                    f"sum by (service) (inferops:service_card_memory_used:mb{{{SERVICE}}})",
                    "{{service}}",
                ),
            ),
        ),
        Graph(
            "Memory in use by card",
            "",
            "percentunit",
            (
                Query(
                    f"inferops:card_memory_used:mb{{{HOST}}} / (inferops:card_memory_total:mb{{{HOST}}} > 0)",
                    "{{host}} {{id}}",
                ),
            ),
        ),
        Graph(
            "AI cores in use",
            "",
            "percent",
            (
                Query(
                    f"max by (host, id) (npu_chip_info_utilization{{{HOST}}} >= 0)",
                    "{{host}} {{id}}",
                ),
            ),
        ),
        Graph(
            "Health",
            "1 healthy, 0 not, -1 not read",
            "short",
            (
                Query(
                    f"min by (host, service) (inferops:card_services:info{{{HOST}}} * on (host, id)"
                    f" group_left () inferops:card_health:state{{{HOST}}})",
                    "{{host}} {{service}}",
                ),
            ),
        ),
        Graph(
            "Temperature",
            "",
            "celsius",
            (
                Query(
                    f"max by (host, id) (npu_chip_info_temperature{{{HOST}}} >= 0)",
                    "{{host}} {{id}}",
                ),
            ),
        ),
        Graph(
            "Power",
            "The second die of a card and a 310P report none",
            "watt",
            (Query(f"sum by (host) (npu_chip_info_power{{{HOST}}} >= 0)", "{{host}}"),),
        ),
    ),
    "Gateway": (
        Graph(
            "Answers by status",
            "",
            "reqps",
            (
                Query(
                    'sum by (proxy, code) (rate(haproxy_backend_http_responses_total{proxy=~"model-.*"}[$__rate_interval]))',
                    "{{proxy}} {{code}}",
                ),
            ),
        ),
        Graph(
            "Requests under way and in the queue",
            "",
            "short",
            (
                Query(
                    'sum by (proxy) (haproxy_backend_current_sessions{proxy=~"model-.*"})',
                    "{{proxy}} under way",
                ),
                Query(
                    'sum by (proxy) (haproxy_backend_current_queue{proxy=~"model-.*"})',
                    "{{proxy}} queued",
                ),
            ),
        ),
        Graph(
            "Servers that take requests",
            "",
            "short",
            (
                Query(
                    'min by (proxy) (haproxy_backend_active_servers{proxy=~"model-.*"})',
                    "{{proxy}}",
                ),
            ),
        ),
    ),
}


def panel(graph: Graph) -> stat.Panel | timeseries.Panel:
    made = number() if graph.number else lines()
    made.title(graph.title).unit(graph.unit).datasource(SOURCE).span(8).height(8)
    if graph.description:
        made.description(graph.description)
    if graph.unit in ("percentunit", "percent"):
        made.min(0).max(1 if graph.unit == "percentunit" else 100)
    for letter, query in zip("ABC", graph.queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
        target.datasource(SOURCE)
        made.with_target(target.instant() if graph.number else target)
    return made


def number() -> stat.Panel:
    return stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def lines() -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM)
    legend.display_mode(LegendDisplayMode.LIST).calcs([])
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    return timeseries.Panel().fill_opacity(10).legend(legend).tooltip(tooltip)


def variable(name: str, query: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).query(query).datasource(SOURCE)
    return (
        made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def text() -> str:
    """The dashboard as Grafana imports it."""
    made = dashboard.Dashboard("vLLM on Ascend").uid("inferops-ascend").tags(["vllm", "ascend"])
    made.tooltip(DashboardCursorSync.CROSSHAIR).refresh("30s").time("now-3h", "now").readonly()
    made.with_variable(
        dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus")
    )
    made.with_variable(variable("service", 'label_values(up{job="vllm"}, service)'))
    made.with_variable(variable("host", 'label_values(up{job=~"vllm|npu-exporter"}, host)'))
    for title, graphs in ROWS.items():
        made.with_row(dashboard.Row(title))
        for graph in graphs:
            made.with_panel(panel(graph))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


if __name__ == "__main__":
    (Path(__file__).resolve().parents[2] / FILE).write_text(text(), encoding="utf-8")
