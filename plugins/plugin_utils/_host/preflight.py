# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a host for the services that it is to carry, all at once.

Judged are the facts of the module host_info. Memory is in MB as npu-smi prints it (of 2^20 bytes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import vars_file
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import (
    kind_of,
    whole_number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import counted, listed
from ansible_collections.inferops.ascend.plugins.plugin_utils._model import tables as _tables
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.tables import Profile
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.host_cards import HostCards
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.names import service_name
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.ports import PortSettings
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    existing_placements,
)

# Every check by its code, and what it looks at. The codes are what a user turns off or on.
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
    "processes": "processes of others on cards",
    "memory": "free memory of cards against what services take",
    "mask": "the attention mask of a 310P",
    "placement": "whether all services find cards and ports",
    "ports": "ports of services that others listen on",
    "disk": "space for weights that are not there yet",
    "weights": "whether weights are there (off unless asked for)",
}
SEVERITIES = ("error", "warning", "ignore")
_OFF = frozenset(("weights",))

_ID_PROBLEMS = frozenset(
    (
        "mapping_failed",
        "mapping_missing",
        "mapping_conflict",
        "mapping_truncated",
        "logic_id_not_printed",
        "phy_id_unknown",
        "phy_id_assumed",
        "device_missing",
        "card_not_shown",
    )
)
# The output broke off: a card may be there that is not shown, and a process on one that is.
_INCOMPLETE = frozenset(
    (
        "truncated",
        "elided",
        "unread_row",
        "processes_not_shown",
        "process_unknown_card",
        "mapping_truncated",
        "card_not_shown",
    )
)
_MIB = 1 << 20
# A card prints between 0.87 (300I Duo of 24 GB) and 1.0 of its nominal memory; the nominal sizes
# 24, 32, 48 and 64 are further apart than that.
_LEAST_OF_NOMINAL, _MOST_OF_NOMINAL = 0.8, 1.02


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `subject` is what it is about: a card, a service, a file."""

    severity: str
    code: str
    subject: str
    message: str
    advice: str


@dataclass(frozen=True)
class Wish:
    """What the host is to be judged for.

    Attributes:
        specs: resolved services, as the lookup returns them.
        asked: whether anybody said which services there are.
        requests: the same as the user wrote them; looked at where the memory is not as declared.
        excluded: logic ids.
        accepted_health: words of npu-smi for a card that may be used.
        checks: {code of CHECKS: error, warning or ignore}, instead of the finding's own severity.
        engine_version: of vLLM; None to leave versions alone.
        groups: groups that the services are in. user: the account they run as.
        scripts: set_env.sh of CANN and NNAL. executable: the engine's program.
        weights_dir: where weights are, by hub id.
        placement: the options of `place` that say how: block_unit and port bases.
        tables, estimate, allow_untested: options of the lookup, for `requests`.
    """

    specs: Sequence[Mapping[str, Any]] = ()
    asked: bool = True
    requests: Sequence[Any] = ()
    excluded: Sequence[int] = ()
    accepted_health: Sequence[str] = ("OK",)
    checks: Mapping[str, str] = field(default_factory=dict)
    engine_version: str | None = None
    user: str = "vllm"
    groups: Sequence[str] = ()
    scripts: Sequence[str] = ()
    executable: str | None = None
    weights_dir: str = "/var/lib/vllm/weights"
    placement: Mapping[str, Any] = field(default_factory=dict)
    tables: object = None
    estimate: bool = False
    allow_untested: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a preflight says.

    Attributes:
        findings: errors first, each in the order of CHECKS.
        cards: npu_info's records of the cards whose ids are known, by logic id.
        unavailable: {logic id: reason in words} of cards that may not be used.
        standing: {name: {cards, port, runs}} of our services on the host, running or not.
        ephemeral_ports: the host's [first, last].
    """

    findings: list[Finding]
    cards: list[dict[str, Any]]
    unavailable: dict[int, str]
    standing: dict[str, dict[str, Any]]
    ephemeral_ports: list[int]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]


def model_folder(spec: Mapping[str, Any], weights_dir: str) -> str | None:
    """Where the weights of a spec are on the host; None if no hub id is known."""
    path = spec.get("path") or spec.get("huggingface") or spec.get("modelscope")
    if not path:
        return None
    return str(path) if spec.get("path") else f"{weights_dir.rstrip('/')}/{path}"


