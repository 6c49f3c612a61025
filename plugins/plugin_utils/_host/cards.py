# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of the cards: profile, ids, health, processes, memory in use."""

from __future__ import annotations

from collections.abc import Mapping

from .._base.words import listed
from .._model.profiles import FIRST_GENERATION, has_memory, load_profiles, matching_profiles
from .checks import HostChecks
from .findings import format_card, format_moved, format_process

# What the codes of problems with ids begin with.
_ID_PROBLEMS = ("mapping_", "logic_id_", "phy_id_", "device_missing", "card_not_shown")
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


def _add_problem(
    checks: HostChecks, code: str, problem: Mapping[str, str], *, grave: bool, known: bool
) -> None:
    """known: whether anything is known of the cards; services cannot be placed on them else."""
    checks.add(
        "error" if grave or not known else "warning",
        code,
        "cards",
        problem["message"],
        problem["advice"],
        firm=not known and bool(checks.present),
    )


def check_npu_smi(checks: HostChecks) -> None:
    known = bool(checks.shown)
    for problem in checks.facts["npu"]["problems"]:
        if not (known and problem["code"].startswith(_ID_PROBLEMS)):
            grave = problem["code"] in _INCOMPLETE
            _add_problem(checks, "npu_smi", problem, grave=grave, known=known)


def check_profile(checks: HostChecks) -> None:
    fitting = matching_profiles(checks.shown)
    names = " or ".join(each.name for each in fitting)
    fits = f"the cards fit {names}" if fitting else "the cards fit no profile"
    seen = ", ".join(sorted({f"{c['name']} of {c['memory_total_mb']} MB" for c in checks.shown}))
    seen = f"{len(checks.shown)} x {seen}"
    declared = checks.profile
    if declared is None:
        checks.warning(
            "profile",
            "ascend_host_profile",
            f"no profile is declared, so it is not known what this host should have; it has {seen}.",
            f"Set ascend_host_profile; {fits}.",
        )
        return
    advice = f"Set ascend_host_profile to what the host is; {fits}."
    hidden = checks.excluded - {card["logic_id"] for card in checks.shown}
    if declared.cards is not None and len(checks.shown) != declared.cards:
        missing = declared.cards - len(checks.shown)
        if not 0 < missing <= len(hidden):
            checks.error(
                "count",
                declared.name,
                f"npu-smi shows {len(checks.shown)} cards, the profile has {declared.cards}.",
                "A missing card fell off the bus or its driver gave it up: `npu-smi info -l`,"
                " `lspci -d 19e5:`, `dmesg -T | grep -i ascend`. To continue without it, add its"
                " logic id to ascend_host_excluded_cards. " + advice
                if missing > 0
                else advice,
            )
    wrong = [card for card in checks.shown if not has_memory(card, declared)]
    if wrong:
        which = listed([c["logic_id"] for c in wrong if c["logic_id"] is not None])
        checks.error(
            "card_memory",
            declared.name,
            f"the profile has cards of {declared.card_memory_gb:g} GB, but"
            f" {'every card' if len(wrong) == len(checks.shown) else 'card ' + which} has"
            f" {wrong[0]['memory_total_mb']} MB. What was tested on"
            f" {declared.card_memory_gb:g} GB does not apply here.",
            advice,
        )
        checks.real_profile = fitting[0] if fitting else None
    for name in sorted({card["name"] for card in checks.shown} - set(declared.chips)):
        first = name in FIRST_GENERATION
        known = first or any(name in each.chips for each in load_profiles().values())
        text = f"the chip is {name}, the profile has {', '.join(declared.chips)}."
        if first:
            text = f"the chip is {name}, a first-generation Ascend 910, which vllm-ascend does not support."
        checks.add("error" if known else "warning", "chip", declared.name, text, advice)


