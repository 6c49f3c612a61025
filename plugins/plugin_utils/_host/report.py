# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a preflight reports of a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .._base.words import counted
from .._place.service import ExistingPlacement


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `subject` is what it is about: a card, a service, a file."""

    severity: str
    code: str
    subject: str
    message: str
    advice: str


@dataclass(frozen=True)
class CheckReport:
    """The outcome of a preflight.

    Attributes:
        findings: errors first, each in the order of the checks.
        cards: npu_info's records of the cards whose ids are known, by logic id.
        unavailable: {logic id: reason in words} of cards that may not be used.
        existing: placements of our services on the host by name, running or not.
        ephemeral_ports: the host's [first, last].
    """

    findings: list[Finding]
    cards: list[dict[str, Any]]
    unavailable: dict[int, str]
    existing: dict[str, ExistingPlacement]
    ephemeral_ports: list[int]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    def text(self, host: str, *, stops: bool = True) -> str:
        """The findings as a text to read, errors first.

        stops: whether the run ends on this host if there is an error.
        """
        errors = len(self.errors)
        warnings = len(self.findings) - errors
        parts = [counted(errors, "error")] if errors else []
        parts += [counted(warnings, "warning")] if warnings else []
        lines = [f"Preflight of {host}: {' and '.join(parts) or 'nothing is wrong'}."]
        if errors:
            lines[0] += (
                " Nothing was changed on this host."
                if stops
                else " The run continues, because ascend_host_stop_on_error is false."
            )
        for finding in self.findings:
            lines.append(
                f"{finding.severity.upper()} {finding.code}, {finding.subject}: {finding.message}"
                f" {finding.advice}".rstrip()
            )
        return "\n".join(lines)

    def as_dict(self, host: str, *, stops: bool = True) -> dict[str, Any]:
        """The report in plain types, with `errors` and `warnings` counted and the `report`."""
        errors = len(self.errors)
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "errors": errors,
            "warnings": len(self.findings) - errors,
            "report": self.text(host, stops=stops),
        }


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