def check(facts: Mapping[str, Any], profile: Profile | None, wish: Wish) -> Verdict:
    """Judge a host.

    facts: what the module host_info returns. profile: the declared one, None if none is.

    Raises AscendError for an unknown code or severity in `wish.checks`.
    """
    for code, severity in wish.checks.items():
        if code not in CHECKS:
            raise AscendError(
                f"ascend_host_checks has the check {code!r}, which there is not. Checks are"
                f" {', '.join(CHECKS)}."
            )
        if severity not in SEVERITIES:
            raise AscendError(
                f"ascend_host_checks sets {code} to {severity!r}; write one of"
                f" {', '.join(SEVERITIES)}."
            )
    judged = _Judgement(facts, profile, wish)
    order = list(CHECKS)
    findings = sorted(
        judged.findings, key=lambda each: (each.severity != "error", order.index(each.code))
    )
    return Verdict(findings, judged.cards, judged.unavailable, judged.standing, judged.ephemeral)


def report(verdict: Verdict, host: str, *, stops: bool = True) -> str:
    """The findings as a text to read, errors first.

    stops: whether the run ends on this host if there is an error.
    """
    errors = len(verdict.errors)
    warnings = len(verdict.findings) - errors
    parts = [counted(errors, "error")] if errors else []
    parts += [counted(warnings, "warning")] if warnings else []
    lines = [f"Preflight of {host}: {' and '.join(parts) or 'nothing is wrong'}."]
    if errors:
        lines[0] += (
            " Nothing was changed on this host."
            if stops
            else " The run goes on all the same, for ascend_host_stop_on_error is false."
        )
    for finding in verdict.findings:
        lines.append(
            f"{finding.severity.upper()} {finding.code}, {finding.subject}: {finding.message}"
            f" {finding.advice}".rstrip()
        )
    return "\n".join(lines)


def as_data(verdict: Verdict, host: str, *, stops: bool = True) -> dict[str, Any]:
    """The verdict in plain types, with `errors` and `warnings` counted and the `report`."""
    errors = len(verdict.errors)
    return {
        "findings": [asdict(finding) for finding in verdict.findings],
        "errors": errors,
        "warnings": len(verdict.findings) - errors,
        "cards": verdict.cards,
        "unavailable": {str(card): reason for card, reason in verdict.unavailable.items()},
        "standing": verdict.standing,
        "ephemeral_ports": verdict.ephemeral_ports,
        "report": report(verdict, host, stops=stops),
    }


@lru_cache(maxsize=1)
def version_matrix() -> tuple[dict[str, Any], ...]:
    """The rows of vars/version_matrix.yml."""
    return tuple(vars_file("version_matrix.yml")["versions"])


def matching_profiles(cards: Sequence[Mapping[str, Any]]) -> list[Profile]:
    """Profiles that chip, memory and number of these cards fit."""
    return [
        each
        for each in _tables.load_profiles().values()
        if cards
        and all(card["name"] in each.chips and _has_memory(card, each) for card in cards)
        and each.cards in (None, len(cards))
    ]


def _has_memory(card: Mapping[str, Any], profile: Profile) -> bool:
    total, nominal = card["memory_total_mb"], profile.card_memory_gb * 1024
    if total is None:
        return True
    return bool(_LEAST_OF_NOMINAL * nominal <= total <= _MOST_OF_NOMINAL * nominal)


def label(card: Mapping[str, Any]) -> str:
    """A card by all its names."""
    chip = "" if card["chip_id"] is None else f" chip {card['chip_id']}"
    logic = "without a logic id" if card["logic_id"] is None else f"{card['logic_id']}"
    node = f", {card['device']}" if card["device"] else ""
    return f"card {logic} (NPU {card['npu_id']}{chip}{node})"


def _name(spec: Mapping[str, Any]) -> str:
    """The name of a spec's service, or what the user wrote where it makes no name."""
    try:
        return service_name(spec)
    except AscendError:
        return str(spec.get("name") or spec.get("model"))


def _release(version: object) -> tuple[str, ...]:
    """The parts of a version as PyPI counts releases: without `+local` and `.postN`.

    `0.18.0rc1` and `0.18.0` differ, `2.9` and `2.9.0` do not.
    """
    text = str(version).strip().lower().partition("+")[0]
    parts = [part for part in re.split(r"[.\-_]", text) if not part.startswith("post")]
    while len(parts) > 1 and parts[-1] == "0":
        parts.pop()
    return tuple(parts)


def _instance(unit: str) -> str:
    """NAME of `vllm@NAME.service`."""
    return unit.partition("@")[2].rpartition(".")[0]