def check_ids(checks: HostChecks) -> None:
    problems = [p for p in checks.facts["npu"]["problems"] if p["code"].startswith(_ID_PROBLEMS)]
    # The mapping lists a dead card still; who has excluded it knows.
    gone = checks.excluded - {card["logic_id"] for card in checks.shown}
    lost = sum(problem["code"] == "card_not_shown" for problem in problems)
    for problem in problems:
        expected = problem["code"] == "card_not_shown" and lost <= len(gone)
        grave = problem["code"] in _INCOMPLETE and not expected
        _add_problem(checks, "ids", problem, grave=grave, known=bool(checks.cards))
    for card in checks.shown:
        if card["logic_id"] is not None and card["phy_id"] is None:
            checks.leave_out(card, "its physical id is not known")
        elif card["logic_id"] is not None and card["device"] is None:
            checks.leave_out(card, f"it has no /dev/davinci{card['phy_id']}")


def check_health(checks: HostChecks) -> None:
    accepted = set(checks.settings.accepted_health)
    for card in checks.shown:
        if card["health"] in accepted:
            continue
        checks.leave_out(card, f"health {card['health']}")
        if card["logic_id"] in checks.excluded:
            continue
        chip = "" if card["chip_id"] is None else f" -c {card['chip_id']}"
        checks.warning(
            "health",
            format_card(card),
            f"health {card['health']} (accepted: {', '.join(sorted(accepted))});"
            f" {checks.consequence(card)}.",
            f"Check `npu-smi info -t health -i {card['npu_id']}{chip}`. To use it anyway,"
            " add the word to ascend_host_accepted_health.",
        )


def check_excluded(checks: HostChecks) -> None:
    known = {card["logic_id"] for card in checks.shown if card["logic_id"] is not None}
    for card in sorted(checks.excluded - known):
        same = [
            c["logic_id"] for c in checks.shown if c["npu_id"] == card and c["logic_id"] is not None
        ]
        hint = f" NPU {card} has the logic id {listed(same)}." if same else ""
        checks.warning(
            "excluded",
            f"card {card}",
            f"it is excluded, but this host has the logic ids {listed(sorted(known))}.{hint}",
            "ascend_host_excluded_cards takes logic ids; leave this as it is if the card is"
            " dead and gone.",
        )


def check_identity(checks: HostChecks) -> None:
    """Services whose cards are others now than those that they were placed on."""
    for service in checks.facts["standing"]:
        if service.get("moved"):
            checks.warning(
                "identity",
                f"service {service['name']}",
                f"{format_moved(service['moved'])}: the numbers of the cards have changed. It does not"
                " start like this; deploy places it on the cards as they are numbered now.",
                "If a card is missing, see `npu-smi info -l` and `dmesg -T | grep -i ascend` first.",
            )


def check_processes(checks: HostChecks) -> None:
    for card in checks.shown:
        foreign = [each for each in card["processes"] if not checks.is_ours(each)]
        if not foreign:
            continue
        users = ", ".join(format_process(each) for each in foreign)
        checks.leave_out(card, f"in use by {users}")
        if card["logic_id"] not in checks.excluded:
            unit = str(foreign[0]["unit"])
            how = f" (systemctl stop {unit})" if unit.endswith(".service") else ""
            message = f"in use by {users}; {checks.consequence(card)}."
            advice = f"Stop it to free the card{how}."
            checks.warning("processes", format_card(card), message, advice)


def check_memory(checks: HostChecks) -> None:
    """Leave out unusual cards: memory is in use and no process of a card shows.

    By the least that a service takes; services.check_memory does that for the others.
    """
    utilization = min((s.gpu_memory_utilization for s in checks.started), default=0.0)
    candidates = [
        card
        for card in checks.cards
        if card["logic_id"] not in checks.unavailable and card["logic_id"] not in checks.excluded
    ]
    short = [card for card in candidates if checks.lacks_memory(card, utilization)]
    if not short or len(short) == len(candidates):
        return
    for card in short:
        need, whose = checks.memory_need(card, utilization), checks.consequence(card)
        checks.leave_out(card, f"{need}, and npu-smi shows no process that uses the rest")
        checks.warning(
            "memory",
            format_card(card),
            f"{need}; npu-smi shows no process that uses the rest. {whose[0].upper()}{whose[1:]}.",
            "A container, another namespace or a dead process may use it: `fuser -v"
            f" {card['device'] or '/dev/davinci*'}`, `docker ps`. A reset of the card frees"
            " what is left of a dead process.",
        )
