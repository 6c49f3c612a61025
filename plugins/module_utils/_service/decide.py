# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be done to a unit, and why."""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple

from .._base.systemctl import UnitState


class DesiredInstance(NamedTuple):
    """One instance as it should be. `state` is started, stopped or absent.

    `environment` has the variables that its process must have beside the digests.
    """

    name: str
    state: str
    digest: str = ""
    secret_digest: str = ""
    environment: Mapping[str, str] = {}


class Decision(NamedTuple):
    """What is done to one unit, and why. `action` is start, restart, stop, wait or none.

    A unit that waits needs a restart, or cards that such a one still has, and gets it in a later run.
    """

    action: str
    reason: str
    enable: bool | None = None


def decide(
    desired: DesiredInstance, state: UnitState, files_changed: bool, read_edited: bool = False
) -> Decision:
    """Return what has to be done to one unit.

    A running service is restarted if and only if its process does not run with what is wanted: the
    digests in its environment tell, and where somebody went around them, `desired.environment`, or
    `read_edited`, that it was started from files with edits by hand. A service that systemd is
    restarting after a crash has no process to ask: it is left to systemd unless its files have
    changed.
    """
    if desired.state != "started":
        reason = "it is no longer wanted" if desired.state == "absent" else "it is to be stopped"
        enable = False if state.enabled else None
        return Decision("stop" if state.up else "none", reason, enable)
    enable = None if state.enabled else True
    if state.running and state.active != "deactivating":
        if state.digest != desired.digest:
            return Decision("restart", "its process runs with other settings", enable)
        if state.secret_digest != desired.secret_digest:
            return Decision("restart", "its process runs with another secret", enable)
        for name, value in desired.environment.items():
            has = state.environ.get(name)
            if has != value:
                has = "no " + name if has is None else f"{name}={has}"
                return Decision("restart", f"its process has {has}, not {value}", enable)
        if read_edited:
            return Decision("restart", "its process was started from files edited by hand", enable)
        return Decision("none", "it runs as wanted", enable)
    if state.active == "activating" and not (files_changed or state.needs_reload):
        return Decision("none", "systemd is restarting it after a failure", enable)
    if state.up:
        return Decision("restart", "it was between two starts and its settings changed", enable)
    if state.active == "failed":
        return Decision("start", "it had failed ({})".format(state.result or "?"), enable)
    return Decision("start", "it was not running", enable)


def defer(
    decisions: Mapping[str, Decision],
    in_use: Mapping[str, Iterable[int]],
    takes: Mapping[str, Iterable[int]],
) -> dict[str, Decision]:
    """Return the decisions with every restart deferred, and every start that needs the cards of such a unit.

    `in_use`: cards that the processes of running units have. `takes`: cards that units are to have.
    Stops stay: what should be down does not wait.
    """
    result = dict(decisions)
    names = [name for name, decision in decisions.items() if decision.action == "restart"]
    for name in names:
        result[name] = decisions[name]._replace(action="wait")
    return _without_cards_of(names, result, in_use, takes, "is restarted")


def after_leader(
    decisions: Mapping[str, Decision],
    members: Iterable[str],
    in_use: Mapping[str, Iterable[int]],
    takes: Mapping[str, Iterable[int]],
) -> dict[str, Decision]:
    """Return the decisions with every stop and restart of the members put off.

    members: units whose leader is on another host, which stops its engine first, so that requests
    end. in_use, takes: as in `defer`.
    """
    result = dict(decisions)
    names = [name for name in members if decisions[name].action in ("stop", "restart")]
    for name in names:
        result[name] = decisions[name]._replace(action="wait", enable=None)
    return _without_cards_of(names, result, in_use, takes, "has stopped after its leader")


def _without_cards_of(
    names: Iterable[str],
    decisions: dict[str, Decision],
    in_use: Mapping[str, Iterable[int]],
    takes: Mapping[str, Iterable[int]],
    when: str,
) -> dict[str, Decision]:
    """Return the decisions with every start put off that needs cards of these units."""
    taken = {card: name for name in names for card in in_use.get(name, ())}
    result = dict(decisions)
    for name, decision in decisions.items():
        others = sorted({taken[card] for card in takes.get(name, ()) if card in taken} - {name})
        if decision.action == "start" and others:
            reason = f"its cards are free when {', '.join(others)} {when}"
            result[name] = decision._replace(action="wait", reason=reason)
    return result
