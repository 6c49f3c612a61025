# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What preflight and verify find on a host, as data, and the words for cards and processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OK, LOADING, DIFFERS, UNKNOWN = "ok", "loading", "differs", "unknown"
FAILED, UNREACHABLE = "failed", "unreachable"
# The worst of a host's services is the host's.
SEVERITY_ORDER = (OK, LOADING, UNKNOWN, DIFFERS)

DEPLOY = "Run deploy; with --check --diff it first shows what it would change."


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `subject` is what it is about: a card, a service, a file."""

    severity: str
    code: str
    subject: str
    message: str
    advice: str


@dataclass(frozen=True)
class Difference:
    """One difference: a word to test for, what is wrong, and what to do."""

    code: str
    message: str
    advice: str


@dataclass
class ServiceDrift:
    """The comparison of one service. `cards` are logic ids, `max_model_len` is in tokens, `part` is of
    the memory of its cards.

    `progress` is how far one has come that is still loading, in words. `group` is, of a service over
    several hosts, {hosts (by rank), rank, members, digest, status, missing} as its host has it.
    """

    name: str
    cards: list[int]
    port: int | None
    max_model_len: int | None
    state: str
    model: str = ""
    part: float | None = None
    result: str = OK
    progress: str = ""
    group: dict[str, Any] | None = None
    findings: list[Difference] = field(default_factory=list)

    def add(self, code: str, message: str, advice: str = DEPLOY) -> None:
        self.findings.append(Difference(code, message, advice))


@dataclass
class HostDrift:
    """The comparison of one host.

    Attributes:
        state: ok, loading, differs, failed (it could not be compared) or unreachable.
        ok: whether the host counts as right for the exit status.
        findings: what is wrong with the host itself. notes: what is worth knowing and wrong with
            nothing.
        cards: {id (logic), health, excluded, foreign (processes of others)} of each that npu-smi shows.
    """

    host: str
    state: str
    ok: bool
    services: list[ServiceDrift] = field(default_factory=list)
    findings: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cards: list[dict[str, Any]] = field(default_factory=list)

    def add(self, code: str, message: str, advice: str) -> None:
        self.findings.append(Difference(code, message, advice))


def format_card(card: Mapping[str, Any]) -> str:
    """A card by all its names."""
    chip = "" if card["chip_id"] is None else f" chip {card['chip_id']}"
    logic = "without a logic id" if card["logic_id"] is None else f"{card['logic_id']}"
    node = f", {card['device']}" if card["device"] else ""
    return f"card {logic} (NPU {card['npu_id']}{chip}{node})"


def format_process(process: Mapping[str, Any]) -> str:
    """A process as PID, command and unit."""
    name = process.get("command") or process.get("name") or "of unknown name"
    unit = process.get("unit")
    return f"PID {process['pid']} {name} " + (f"(unit {unit})" if unit else "(in no systemd unit)")


def format_moved(moved: Sequence[Mapping[str, Any]]) -> str:
    """Which cards of a service have another number now. moved: of host_info, not empty."""
    parts = []
    for each in moved:
        text = f"{each['device']} was the card at PCI address {each['was']}"
        if each["now"]:
            text += f" and is the one at {each['now']} now"
        if each["at"]:
            text += f"{', ' if each['now'] else ' and is gone; '}that card is {each['at']} now"
        parts.append(text)
    return "; ".join(parts)
