# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What checks find, each with a severity that a user may set, and the report of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .._base.errors import AscendError
from .._base.words import counted
from .findings import Finding

# Every check by its code, and what it compares. The codes are what a user turns off or on.
CHECKS = {
    "npu_smi": "whether npu-smi answers, and completely",
    "profile": "whether a profile is declared",
    "count": "the number of cards against the profile",
    "card_memory": "the memory of a card against the profile",
    "chip": "the name of the chip against the profile",
    "model": "the requests against the memory that the cards really have",
    "ids": "logic and physical ids, and device nodes",
    "health": "the health of cards",
    "excluded": "whether excluded cards are cards of this host",
    "driver": "the driver's files and Driver_Install_Status",
    "access": "groups, and who may open the device nodes",
    "cann": "the set_env.sh scripts of CANN and NNAL",
    "engine": "the engine's program",
    "versions": "engine, CANN and Python against the version matrix",
    "processes": "other processes on cards",
    "identity": "cards with other numbers",
    "memory": "free memory of cards against what services take",
    "device_share": "services that have a card together against a setting of the driver",
    "mask": "the attention mask of a 310P",
    "placement": "whether all services find cards and ports",
    "ports": "ports of services on which other processes listen",
    "cluster": "the address at which other hosts of a service reach this one",
    "cluster_versions": "engine, driver, CANN and chips, equal on all hosts of a service",
    "cluster_weights": "the files of the weights, equal on all hosts of a service",
    "cluster_clocks": "the clocks of the hosts of a service",
    "cluster_ports": "ports of a service over several hosts on which other processes listen",
    "cluster_reach": "whether the hosts of a service reach each other",
    "cluster_cards": "link, health and address of the cards of a service over several hosts",
    "cluster_tls": "the TLS switch of the cards, equal on all hosts of a service",
    "cluster_ping": "whether the cards of one host of a service reach those of another",
    "cluster_pods": "the super-pods of an A3 against HCCL_LOGIC_SUPERPOD_ID",
    "disk": "space for weights that are not there yet",
    "files": "weights, and files that args and env name: there, readable, and in a container mounted",
    "configuration": "config.json of weights against cards and length that no table lists",
    "weights": "whether weights are there (off unless asked for)",
}
SEVERITIES = ("error", "warning", "ignore")
OFF_BY_DEFAULT = frozenset(("weights",))


def _severities(checks: Mapping[str, str]) -> Mapping[str, str]:
    """ascend_host_checks. Raises AscendError for an unknown check or severity."""
    for code, severity in checks.items():
        if code not in CHECKS:
            raise AscendError(
                f"ascend_host_checks has {code!r}, which is not a check. Checks are"
                f" {', '.join(CHECKS)}."
            )
        if severity not in SEVERITIES:
            raise AscendError(
                f"ascend_host_checks sets {code} to {severity!r}; write one of"
                f" {', '.join(SEVERITIES)}."
            )
    return checks


class CheckReport:
    """Collects findings."""

    def __init__(self, checks: Mapping[str, str]) -> None:
        """checks: ascend_host_checks. Raises AscendError for an unknown check or severity."""
        self._severities = _severities(checks)
        self._found: list[Finding] = []

    def add(
        self,
        severity: str,
        code: str,
        subject: str,
        message: str,
        advice: str,
        *,
        firm: bool = False,
    ) -> None:
        """Add a finding. One that is `firm` keeps its severity whatever ascend_host_checks sets."""
        chosen = self._severities.get(code, "ignore" if code in OFF_BY_DEFAULT else severity)
        chosen = severity if firm else chosen
        finding = Finding(chosen, code, subject, message, advice)
        if chosen != "ignore" and finding not in self._found:
            self._found.append(finding)

    def error(self, code: str, subject: str, message: str, advice: str) -> None:
        self.add("error", code, subject, message, advice)

    def warning(self, code: str, subject: str, message: str, advice: str) -> None:
        self.add("warning", code, subject, message, advice)

    @property
    def findings(self) -> list[Finding]:
        """Errors first, each in the order of the checks."""
        order = list(CHECKS)
        return sorted(
            self._found, key=lambda each: (each.severity != "error", order.index(each.code))
        )

    def reported(self, subject: str, consequence: str) -> dict[str, Any]:
        """The report in plain types, with `errors` and `warnings` counted and the `report`.

        subject: what was checked. consequence: a sentence on what an error leads to.
        """
        errors = sum(finding.severity == "error" for finding in self.findings)
        warnings = len(self.findings) - errors
        parts = [counted(errors, "error")] if errors else []
        parts += [counted(warnings, "warning")] if warnings else []
        text = f"Preflight of {subject}: {' and '.join(parts) or 'nothing is wrong'}."
        if errors:
            text += f" {consequence}"
        for each in self.findings:
            line = f"{each.severity.upper()} {each.code}, {each.subject}: {each.message}"
            text += f"\n{line} {each.advice}".rstrip()
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "errors": errors,
            "warnings": warnings,
            "report": text,
        }
