# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of a host that is as wanted, for tests to change."""

from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.findings import HostDrift

WANTED = [
    {
        "name": "chat",
        "state": "started",
        "cards": [0, 1],
        "port": 8000,
        "max_model_len": 32768,
        "aliases": ["Qwen3-14B", "chat"],
    },
    {
        "name": "spare",
        "state": "stopped",
        "cards": [2],
        "port": 8001,
        "max_model_len": 8192,
        "aliases": ["spare"],
    },
]


def plan(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "unit": f"vllm@{name}.service",
        "action": "none",
        "reason": "it runs as wanted",
        "boot": "none",
        "files": [],
        "other_files": [],
        **changes,
    }


def seen(name: str, state: str, cards: list[int] | None, **changes: Any) -> dict[str, Any]:
    up = state not in ("stopped", "failed", "absent")
    return {
        "name": name,
        "port": 8000,
        "unit": {"main_pid": 42 if up else 0},
        "visible_cards": cards,
        "http": {"health": None, "models": [], "error": None},
        "state": state,
        "phase": None,
        "percent": None,
        "elapsed": None,
        "cause": None,
        "problems": [],
        **changes,
    }


def served(*models: tuple[str, int]) -> dict[str, Any]:
    entries = [{"id": name, "max_model_len": length} for name, length in models]
    return {"health": 200, "models": entries, "error": None}


def card(number: int, *users: tuple[int, str | None]) -> dict[str, Any]:
    return {
        "npu_id": number,
        "chip_id": 0,
        "logic_id": number,
        "health": "OK",
        "device": f"/dev/davinci{number}",
        "processes": [
            {"pid": pid, "name": "python", "command": "python3 -m x", "unit": unit}
            for pid, unit in users
        ],
    }


class Readings:
    """A host on which all is well, to be bent."""

    def __init__(self) -> None:
        self.converged: dict[str, Any] = {
            "services": [plan("chat"), plan("spare")],
            "removed": [],
            "files": [],
            "refused": [],
            "account": False,
            "reloaded": False,
        }
        chat = seen("chat", "ready", [0, 1], http=served(("Qwen3-14B", 32768), ("chat", 32768)))
        self.status: dict[str, Any] = {"services": [chat, seen("spare", "stopped", None)]}
        mine = "vllm@chat.service"
        self.facts: dict[str, Any] = {
            "npu": {
                "cards": [card(0, (7, mine)), card(1, (8, mine)), card(2), card(3)],
                "problems": [],
            },
            "services": [{"unit": mine, "pids": [42, 7, 8], "cards": [0, 1]}],
        }

    @property
    def chat(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status["services"][0]
        return found

    def compare(self, **options: Any) -> HostDrift:
        return drift.compare(
            "npu-01",
            WANTED,
            converged=self.converged,
            status=self.status,
            facts=self.facts,
            **options,
        )


def found(comparison: HostDrift) -> dict[str, list[str]]:
    """Codes by service, those of the host itself under ''."""
    every = {
        service.name: [each.code for each in service.findings] for service in comparison.services
    }
    every[""] = [each.code for each in comparison.findings]
    return {name: codes for name, codes in every.items() if codes}
