# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for the page, and what a reader sees of it."""

from __future__ import annotations

import json
from typing import Any

from .chromium import Chromium

# Models with their cards, of the published table.
MODELS = (
    ("Qwen2.5-72B", 4),
    ("Qwen3-14B", 1),
    ("Qwen3-32B", 2),
    ("bge-large-zh-v1.5", 1),
    ("DeepSeek-R1-Distill-Qwen-14B", 1),
    ("QwQ-32B", 2),
    ("Llama3-8B", 1),
    ("GLM-4-9B", 1),
)


def service(name: str, model: str, cards: range, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "model": model,
        "kind": "generate",
        "cards": list(cards),
        "port": 8000,
        "max_model_len": 32768,
        "basis": "measured",
        "table": "ascend-64gb",
        "row": "24",
        "state": "started",
        "given": False,
        "cluster": None,
        "engine": None,
        "sizes": [1, 1, 1],
        **changes,
    }


def host(name: str, *services: dict[str, Any], cards: int = 8, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "profile": "atlas-800i-a2-64g",
        "card_memory_gb": 64,
        "cards": list(range(cards)),
        "excluded": [],
        "given": False,
        "services": list(services),
        **changes,
    }


def spot(name: str, cards: range) -> dict[str, Any]:
    return {"host": name, "cards": list(cards)}


FOUR = {
    "hosts": [
        host(
            "npu-01",
            service("chat", "Qwen2.5-72B", range(4)),
            service("coder", "Qwen3-32B", range(4, 6), port=8001),
            service("deepseek-r1-distill-qwen-14b", "DeepSeek-R1-Distill-Qwen-14B", range(6, 7)),
            excluded=[7],
        ),
        host(
            "npu-02.rack-7.hall-b.example.com",
            service("chat", "Qwen2.5-72B", range(4)),
            service("qwen3-14b", "Qwen3-14B", range(4, 5)),
            service(
                "qwen3-30b-a3b",
                "Qwen3-30B-A3B",
                range(6, 8),
                max_model_len=65536,
                basis="estimated",
            ),
        ),
        host(
            "npu-03",
            service(
                "mine",
                "DeepSeek-R1-Distill-Llama-70B",
                range(4, 8),
                max_model_len=24576,
                basis="calibrated",
                state="stopped",
                given=True,
            ),
            given=True,
        ),
        host(
            "npu-a3",
            service("qwen3-235b", "Qwen3-235B-A22B", range(16)),
            cards=16,
            profile="atlas-800i-a3",
        ),
    ],
    "changes": [
        {
            "service": "coder",
            "before": spot("npu-02.rack-7.hall-b.example.com", range(4, 6)),
            "after": spot("npu-01", range(4, 6)),
        },
        {"service": "old", "before": spot("npu-03", range(2)), "after": None},
    ],
}
HOSTS = [each["name"] for each in FOUR["hosts"]]


def thousand() -> dict[str, Any]:
    """1,000 hosts of 8 cards, filled with the table's mix of sizes."""
    hosts = []
    for number in range(1000):
        services: list[dict[str, Any]] = []
        start = 0
        for step in range(len(MODELS)):
            model, cards = MODELS[(number + step * 3) % len(MODELS)]
            if start + cards <= 8 - number % 3:
                services.append(service(model.lower(), model, range(start, start + cards)))
                start += cards
        hosts.append(host(f"npu-{number:04}", *services))
    added = [
        {
            "service": each["services"][0]["name"],
            "before": None,
            "after": spot(each["name"], range(1)),
        }
        for each in hosts[::20]
    ]
    return {"hosts": hosts, "changes": added}


def shown(page: Chromium) -> list[str]:
    """Names of the hosts that are to be seen."""
    return list(
        page.evaluate(
            "[...document.querySelectorAll('#hosts > li')].filter(e => e.checkVisibility())"
            ".map(e => e.querySelector('h3').textContent)"
        )
    )


def marked(page: Chromium) -> list[str]:
    return list(
        page.evaluate("[...document.querySelectorAll('#hosts .hit b')].map(e => e.textContent)")
    )


def focused(page: Chromium) -> str:
    return str(page.evaluate("document.activeElement.innerText || document.activeElement.id"))


def visible(page: Chromium, selector: str) -> bool:
    return bool(page.evaluate(f"document.querySelector({json.dumps(selector)}).checkVisibility()"))


def problems(page: Chromium) -> list[str]:
    """What the browser logged: errors of the script, and violations of the policy."""
    page.evaluate("0")
    logged = [event["entry"]["text"] for event in page.happened("Log.entryAdded")]
    thrown = [
        event["exceptionDetails"]["text"] for event in page.happened("Runtime.exceptionThrown")
    ]
    return logged + thrown
