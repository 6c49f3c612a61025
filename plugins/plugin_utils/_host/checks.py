# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of one host: its facts, what was found, and what follows for placement.

Facts are those of the module host_info. Memory is in MB as npu-smi prints it (of 2^20 bytes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .._base.errors import AscendError
from .._base.words import counted
from .._model import versions
from .._model.profiles import Profile, visible_memory
from .._model.spec import Spec
from .._place.names import service_name
from .._place.ports import EPHEMERAL_PORTS
from .._place.service import ExistingPlacement
from ..settings import Settings
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
    "memory": "free memory of cards against what services take",
    "mask": "the attention mask of a 310P",
    "placement": "whether all services find cards and ports",
    "ports": "ports of services on which other processes listen",
    "cluster": "the address at which other hosts of a service reach this one",
    "disk": "space for weights that are not there yet",
    "configuration": "config.json of weights against cards and length that no table lists",
    "weights": "whether weights are there (off unless asked for)",
}
SEVERITIES = ("error", "warning", "ignore")
OFF_BY_DEFAULT = frozenset(("weights",))


def name_of(spec: Spec) -> str:
    """The name of a spec's service. The name is valid, because the request was read before."""
    return service_name({"name": spec.name, "model": spec.model})


def instance_of(unit: str) -> str:
    """NAME of `vllm@NAME.service`."""
    return unit.partition("@")[2].rpartition(".")[0]


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


class HostChecks:
    """What the checks of one host read and find.

    Attributes:
        shown: all cards that npu-smi shows. cards: those whose ids are known, by logic id.
        unavailable: {logic id: reason in words} of cards that may not be used.
        existing: placements of our services on the host, running or not.
        ephemeral_ports: the host's [first, last].
        real_profile: the profile that the cards match, where their memory is not that of the
            declared one; else None.
        present: specs that are not absent. started: those of them that run.
        ours: running units of ours, by name of the unit.
        version_row: the user's row of the version matrix, which takes the place of the matrix.
    """

    def __init__(self, facts: Mapping[str, Any], settings: Settings, specs: Sequence[Spec]) -> None:
        """Raises AscendError for settings of the checks that cannot be used."""
        self.facts = facts
        self.settings = settings
        self.profile = settings.profile
        self.version_row = versions.parse(settings.version_row) if settings.version_row else None
        self._severities = _severities(settings.checks)
        self._found: list[Finding] = []
        self.shown: list[dict[str, Any]] = list(facts["npu"]["cards"])
        self.cards = sorted(
            (c for c in self.shown if c["logic_id"] is not None and c["phy_id"] is not None),
            key=lambda card: int(card["logic_id"]),
        )
        self.unavailable: dict[int, str] = {}
        self.real_profile: Profile | None = None
        self.ephemeral_ports = list(facts["ephemeral_ports"] or EPHEMERAL_PORTS)
        self.excluded = set(settings.excluded_cards)
        self.present = [spec for spec in specs if spec.state != "absent"]
        self.started = [spec for spec in self.present if spec.state != "stopped"]
        self.ours = {service["unit"]: service for service in facts["services"]}
        self._our_pids = {pid for service in facts["services"] for pid in service["pids"]}
        self._our_cards = {card for service in facts["services"] for card in service["cards"]}
        running = {instance_of(service["unit"]): service["cards"] for service in facts["services"]}
        self.existing = {
            service["name"]: ExistingPlacement(
                tuple(sorted(service["cards"])),
                service["port"],
                bool(service["cards"])
                and set(service["cards"]) <= set(running.get(service["name"], ())),
            )
            for service in facts["standing"]
        }

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

    # -- what is reported -------------------------------------------------------------------

    @property
    def findings(self) -> list[Finding]:
        """Errors first, each in the order of the checks."""
        order = list(CHECKS)
        return sorted(
            self._found, key=lambda each: (each.severity != "error", order.index(each.code))
        )

    def as_dict(self, host: str, *, stops: bool = True) -> dict[str, Any]:
        """The report in plain types, with `errors` and `warnings` counted and the `report`.

        stops: whether the run ends on this host if there is an error.
        """
        errors = sum(finding.severity == "error" for finding in self.findings)
        warnings = len(self.findings) - errors
        parts = [counted(errors, "error")] if errors else []
        parts += [counted(warnings, "warning")] if warnings else []
        text = f"Preflight of {host}: {' and '.join(parts) or 'nothing is wrong'}."
        if errors:
            text += (
                " Nothing was changed on this host."
                if stops
                else " The run continues, because ascend_host_stop_on_error is false."
            )
        for each in self.findings:
            line = f"{each.severity.upper()} {each.code}, {each.subject}: {each.message}"
            text += f"\n{line} {each.advice}".rstrip()
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "errors": errors,
            "warnings": warnings,
            "report": text,
        }

    # -- cards ------------------------------------------------------------------------------

    def leave_out(self, card: Mapping[str, Any], reason: str) -> None:
        """Keep services off a card."""
        if card["logic_id"] is not None:
            self.unavailable.setdefault(int(card["logic_id"]), reason)

    def service_on(self, card: Mapping[str, Any], *, runs: bool = True) -> str | None:
        """The listed service of ours on a card, one that runs there unless told otherwise."""
        for spec in self.present:
            existing = self.existing.get(name_of(spec))
            if existing and card["logic_id"] in existing.cards and (existing.running or not runs):
                return name_of(spec)
        return None

    def consequence(self, card: Mapping[str, Any]) -> str:
        """Which service, if any, gets a card that is left out."""
        serving = self.service_on(card)
        if serving:
            return f"service {serving} runs here and stays, no other gets this card"
        moved = self.service_on(card, runs=False)
        return "no service gets this card" + (f", service {moved} was placed here" if moved else "")

    def is_ours(self, process: Mapping[str, Any]) -> bool:
        return process["unit"] in self.ours or process["pid"] in self._our_pids

    # -- memory of cards --------------------------------------------------------------------

    def visible(self, card: Mapping[str, Any]) -> float | None:
        """What the framework sees of a card: the published figure, else the printed total."""
        total = card["memory_total_mb"]
        if total is None:
            return None
        return visible_memory(card, self.profile) or float(total)

    def free(self, card: Mapping[str, Any]) -> float | None:
        """What is free to our services on a card; None where that cannot be told."""
        total, used = card["memory_total_mb"], card["memory_used_mb"]
        if used is None or total is None:
            return None
        ours = [each for each in card["processes"] if self.is_ours(each)]
        if card["logic_id"] in self._our_cards and not ours:
            return None  # ours, but processes are not shown: its memory cannot be told apart
        if any(each["memory_mb"] is None for each in ours):
            return None
        return float(total - used + sum(each["memory_mb"] for each in ours))

    def lacks_memory(self, card: Mapping[str, Any], utilization: float) -> bool:
        free, visible = self.free(card), self.visible(card)
        return free is not None and visible is not None and free < utilization * visible

    def memory_need(self, card: Mapping[str, Any], utilization: float) -> str:
        """Free memory against what a service takes, in words."""
        free, visible = self.free(card) or 0.0, self.visible(card) or 0.0
        return (
            f"{free:.0f} of {card['memory_total_mb']} MB are free, gpu_memory_utilization"
            f" {utilization:g} takes {utilization * visible:.0f} MB"
        )