def holder(process: Mapping[str, Any]) -> str:
    """A process as PID, command and unit."""
    name = process.get("command") or process.get("name") or "of unknown name"
    unit = process.get("unit")
    return f"PID {process['pid']} {name} " + (f"(unit {unit})" if unit else "(in no systemd unit)")


class _Judgement:
    """One run over one host's facts; the checks are its methods."""

    def __init__(self, facts: Mapping[str, Any], profile: Profile | None, wish: Wish) -> None:
        self.facts = facts
        self.profile = profile
        self.wish = wish
        self.findings: list[Finding] = []
        self.shown: list[dict[str, Any]] = list(facts["npu"]["cards"])
        self.ours = {service["unit"]: service for service in facts["services"]}
        self.our_pids = {pid for service in facts["services"] for pid in service["pids"]}
        self.our_cards = {card for service in facts["services"] for card in service["cards"]}
        self.excluded = set(wish.excluded)
        self.present = [spec for spec in wish.specs if spec.get("state") != "absent"]
        self.started = [spec for spec in self.present if spec.get("state") != "stopped"]
        running = {_instance(service["unit"]): service["cards"] for service in facts["services"]}
        self.standing = {
            service["name"]: {
                "cards": service["cards"],
                "port": service["port"],
                "runs": bool(service["cards"])
                and set(service["cards"]) <= set(running.get(service["name"], ())),
            }
            for service in facts["standing"]
        }
        self.ephemeral = list(facts["ephemeral_ports"] or (32768, 60999))
        self.unavailable: dict[int, str] = {}
        self.cards = sorted(
            (c for c in self.shown if c["logic_id"] is not None and c["phy_id"] is not None),
            key=lambda card: int(card["logic_id"]),
        )
        self._npu_smi()
        if self.shown:
            self._profile()
            self._ids()
            self._health()
            self._excluded()
            self._processes()
            self._memory_of_cards()
        self._driver()
        self._access()
        self._cann()
        self._engine()
        self._versions()
        self._services()
        self._weights()

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
        """Note a finding. One that is `firm` keeps its severity whatever ascend_host_checks says."""
        chosen = self.wish.checks.get(code, "ignore" if code in _OFF else severity)
        chosen = severity if firm else chosen
        finding = Finding(chosen, code, subject, message, advice)
        if chosen != "ignore" and finding not in self.findings:
            self.findings.append(finding)

    def stands_on(self, card: Mapping[str, Any], *, runs: bool = True) -> str | None:
        """The wished service of ours on a card, one that runs there unless told otherwise."""
        for spec in self.present:
            stands = self.standing.get(_name(spec))
            if stands and card["logic_id"] in stands["cards"] and (stands["runs"] or not runs):
                return _name(spec)
        return None

    def whose(self, card: Mapping[str, Any]) -> str:
        """Who gets a card that is left out."""
        serving = self.stands_on(card)
        if serving:
            return f"service {serving} runs here and stays, no other gets this card"
        moved = self.stands_on(card, runs=False)
        return "no service gets this card" + (f", service {moved} stands here" if moved else "")

    def leave_out(self, card: Mapping[str, Any], reason: str) -> None:
        if card["logic_id"] is not None:
            self.unavailable.setdefault(int(card["logic_id"]), reason)

    # -- cards ------------------------------------------------------------------------------

    def _npu_smi(self) -> None:
        for problem in self.facts["npu"]["problems"]:
            if problem["code"] in _ID_PROBLEMS and self.shown:
                continue
            self.add(
                "error" if not self.shown or problem["code"] in _INCOMPLETE else "warning",
                "npu_smi",
                "cards",
                problem["message"],
                problem["advice"],
                # Services cannot be placed on cards of which nothing is known.
                firm=not self.shown and bool(self.present),
            )

    def _profile(self) -> None:
        fitting = [each.name for each in matching_profiles(self.shown)]
        fits = f"the cards fit {' or '.join(fitting)}" if fitting else "the cards fit no profile"
        seen = ", ".join(sorted({f"{c['name']} of {c['memory_total_mb']} MB" for c in self.shown}))
        seen = f"{len(self.shown)} x {seen}"
        declared = self.profile
        if declared is None:
            self.add(
                "warning",
                "profile",
                "ascend_host_profile",
                f"no profile is declared, so nothing says what this host should have; it has {seen}.",
                f"Set ascend_host_profile; {fits}.",
            )
            return
        advice = f"Set ascend_host_profile to what the host is; {fits}."
        hidden = self.excluded - {card["logic_id"] for card in self.shown}
        if declared.cards is not None and len(self.shown) != declared.cards:
            missing = declared.cards - len(self.shown)
            if not 0 < missing <= len(hidden):
                self.add(
                    "error",
                    "count",
                    declared.name,
                    f"npu-smi shows {len(self.shown)} cards, the profile has {declared.cards}.",
                    "A missing card fell off the bus or its driver gave it up: `npu-smi info -l`,"
                    " `lspci -d 19e5:`, `dmesg -T | grep -i ascend`. To go on without it, put its"
                    " logic id into ascend_host_excluded_cards. " + advice
                    if missing > 0
                    else advice,
                )
        wrong = [card for card in self.shown if not _has_memory(card, declared)]
        if wrong:
            which = listed([c["logic_id"] for c in wrong if c["logic_id"] is not None])
            self.add(
                "error",
                "card_memory",
                declared.name,
                f"the profile has cards of {declared.card_memory_gb:g} GB, but"
                f" {'every card' if len(wrong) == len(self.shown) else 'card ' + which} has"
                f" {wrong[0]['memory_total_mb']} MB. What was tested on"
                f" {declared.card_memory_gb:g} GB does not hold here.",
                advice,
            )
            self._models(matching_profiles(self.shown))
        for name in sorted({card["name"] for card in self.shown} - set(declared.chips)):
            known = any(name in each.chips for each in _tables.load_profiles().values())
            self.add(
                "error" if known else "warning",
                "chip",
                declared.name,
                f"the chip is {name}, the profile has {', '.join(declared.chips)}.",
                advice,
            )

    def _models(self, fitting: Sequence[Profile]) -> None:
        """What the requests come to on the memory that is really there."""
        if not fitting:
            return
        real = fitting[0]
        try:
            catalogue = _tables.load_catalogue(self.wish.tables)
        except AscendError:
            return  # a relative path, which only the lookup can find; it was read there
        options = Options(
            card_memory_gb=real.card_memory_gb,
            estimate=self.wish.estimate,
            allow_untested=self.wish.allow_untested,
            profile=real.name,
        )
        for request in self.wish.requests:
            try:
                resolve(request, catalogue, options)
            except AscendError as error:
                name = request.get("model") if isinstance(request, Mapping) else request
                self.add("error", "model", f"{name} on {real.name}", str(error), "")

    def _ids(self) -> None:
        problems = [p for p in self.facts["npu"]["problems"] if p["code"] in _ID_PROBLEMS]
        # The mapping lists a dead card still; who has excluded it knows.
        gone = self.excluded - {card["logic_id"] for card in self.shown}
        lost = sum(problem["code"] == "card_not_shown" for problem in problems)
        for problem in problems:
            incomplete = problem["code"] in _INCOMPLETE
            if problem["code"] == "card_not_shown" and lost <= len(gone):
                incomplete = False
            self.add(
                "error" if incomplete or not self.cards else "warning",
                "ids",
                "cards",
                problem["message"],
                problem["advice"],
                firm=not self.cards and bool(self.present),
            )
        for card in self.shown:
            if card["logic_id"] is not None and card["phy_id"] is None:
                self.leave_out(card, "its physical id is not known")
            elif card["logic_id"] is not None and card["device"] is None:
                self.leave_out(card, f"it has no /dev/davinci{card['phy_id']}")

    def _health(self) -> None:
        accepted = set(self.wish.accepted_health)
        for card in self.shown:
            if card["health"] in accepted:
                continue
            self.leave_out(card, f"health {card['health']}")
            if card["logic_id"] in self.excluded:
                continue
            chip = "" if card["chip_id"] is None else f" -c {card['chip_id']}"
            self.add(
                "warning",
                "health",
                label(card),
                f"health {card['health']} (accepted: {', '.join(sorted(accepted))});"
                f" {self.whose(card)}.",
                f"Look at `npu-smi info -t health -i {card['npu_id']}{chip}`. To use it all the"
                " same, put the word into ascend_host_accepted_health.",
            )

    def _excluded(self) -> None:
        known = {card["logic_id"] for card in self.shown if card["logic_id"] is not None}
        for card in sorted(self.excluded - known):
            same = [c["logic_id"] for c in self.shown if c["npu_id"] == card]
            same = [logic for logic in same if logic is not None]
            hint = f" NPU {card} has the logic id {listed(same)}." if same else ""
            self.add(
                "warning",
                "excluded",
                f"card {card}",
                f"it is excluded, but this host has the logic ids {listed(sorted(known))}.{hint}",
                "ascend_host_excluded_cards takes logic ids; leave this as it is if the card is"
                " dead and gone.",
            )

    def _is_ours(self, process: Mapping[str, Any]) -> bool:
        return process["unit"] in self.ours or process["pid"] in self.our_pids

    def _processes(self) -> None:
        for card in self.shown:
            foreign = [each for each in card["processes"] if not self._is_ours(each)]
            if not foreign:
                continue
            held = ", ".join(holder(each) for each in foreign)
            self.leave_out(card, f"held by {held}")
            if card["logic_id"] not in self.excluded:
                self.add(
                    "warning",
                    "processes",
                    label(card),
                    f"held by {held}; {self.whose(card)}.",
                    "Stop it to free the card"
                    + (
                        f" (systemctl stop {foreign[0]['unit']})."
                        if str(foreign[0]["unit"]).endswith(".service")
                        else "."
                    ),
                )

    # -- memory -----------------------------------------------------------------------------

    def visible(self, card: Mapping[str, Any]) -> float | None:
        """What the framework sees of a card: the figure of a profile that it fits, else the total.

        Of the declared profile if the card has its memory, else of those that the card fits: a
        wrong or missing declaration makes no idle card look full.
        """
        total = card["memory_total_mb"]
        if total is None:
            return None
        return self.published(card) or float(total)

    def published(self, card: Mapping[str, Any]) -> float | None:
        """The published figure of what the framework sees of such a card, if there is one."""
        total = card["memory_total_mb"]
        if total is None:
            return None
        if self.profile and _has_memory(card, self.profile):
            fitting = [self.profile]
        else:
            known = _tables.load_profiles().values()
            fitting = [each for each in known if card["name"] in each.chips]
            fitting = [each for each in fitting if _has_memory(card, each)]
        figures = [gib * 1024 for each in fitting for gib in each.visible_memory_gib]
        return max((each for each in figures if each <= total + 1), default=None)

    def free(self, card: Mapping[str, Any]) -> float | None:
        """What is free to our services on a card; None where that cannot be told."""
        total, used = card["memory_total_mb"], card["memory_used_mb"]
        if used is None or total is None:
            return None
        own = [each for each in card["processes"] if self._is_ours(each)]
        if card["logic_id"] in self.our_cards and not own:
            return None  # ours, but processes are not shown: its memory cannot be told apart
        if any(each["memory_mb"] is None for each in own):
            return None
        held = used - sum(each["memory_mb"] for each in own)
        return float(total - held)

    def _short(self, card: Mapping[str, Any], utilization: float) -> bool:
        free, visible = self.free(card), self.visible(card)
        return free is not None and visible is not None and free < utilization * visible

    def _need(self, card: Mapping[str, Any], utilization: float) -> str:
        free, visible = self.free(card) or 0.0, self.visible(card) or 0.0
        return (
            f"{free:.0f} of {card['memory_total_mb']} MB are free, gpu_memory_utilization"
            f" {utilization:g} takes {utilization * visible:.0f} MB"
        )

    def _memory_of_cards(self) -> None:
        """Leave out cards that stand out: memory is in use and no process of a card shows.

        By the least that a service takes; whether it does for the others is judged where they are.
        """
        utilization = min((float(s["gpu_memory_utilization"]) for s in self.started), default=0.0)
        candidates = [
            card
            for card in self.cards
            if card["logic_id"] not in self.unavailable and card["logic_id"] not in self.excluded
        ]
        short = [card for card in candidates if self._short(card, utilization)]
        if not short or len(short) == len(candidates):
            return
        for card in short:
            need, whose = self._need(card, utilization), self.whose(card)
            self.leave_out(card, f"{need}, and no process shows that holds the rest")
            self.add(
                "warning",
                "memory",
                label(card),
                f"{need}; npu-smi shows no process that holds the rest."
                f" {whose[0].upper()}{whose[1:]}.",
                "A container, another namespace or a dead process may hold it: `fuser -v"
                f" {card['device'] or '/dev/davinci*'}`, `docker ps`. A reset of the card frees"
                " what is left of a dead process.",
            )

    # -- software ---------------------------------------------------------------------------

    def _driver(self) -> None:
        driver = self.facts["driver"]
        if not driver["version_info_exists"]:
            self.add(
                "error",
                "driver",
                driver["version_info"],
                "the file is missing: the driver is not installed, or somewhere else.",
                "Install the driver's package. /etc/ascend_install.info names its folder"
                " (Driver_Install_Path_Param).",
            )
        if not driver["install_info_exists"]:
            self.add(
                "warning",
                "driver",
                "/etc/ascend_install.info",
                "the file is missing, so it is not known whether the driver is whole.",
                "The driver's installer writes it. In a container, pass it in.",
            )
        elif driver["install_status"] != "complete":
            status = driver["install_status"]
            self.add(
                "error",
                "driver",
                "/etc/ascend_install.info",
                f"Driver_Install_Status is {status}, not complete."
                if status
                else "Driver_Install_Status=complete is not in it.",
                "An installation was broken off: install the driver again with --full and reboot.",
            )

    def _access(self) -> None:
        known, user = set(self.facts["groups"]), self.facts["user"]
        for group in self.wish.groups:
            if group not in known:
                self.add(
                    "error",
                    "access",
                    f"group {group}",
                    "there is no such group on this host.",
                    "The driver's installation makes it, and the device nodes belong to it."
                    " Install the driver, or name the right groups in vllm_service_groups.",
                )
            elif user["exists"] and group not in user["groups"]:
                self.add(
                    "warning",
                    "access",
                    f"user {user['name']}",
                    f"the user is not in the group {group}: npu-smi answers -8005 to it.",
                    "The role vllm_service adds it; by hand,"
                    f" `usermod -aG {group} {user['name']}`.",
                )
        closed: dict[str, list[str]] = {}
        for path, device in self.facts["devices"].items():
            mode = int(device["mode"] or "0", 8)
            open_to_group = device["group"] in self.wish.groups and mode & 0o060 == 0o060
            if self.wish.groups and not open_to_group and mode & 0o006 != 0o006:
                who = f"{device['mode']}, group {device['group'] or device['gid']}"
                closed.setdefault(who, []).append(path)
        for who, nodes in closed.items():
            self.add(
                "error",
                "access",
                ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""),
                f"the groups {', '.join(self.wish.groups)} may not open them ({who}).",
                "Set vllm_service_groups to the group of the nodes, or mend the driver's udev rule.",
            )

    def _cann(self) -> None:
        for path in self.wish.scripts:
            if not self.facts["files"].get(path, {}).get("exists"):
                self.add(
                    "error",
                    "cann",
                    path,
                    "the script is missing; the engine would not find libascend_hal.so, libhccl.so"
                    " or libatb.so.",
                    "Install the CANN toolkit and NNAL, or set vllm_service_cann_scripts to where"
                    " they are.",
                )

    def _engine(self) -> None:
        path = self.wish.executable
        if path is None or not self.started:
            return
        state = self.facts["files"].get(path, {})
        if not state.get("executable"):
            self.add(
                "error",
                "engine",
                path,
                "there is no such program." if not state.get("exists") else "it is no program.",
                "Install vLLM and vllm-ascend, or set vllm_service_executable to where it is.",
            )

    def _versions(self) -> None:
        wanted, engine = self.wish.engine_version, self.facts["engine"]
        if wanted is None:
            return
        row = next((row for row in version_matrix() if row["vllm"] == wanted), None)
        if row is None:
            known = ", ".join(row["vllm"] for row in version_matrix())
            self.add(
                "warning",
                "versions",
                f"vLLM {wanted}",
                f"the version matrix has no row for it (rows: {known}).",
                "Which CANN it needs is in the release notes of vllm-ascend.",
            )
            return
        driver = self.facts["npu"]["driver_version"] or "of unknown version"
        unit = f"vLLM {wanted} goes with CANN {row['cann']}"
        # What counts is the CANN that services source, not the one where it usually is.
        scripts = {path: self.facts["cann"].get(path) for path in self.wish.scripts}
        sourced = {path: version for path, version in scripts.items() if version is not None}
        if not scripts and self.facts["npu"]["cann_version"] is not None:
            sourced = {"CANN": self.facts["npu"]["cann_version"]}
        if not sourced:
            self.add(
                "warning",
                "versions",
                "CANN",
                f"its version cannot be read; {unit} (driver {driver}).",
                f"Looked for it beside {', '.join(scripts) or '/usr/local/Ascend'}.",
            )
        for path, cann in sourced.items():
            if str(cann).lower() == str(row["cann"]).lower():
                continue
            others = [each["vllm"] for each in version_matrix() if each["cann"] == cann]
            instead = f" CANN {cann} goes with vLLM {' or '.join(others)}." if others else ""
            self.add(
                "error",
                "versions",
                "CANN",
                f"CANN {cann} is installed{'' if path == 'CANN' else f' at {path}'}; {unit}"
                f" (driver {driver}).{instead}",
                f"Install CANN {row['cann']}, or set vllm_service_engine_version to the engine that"
                " is installed.",
            )
        found = engine["vllm"]
        if found is not None and _release(found) != _release(wanted):
            self.add(
                "error",
                "versions",
                "vLLM",
                f"vLLM {found} is installed, vllm_service_engine_version is {wanted}: options would"
                " be checked against the wrong version.",
                f"Set vllm_service_engine_version to {found}, or install {wanted}.",
            )
        pairs = (("vllm_ascend", "vllm_ascend"), ("torch_npu", "torch_npu"))
        for key, column in pairs:
            found = engine[key]
            if found is not None and _release(found) != _release(row[column]):
                self.add(
                    "error",
                    "versions",
                    key,
                    f"{key} {found} is installed; vLLM {wanted} goes with {row[column]}.",
                    "One row of the matrix is one unit: install all of it.",
                )
        python = engine["python"]
        if python is not None:
            number = [int(part) for part in str(python).split(".")[:2] if part.isdigit()]
            low, high = ([int(part) for part in each.split(".")] for each in row["python"])
            if not low <= number <= high:
                self.add(
                    "error",
                    "versions",
                    "Python",
                    f"the engine has Python {python}; vLLM {wanted} needs {row['python'][0]} to"
                    f" {row['python'][1]}.",
                    "Make the engine's environment anew with such a Python.",
                )

    # -- services ---------------------------------------------------------------------------

    def _services(self) -> None:
        if not self.wish.asked:
            self.add(
                "warning",
                "placement",
                "services",
                "vllm_service_instances is not defined where this host is judged, so no service"
                " was judged: neither cards, memory nor ports.",
                "Define it for the host or the play, not for the role vllm_service alone.",
            )
        if not self.present:
            return
        if not self.cards:  # said above; there is nothing to place on
            for spec in self.started:
                stands = self.standing.get(_name(spec), {})
                port = whole_number(spec.get("port") or stands.get("port"))
                if port is not None:
                    self._ports({"name": _name(spec), "port": port, "cards": []})
            return
        self._lost_places()
        placed = self._placed()
        by_id = {card["logic_id"]: card for card in self.cards}
        for service in placed:
            if service.get("state", "started") != "started":
                continue
            cards = [by_id[card] for card in service["cards"]]
            self._memory_of_service(service, cards)
            self._mask(service, cards)
            self._ports(service)

    def _lost_places(self) -> None:
        """A service of ours on a card that is not shown would move, though it may well serve."""
        known = {int(card["logic_id"]) for card in self.cards} | self.excluded
        for spec in self.present:
            name = _name(spec)
            lost = sorted(set(self.standing.get(name, {}).get("cards", ())) - known)
            if lost and not spec.get("pinned_cards"):
                self.add(
                    "error",
                    "placement",
                    f"service {name}",
                    f"it stands on card {listed(lost)}, which npu-smi does not show"
                    " with its ids now; it would be moved and restarted.",
                    "Run again, and compare with `npu-smi info` and `npu-smi info -m` by hand. If"
                    " the card is gone for good, put its logic id into ascend_host_excluded_cards.",
                )

    def _placed(self) -> list[dict[str, Any]]:
        """The services in their places; what cannot be placed is a finding of its own."""

        options = self.wish.placement
        host = HostCards.parse(
            self.cards, self.wish.excluded, self.unavailable, options.get("block_unit", 1)
        )
        ports = PortSettings.parse(
            options.get("port_base", 8000),
            options.get("hccl_port_base", 61000),
            options.get("hccl_port_count", 32),
            self.ephemeral,
        )
        existing = existing_placements(self.standing)

        def put(specs: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
            return [each.as_dict() for each in place(specs, host, ports, existing)]

        possible = []
        for spec in self.wish.specs:
            try:
                put([spec])
                possible.append(spec)
            except AscendError as error:
                name = spec.get("name") or spec.get("model")
                self.add("error", "placement", f"service {name}", str(error), "")
        try:
            return put(possible)
        except AscendError:
            pass
        # Each fits alone. Those that fit together are judged further, in the order of the list.
        together: list[Mapping[str, Any]] = []
        placed: list[dict[str, Any]] = []
        for spec in possible:
            try:
                placed = put([*together, spec])
                together.append(spec)
            except AscendError as error:
                self.add("error", "placement", f"service {_name(spec)}", str(error), "")
        return placed

    def _memory_of_service(
        self, service: Mapping[str, Any], cards: Sequence[Mapping[str, Any]]
    ) -> None:
        utilization = float(service["gpu_memory_utilization"])
        for card in cards:
            if not self._short(card, utilization):
                continue
            share = (self.free(card) or 0.0) / (self.visible(card) or 1.0)
            runs = self.stands_on(card) == service["name"]
            self.add(
                "warning" if runs or not self.published(card) else "error",
                "memory",
                f"service {service['name']}, {label(card)}",
                f"{self._need(card, utilization)}; the engine would not start"
                + (" again." if runs else ".")
                + ("" if self.published(card) else " How much of it the engine sees is not known."),
                f"Free the card's memory, or set gpu_memory_utilization to"
                f" {int(share * 100) / 100:g} or less.",
            )

    def _mask(self, service: Mapping[str, Any], cards: Sequence[Mapping[str, Any]]) -> None:
        if self.profile is None or not self.profile.quadratic_mask:
            return
        visible = min((self.visible(card) or 0.0 for card in cards), default=0.0)
        left = visible * (1 - float(service["gpu_memory_utilization"]))
        length = int(service["max_model_len"])
        mask = length * length * 2 / _MIB
        if visible and mask > left:
            self.add(
                "warning",
                "mask",
                f"service {service['name']}",
                f"this chip needs a mask of {length} x {length} x 2 bytes = {mask:.0f} MB on every"
                f" card; beside gpu_memory_utilization {service['gpu_memory_utilization']:g} of"
                f" {visible:.0f} MB only {left:.0f} MB are left for it.",
                "Set a shorter max_model_len (16384 takes 512 MB) or a lower"
                " gpu_memory_utilization.",
            )

    def _ports(self, service: Mapping[str, Any]) -> None:
        first, last = service.get("hccl_ports", (0, 0))
        for entry in self.facts["ports"]:
            port, unit = entry["port"], entry["unit"]
            if unit in self.ours:
                continue
            who = holder(entry) if entry["pid"] else "a process that is not visible"
            if port == service["port"]:
                self.add(
                    "error",
                    "ports",
                    f"service {service['name']}",
                    f"port {port} is taken: {who} listens there.",
                    "Stop it, give the service another `port`, or move vllm_service_port_base.",
                )
            elif first <= port <= last and len(service["cards"]) > 1:
                self.add(
                    "error",
                    "ports",
                    f"service {service['name']}",
                    f"port {port} of its HCCL ports {first}-{last} is taken: {who} listens there.",
                    "Stop it, or move vllm_service_hccl_port_base.",
                )

    def _weights(self) -> None:
        catalogue = None
        needed, unknown = 0, 0
        missing: list[str] = []
        for spec in self.present:
            folder = model_folder(spec, self.wish.weights_dir)
            if folder is None or folder in missing or self.facts["models"].get(folder, False):
                continue
            missing.append(folder)
            self.add(
                "warning",
                "weights",
                folder,
                f"the weights of service {spec['name']} are not there.",
                "Fetch them, or give the service the `path` where they are.",
            )
            if spec.get("path"):
                continue
            catalogue = catalogue or _tables.load_catalogue()
            match = catalogue.find(str(spec["model"]))
            size = catalogue.facts(match.model).runtime_weight_bytes if match else None
            needed, unknown = needed + (size or 0), unknown + (size is None)
        free = self.facts["disk"]["free_bytes"]
        if needed and free is not None and free < needed:
            self.add(
                "warning",
                "disk",
                self.wish.weights_dir,
                f"weights that are not there yet take {needed / 1e9:.1f} GB"
                + (f" and {unknown} of unknown size" if unknown else "")
                + f"; {free / 1e9:.1f} GB are free at {self.facts['disk']['at']}.",
                "Make room, or set vllm_service_weights_dir to a larger disk.",
            )


def wish_of(options: Mapping[str, Any]) -> Wish:
    """A Wish from plain options as a filter gets them. Raises AscendError for one of a wrong type."""
    checks = options.get("checks") or {}
    if not isinstance(checks, Mapping):
        raise AscendError(
            f"ascend_host_checks is {kind_of(checks)}; a mapping is needed, such as"
            " {health: error, disk: ignore}."
        )
    excluded = []
    for item in options.get("excluded") or ():
        card = whole_number(item)
        if card is None:
            raise AscendError(
                f"ascend_host_excluded_cards has {item!r}; a list of logic ids is needed."
            )
        excluded.append(card)
    kept = {
        key: value
        for key, value in options.items()
        if key in Wish.__dataclass_fields__ and value is not None
    }
    kept.update(checks={str(k): str(v) for k, v in checks.items()}, excluded=excluded)
    return Wish(**kept)
