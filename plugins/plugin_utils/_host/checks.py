# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of one host: its facts, what was found, and what follows for placement.

Facts are those of the module host_info. Memory is in MB as npu-smi prints it (of 2^20 bytes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._model import versions
from .._model.profiles import Profile, visible_memory
from .._model.spec import Spec
from .._place.names import service_name
from .._place.ports import EPHEMERAL_PORTS
from .._place.service import ExistingPlacement
from ..settings import Settings
from .report import CheckReport


def name_of(spec: Spec) -> str:
    """The name of a spec's service. The name is valid, because the request was read before."""
    return service_name({"name": spec.name, "model": spec.model})


def instance_of(unit: str) -> str:
    """NAME of `vllm@NAME.service`."""
    return unit.partition("@")[2].rpartition(".")[0]


class HostChecks(CheckReport):
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
        super().__init__(settings.checks)
        self.facts = facts
        self.settings = settings
        self.profile = settings.profile
        self.version_row = versions.parse(settings.version_row) if settings.version_row else None
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
                service.get("hccl_base_port"),
            )
            for service in facts["standing"]
        }

    def as_dict(self, host: str, *, stops: bool = True) -> dict[str, Any]:
        """The report in plain types; see `reported`.

        stops: whether the run ends on this host if there is an error.
        """
        return self.reported(
            host,
            "Nothing was changed on this host."
            if stops
            else "The run continues, because ascend_host_stop_on_error is false.",
        )

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
