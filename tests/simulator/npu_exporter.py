# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for MindCluster's npu-exporter: what the simulated `npu-smi` shows, on /metrics.

Names, labels and the values of what could not be read are those of its source (component/npu-exporter of
Ascend/mind-cluster, 7.3). Like the real one it ends with status 0 where its address or port cannot be used.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ascend_sim as sim

PORTS = range(1025, 40001)
UNREAD = -1
# Of a card that is not healthy; the real codes are many.
ERROR_CODE = 2160197632


def options(words: list[str]) -> dict[str, str]:
    """Go's flags, `-name=value` or `-name value`."""
    found = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        found[name] = value if equals else rest.pop(0)
    return found


def families(
    state: dict[str, Any], claims: dict[int, list[sim.Process]]
) -> Iterator[tuple[str, Any, float]]:
    """(name, card or None, value)."""
    cards = sim.cards_of(state)
    memory = "npu_chip_info_" if state["layout"] == "ddr" else "npu_chip_info_hbm_"
    yield "machine_npu_nums", None, len(cards)
    for card in cards:
        healthy = card["health"] == "OK"
        yield "npu_chip_info_health_status", card, card.get("health_status", int(healthy))
        if not healthy:
            yield "npu_chip_info_error_code", card, card.get("error_code", ERROR_CODE)
        yield "npu_chip_info_utilization", card, card["aicore"]
        yield f"{memory}used_memory", card, sim.used_mb(card, claims)
        yield f"{memory}total_memory", card, card["memory_total"]
        yield "npu_chip_info_temperature", card, card["temp"]
        yield "npu_chip_info_power", card, UNREAD if card["power"] is None else card["power"]
        yield "npu_chip_info_process_info_num", card, len(sim.processes_of(card, claims))
        if "link" in card:
            yield "npu_chip_info_link_status", card, int(card["link"] == "UP")
        if memory.endswith("hbm_"):
            yield (
                "npu_chip_info_hbm_ecc_double_bit_error_cnt",
                card,
                card.get("double_bit_errors", 0),
            )


def exposition(state: dict[str, Any], claims: dict[int, list[sim.Process]]) -> str:
    """The answer of /metrics; each sample has the time at which it was read, in milliseconds."""
    now = int(time.time() * 1000)
    by_name: dict[str, list[str]] = {}
    for name, card, value in families(state, claims):
        labels = ""
        if card is not None:
            labels = (
                f'{{id="{card["phy_id"]}",model_name="{card["name"]}",vdie_id="",'
                f'pcie_bus_info="{card["bus_id"]}",namespace="",pod_name="",container_name=""}}'
            )
        by_name.setdefault(name, []).append(f"{name}{labels} {value} {now}")
    lines = []
    for name, samples in by_name.items():
        lines += [f"# HELP {name} stand-in of npu-exporter", f"# TYPE {name} gauge", *samples]
    return "\n".join(lines) + "\n"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the real one logs to a file of its own."""

    def do_GET(self) -> None:
        found = self.path.partition("?")[0] == "/metrics"
        text = exposition(sim.load_state(), sim.live_claims()) if found else "NPU-Exporter\n"
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> int:
    given = options(sys.argv[1:])
    port = int(given.get("port", 8082))
    try:
        address = str(ipaddress.ip_address(given.get("ip", "")))
    except ValueError:
        print("the listen ip is invalid", flush=True)
        return 0
    if port not in PORTS:
        print("the port is invalid", flush=True)
        return 0
    if not sim.may_use_driver():
        print("stand-in: this account may not use the driver", flush=True)
        return 1
    ThreadingHTTPServer((address, port), Handler).serve_forever()
    return 0
